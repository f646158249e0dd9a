"""`eval_set` and `eval_metric` of `TinyClassifier.fit`, and the curves in `evals_result_`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    fbeta_score,
    log_loss,
    make_scorer,
    roc_auc_score,
)
from tinyrs import TinyClassifier
from tinyrs.tuning.epoch_selection import candidate_epochs
from tinyrs.tuning.metrics import TrueLabels, read_metrics

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
NOISE = RNG.normal(size=400)
Y = np.where(X[:, 0] + NOISE > 1, "yes", "no")
THREE = np.digitize(X[:, 0] + NOISE, [-0.5, 0.5])
NAMES = ["accuracy", "log_loss", "auc", "average_precision", "balanced_accuracy", "f1"]


def small(**options: Any) -> TinyClassifier:
    return TinyClassifier(
        **{"n_layers": 1, "width": 8, "max_iter": 15, "random_state": 0, "calibrate": False} | options
    )


def expected(name: str, y: Any, p: Any, classes: Any) -> float:
    """The metric as a user of scikit-learn would compute it."""
    best, two = classes[p.argmax(axis=1)], len(classes) == 2
    if name == "accuracy":
        return float(accuracy_score(y, best))
    if name == "log_loss":
        return float(log_loss(y, p))
    if name == "balanced_accuracy":
        return float(balanced_accuracy_score(y, best))
    if name == "f1":
        return float(f1_score(y, best, pos_label="yes") if two else f1_score(y, best, average="macro"))
    if name == "auc":
        return float(roc_auc_score(y, p[:, 1]) if two else roc_auc_score(y, p, multi_class="ovr"))
    assert name == "average_precision"
    return float(average_precision_score(y == "yes", p[:, 1]) if two else average_precision_score(y, p))


@pytest.mark.parametrize("y", [Y, THREE], ids=["two", "three"])
def test_curves_hold_what_scikit_learn_computes(y: Any) -> None:
    valid = [(X[200:300], y[200:300]), (X[300:], y[300:])]
    model = small().fit(X[:200], y[:200], eval_set=valid, eval_metric=NAMES)
    assert list(model.evals_result_) == ["valid_0", "valid_1"]
    for curves, (rows, labels) in zip(model.evals_result_.values(), valid, strict=True):
        p = model.predict_proba(rows)
        assert list(curves) == NAMES
        for name, curve in curves.items():
            assert len(curve) == model.n_iter_ == 15
            assert curve[model.best_iteration_] == pytest.approx(
                expected(name, labels, p, model.classes_), rel=1e-4
            )


@pytest.mark.parametrize("name", [*NAMES, "loss", "roc_auc", "neg_brier_score"])
def test_the_first_metric_on_the_last_set_chooses_the_epoch(name: str) -> None:
    sets = [(X[:200], Y[:200]), (X[200:], Y[200:])]
    metrics = [name, "accuracy" if name != "accuracy" else "auc"]
    model = small().fit(X[:200], Y[:200], eval_set=sets, eval_metric=metrics)
    curve = np.array(model.evals_result_["valid_1"][name])
    sign = -1 if "loss" in name else 1
    best = max(sign * curve[epoch] for epoch in candidate_epochs("coslog4", 15))
    chosen = sign * curve[model.best_iteration_]
    assert chosen == best or (name == "accuracy" and chosen > best - 0.02)


def test_forms_of_eval_set() -> None:
    forms: list[Any] = [(X[200:], Y[200:]), [(X[200:], Y[200:])], [[X[200:], Y[200:]]]]
    models = [small().fit(X[:200], Y[:200], eval_set=sets) for sets in forms]
    for model in models:
        assert model.evals_result_ == models[0].evals_result_
        assert list(model.evals_result_["valid_0"]) == ["log_loss"]
    refused: list[Any] = [[X[200:], Y[200:]], [], {"X": X, "y": Y}, (X, Y, X)]
    for sets in refused:
        with pytest.raises(ValueError, match=r"eval_set: expected \(X, y\) or a list of such tuples, got"):
            small().fit(X, Y, eval_set=sets)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small().fit(X, Y, eval_set=[(X[:10], Y[:9])])


def test_held_out_rows_are_the_first_set() -> None:
    model = small().fit(X, Y, eval_metric=["auc", "log_loss"])
    assert {name: len(curve) for name, curve in model.evals_result_["valid_0"].items()} == {
        "auc": 15,
        "log_loss": 15,
    }
    assert small(early_stopping=False).fit(X, Y).evals_result_ == {}
    assert small().partial_fit(X, Y).evals_result_ == {}


def test_scorers_and_functions() -> None:
    def share_of_yes(y_true: Any, y_proba: Any) -> float:
        assert set(y_true) == {"yes", "no"}
        return float(y_proba[:, 1].mean())

    fbeta = make_scorer(fbeta_score, beta=2, pos_label="yes", zero_division=0)
    model = small().fit(X, Y, eval_metric=["f1_macro", fbeta, share_of_yes])
    assert list(model.evals_result_["valid_0"]) == ["f1_macro", "fbeta_score", "share_of_yes"]


def test_patience_follows_the_first_metric() -> None:
    for name in ("auc", "log_loss", "accuracy"):
        model = small(max_iter=200, n_iter_no_change=3).fit(X, Y, eval_metric=name)
        curve = np.array(model.evals_result_["valid_0"][name]) * (-1 if name == "log_loss" else 1)
        assert len(curve) == model.n_iter_ < 200
        assert curve.argmax() == len(curve) - 4


def test_multilabel() -> None:
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    metrics = ["accuracy", "log_loss", "auc", "average_precision", "f1", "f1_micro"]
    model = small(max_iter=30).fit(
        X[:300], labels[:300], eval_set=[(X[300:], labels[300:])] * 2, eval_metric=metrics
    )
    curves = list(model.evals_result_.values())
    for name in metrics:  # the second set's accuracy and loss come from Network.fit
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-5)
    assert curves[0]["auc"][-1] == pytest.approx(roc_auc_score(labels[300:], model.predict_proba(X[300:])))
    with pytest.raises(ValueError, match="'balanced_accuracy' is not defined for a multilabel y"):
        small().fit(X, labels, eval_metric="balanced_accuracy")


def test_classes_that_are_missing_from_the_validation_rows() -> None:
    few = THREE[300:] != 2
    sets = [(X[300:][few], THREE[300:][few])]
    small().fit(X[:300], THREE[:300], eval_set=sets, eval_metric=NAMES)
    one = [(X[300:][few & (THREE[300:] == 0)], THREE[300:][few & (THREE[300:] == 0)])]
    with pytest.raises(ValueError, match="'auc' needs validation rows of two classes, got one class"):
        small().fit(X[:300], THREE[:300], eval_set=one, eval_metric="auc")


def test_unknown_metrics() -> None:
    with pytest.raises(ValueError, match=r"eval_metric: expected one of accuracy, .*got 'aucc'"):
        small().fit(X, Y, eval_metric="aucc")
    for metrics in ([], ["auc", "auc"]):
        with pytest.raises(ValueError, match="eval_metric: expected one or more metrics of different names"):
            small().fit(X, Y, eval_metric=metrics)


def test_a_metric_that_is_not_a_number_never_wins() -> None:
    values = iter([0.1, np.nan, 0.3, np.nan, *[0.2] * 11])
    model = small(schedule="constant").fit(X, Y, eval_metric=lambda y_true, y_proba: next(values))
    assert model.best_iteration_ == 2


def test_log_loss_of_impossible_labels_is_finite() -> None:
    true = TrueLabels(np.array([0, 1]), np.array([0, 1]), np.array([0, 1]))
    (metric,) = read_metrics("log_loss")
    assert metric.value(true, np.array([[1.0, 0.0], [1.0, 0.0]])) == pytest.approx(43.67, abs=0.01)
