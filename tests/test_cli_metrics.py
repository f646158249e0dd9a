"""The metrics of `tinyrs train` and `evaluate`, and their confidence intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm
from sklearn import metrics as sklearn_metrics
from tinyrs.tuning import intervals
from tinyrs.tuning.scores import Metrics, predicted_classes


def scored(rows: int, classes: int, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Probabilities (rows, classes), better than chance and with ties, and the true classes (rows,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows)
    p = np.round(rng.random((rows, classes)) + 0.4 * np.eye(classes)[y], 1) + 0.1
    return p / p.sum(axis=1, keepdims=True), y


def test_the_metrics_of_two_classes_agree_with_scikit_learn() -> None:
    p, y = scored(300, 2)
    found = Metrics.of(p, y, np.array(["no", "yes"]))
    assert found.auc == sklearn_metrics.roc_auc_score(y, p[:, 1])
    assert found.average_precision == sklearn_metrics.average_precision_score(y, p[:, 1])
    assert found.balanced_accuracy == sklearn_metrics.balanced_accuracy_score(y, p.argmax(axis=1))
    lines = "\n".join(found.score_lines())
    assert f"average precision  {found.average_precision:>7.4f}" in lines
    assert f"of 'yes'; random order: {y.mean():.4f}" in lines


def test_the_metrics_of_several_classes_are_means_over_the_classes() -> None:
    p, y = scored(300, 4)
    found = Metrics.of(p, y, np.arange(4))
    assert found.auc == pytest.approx(sklearn_metrics.roc_auc_score(y, p, multi_class="ovr"))
    assert found.average_precision == pytest.approx(sklearn_metrics.average_precision_score(np.eye(4)[y], p))


def test_a_class_without_rows_has_no_recall_and_is_left_out_of_the_means() -> None:
    p, y = scored(200, 3)
    p = np.column_stack([p, np.zeros(200)])
    found = Metrics.of(p, y, np.arange(4))
    assert found.balanced_accuracy == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(y, p.argmax(axis=1))
    )
    json = found.as_json()
    assert json["per_class"][3]["recall"] is None
    assert json["per_class"][3]["recall_interval"] is None
    assert json["per_class"][0]["recall_interval"][0] < json["per_class"][0]["recall"]
    only = Metrics.of(p[y == 0], y[y == 0], np.arange(4)).as_json()
    assert (only["auc"], only["auc_interval"], only["average_precision"]) == (None, None, None)


def test_the_threshold_changes_labels_but_not_the_ranking() -> None:
    p, y = scored(300, 2)
    assert predicted_classes(p).tolist() == p.argmax(axis=1).tolist()
    low, high = (Metrics.of(p, y, np.array([0, 1]), threshold) for threshold in (0.3, 0.7))
    assert low.recall[1] > high.recall[1]
    assert low.auc == high.auc
    assert predicted_classes(p, 0.3).sum() == (p[:, 1] >= 0.3).sum()


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    for k, rows, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert intervals.proportion(k / rows, rows) == pytest.approx((low, high), abs=5e-5)
    assert np.isnan(intervals.proportion(np.nan, 0).low)


@pytest.mark.parametrize(("positives", "negatives"), [(10, 200), (40, 40)])
@pytest.mark.parametrize("area", [0.7, 0.95])
def test_the_interval_of_the_auc_contains_the_true_area_in_95_percent_of_samples(
    positives: int, negatives: int, area: float
) -> None:
    rng, samples = np.random.default_rng(0), 1000
    scores = rng.normal(size=(samples, positives + negatives))
    scores[:, :positives] += norm.ppf(area) * 2**0.5
    above = (scores[:, :positives, None] > scores[:, None, positives:]).mean(axis=(1, 2))
    found = [intervals.area_under_roc(measured, positives, negatives) for measured in above]
    hits = sum(low <= area <= high for low, high in found)
    # Not too wide either: the binomial distribution of the hits, with some room for the approximation.
    assert binom.ppf(0.001, samples, 0.94) <= hits <= binom.ppf(0.999, samples, 0.975)


def test_intervals_of_perfect_scores_have_a_width() -> None:
    y = np.array([0, 1] * 5)
    found = Metrics.of(np.eye(2)[y], y, np.array([0, 1]))
    for score, interval in [
        (found.accuracy, found.accuracy_interval),
        (found.balanced_accuracy, found.balanced_accuracy_interval),
        (found.auc, found.auc_interval),
        (found.average_precision, found.average_precision_interval),
    ]:
        assert score == 1
        assert interval.low < 0.9
        assert interval.high == pytest.approx(1)


def test_the_interval_of_a_mean_is_narrower_than_those_of_its_parts() -> None:
    parts = [intervals.proportion(share, 50) for share in (0.8, 0.9)]
    low, high = intervals.mean_of_independent(np.array([0.8, 0.9]), parts)
    assert low < 0.85 < high
    assert high - low < 0.9 * min(part.high - part.low for part in parts)
