"""TinyClassifier: scikit-learn's estimator checks, tables of any library, and its own parameters."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import config_context, datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from tinyrs import Network, TinyClassifier
from tinyrs.tabular.column_notes import ColumnWarning

# Tables with a constant column.
pytestmark = pytest.mark.filterwarnings("ignore:.*consider dropping:UserWarning")


def random_masks(estimator: TinyClassifier) -> dict[str, str]:
    """The checks that dropout fails, with the reason."""
    if estimator.dropout == 0:
        return {}
    reason = "dropout masks a row of weight 2 once, and two equal rows differently"
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [TinyClassifier(), TinyClassifier(n_layers=1, width=32, max_iter=30, dropout=0.0)],
    expected_failed_checks=random_masks,
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def small(**options: Any) -> TinyClassifier:
    return TinyClassifier(**{"n_layers": 1, "width": 32, "max_iter": 20, "random_state": 0} | options)


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.Series]:
    """A table with all kinds of columns and missing values; the label depends on two of the columns."""
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "whole": rng.integers(0, 1000, n),
            "flag": rng.random(n) < 0.5,
            "colour": rng.choice(["red", "green", "blue"], n),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n)),
            "constant": 7.0,
        }
    )
    label = np.where((frame["colour"] == "red") ^ (frame["number"] > 0), "yes", "no")
    frame.loc[rng.random(n) < 0.1, "number"] = np.nan
    frame.loc[rng.random(n) < 0.1, "colour"] = None
    return frame, pd.Series(label)


def test_tables_of_every_library_give_the_same_model(table: Any) -> None:
    frame, label = table
    train, test = slice(0, 300), slice(300, None)
    want = None
    for convert in (lambda f: f, pl.from_pandas, pa.Table.from_pandas):
        model = TinyClassifier(max_iter=60, random_state=0).fit(convert(frame[train]), label[train])
        assert list(model.feature_names_in_) == list(frame.columns)
        p = model.predict_proba(convert(frame[test]))
        assert (model.predict(convert(frame[test])) == label[test]).mean() > 0.8
        if want is not None:
            np.testing.assert_array_equal(p, want)
        want = p


def test_columns_are_matched_by_name(table: Any) -> None:
    frame, label = table
    model = small().fit(frame, label)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.drop(columns="flag"))


def test_unseen_and_missing_values_are_predicted(table: Any) -> None:
    frame, label = table
    model = small().fit(frame, label)
    strange = frame.head(4).copy()
    strange["colour"] = ["mauve", None, "red", "mauve"]
    strange["size"] = pd.Categorical(["XXL", None, "S", "M"])
    strange.loc[0, ["number", "constant"]] = np.nan
    strange.loc[1, "number"] = 1e300
    p = model.predict_proba(strange)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    words = frame.head(4).assign(number=["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="column 'number': expected a number, got 'a' in row 0"):
        model.predict(words)


@pytest.mark.filterwarnings("default:.*consider dropping:UserWarning")
def test_columns_of_no_use_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"n{i}" for i in range(60)],
            "text": [f"a sentence about {i} things" for i in range(60)],
            "row": range(60),
            "same": 7,
            "none": np.nan,
            "colour": rng.choice(["red", "green"], 60),
            "x": rng.normal(size=60),
        }
    )
    y = frame["x"] > 0
    with pytest.warns(ColumnWarning) as caught:
        small().fit(frame, y)
    assert {str(warning.message) for warning in caught} == {
        "columns 'id', 'text': most values occur only once, so new rows have others: consider dropping them",
        "column 'row': looks like a row number: consider dropping it",
        "column 'same': constant: consider dropping it",
        "column 'none': all values are missing: consider dropping it",
    }
    assert caught[0].filename == __file__
    with pytest.warns(ColumnWarning, match="column 0: most values occur only once"):
        small().partial_fit(frame[["id", "x"]].to_numpy(), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(frame[["colour", "x"]], y)
        # Constant columns are common in arrays, for example of pixels.
        small().fit(frame[["row", "same", "x"]].to_numpy(), y)


def test_numbers_may_be_categories() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 40, 2000), rng.normal(size=2000)])
    y = rng.integers(0, 2, 40)[X[:, 0].astype(int)]
    scores = [
        TinyClassifier(max_iter=10, random_state=0, categorical_features=columns)
        .fit(X[:1500], y[:1500])
        .score(X[1500:], y[1500:])
        for columns in ("auto", [0])
    ]
    assert scores[1] > 0.99 > scores[0]
    with pytest.raises(
        ValueError, match="categorical_features: expected column names or indices, got 'colour'"
    ):
        small(categorical_features=["colour"]).fit(X, y)


def test_same_seed_same_bits_for_any_number_of_threads_and_any_batch(digits: Any) -> None:
    X, y = digits
    one, other = (TinyClassifier(max_iter=3, random_state=1, n_threads=n).fit(X, y) for n in (1, 8))
    p = one.predict_proba(X[:300])
    np.testing.assert_array_equal(p, other.predict_proba(X[:300]))
    for batch in (1, 7, 256):
        parts = [one.predict_proba(X[i : min(i + batch, 300)]) for i in range(0, 300, batch)]
        np.testing.assert_array_equal(np.vstack(parts), p)


def test_it_works_with_scikit_learns_tools(digits: Any) -> None:
    X, y = digits
    assert cross_val_score(small(), X, y, cv=3, n_jobs=2).min() > 0.8
    search = GridSearchCV(small(), {"width": [4, 32]}, cv=2).fit(X, y)
    assert search.best_params_ == {"width": 32}
    assert make_pipeline(StandardScaler(), small()).fit(X, y).score(X, y) > 0.85
    assert CalibratedClassifierCV(small(), cv=2).fit(X, y).score(X, y) > 0.85
    assert clone(small(alpha=0.5)).alpha == 0.5
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert cross_val_score(small(), X, y, cv=2).min() > 0.8


def test_metadata_routing_passes_the_sample_weight(digits: Any) -> None:
    X, y = digits
    with config_context(enable_metadata_routing=True):
        model = small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        result = cross_validate(model, X, y, params={"sample_weight": np.where(y < 5, 1.0, 0.0)}, cv=2)
    # Rows of weight 0 are neither trained on nor scored.
    assert result["test_score"].min() > 0.8


def test_weights_of_classes_and_of_rows() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (950, 2)), rng.normal(1.2, 1, (50, 2))])
    y = np.repeat([0, 1], [950, 50])
    recall = [
        (small(class_weight=weight).fit(X, y).predict(X[950:]) == 1).mean()
        for weight in (None, "balanced", {0: 1, 1: 19})
    ]
    assert recall[0] < 0.3
    assert recall[1] > 0.6
    assert recall[2] > 0.6
    by_row = small().fit(X, y, sample_weight=np.where(y == 1, 19, 1))
    assert (by_row.predict(X[950:]) == 1).mean() > 0.6


def test_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 5))
    p = 1 / (1 + np.exp(-2 * X[:, 0]))
    y = (rng.random(3000) < p).astype(int)
    plain, calibrated = (
        TinyClassifier(max_iter=30, random_state=0, calibrate=on, label_smoothing=0.4).fit(X[:2000], y[:2000])
        for on in (False, True)
    )
    assert plain.temperature_ == 1
    assert calibrated.temperature_ < 1  # label smoothing had made it underconfident
    losses = [log_loss(y[2000:], model.predict_proba(X[2000:])) for model in (plain, calibrated)]
    assert losses[1] < losses[0]
    # The temperature is part of the network, so all methods agree.
    q = calibrated.predict_proba(X[2000:])
    np.testing.assert_allclose(np.exp(calibrated.predict_log_proba(X[2000:])), q, rtol=1e-4)
    np.testing.assert_allclose(
        calibrated.decision_function(X[2000:]), np.log(q[:, 1] / q[:, 0]), rtol=1e-3, atol=1e-4
    )


def test_multilabel() -> None:
    X, Y = make_multilabel_classification(600, n_classes=4, random_state=0)
    model = TinyClassifier(max_iter=40, random_state=0).fit(X[:400], Y[:400])
    assert model.predict_proba(X[400:]).shape == (200, 4)
    assert set(np.unique(model.predict(X[400:]))) <= {0, 1}
    assert (model.predict(X[400:]) == Y[400:]).mean() > 0.8


def test_eval_set(digits: Any) -> None:
    X, y = digits
    model = small(max_iter=8).fit(X[:1000], y[:1000], eval_set=(X[1000:], y[1000:]))
    assert model.validation_scores_ is not None
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_ == 8
    kept = model.validation_scores_[model.best_iteration_]
    assert model.score(X[1000:], y[1000:]) == pytest.approx(kept, abs=0.03)  # the mean of four scores
    with pytest.raises(ValueError, match="y: expected only classes of the training set, got "):
        small().fit(X, y, eval_set=(X[:3], [0, 1, 77]))


def test_the_automatic_dropout_is_for_small_tables(digits: Any) -> None:
    def fit(rows: int, dropout: float | str) -> list[float]:
        X, y = (np.resize(part, (rows, *part.shape[1:])) for part in digits)
        return small(max_iter=2, dropout=dropout).fit(X, y).loss_curve_

    assert fit(2000, "auto") == fit(2000, 0.15) != fit(2000, 0.0)
    assert fit(2001, "auto") == fit(2001, 0.0)
    X, y = (part[:99] for part in digits)
    curves = []
    for dropout in ("auto", 0.0, 0.15):
        model = small(dropout=dropout).partial_fit(X, y).partial_fit(X, y)
        curves.append(model.loss_curve_)
    assert curves[0] == curves[1] != curves[2]


def test_callbacks_see_each_epoch_and_can_stop(digits: Any) -> None:
    seen: list[Any] = []
    model = small(callbacks=[seen.append, lambda record: record["epoch"] == 4]).fit(*digits)
    assert model.n_iter_ == len(seen) == 5
    assert {"loss", "validation_score", "samples_per_second"} <= set(seen[0])


def test_partial_fit_adds_new_classes(digits: Any) -> None:
    X, y = digits
    few = y < 6
    model = small(learning_rate_init=0.1)
    for _ in range(40):
        model.partial_fit(X[few], y[few])
    assert model.score(X[few], y[few]) > 0.9
    before = model.predict_proba(X[few])
    for _ in range(60):
        model.partial_fit(X, y)
    assert list(model.classes_) == list(range(10))
    assert before.shape[1] == 6
    assert model.score(X, y) > 0.9
    announced = small().partial_fit(X[few], y[few], classes=np.arange(10))
    assert announced.predict_proba(X[:1]).shape == (1, 10)


def test_fit_and_partial_fit_may_follow_each_other(digits: Any) -> None:
    X, y = digits
    model = small(max_iter=2).partial_fit(X, y)
    # The number of features differs, so nothing of the first network may be left.
    model.fit(X[:, :30], y).partial_fit(X[:, :30], y).partial_fit(X[:, :30], y)
    assert model.n_iter_ == 4
    assert model.predict(X[:5, :30]).shape == (5,)


def test_a_warm_start_continues(digits: Any) -> None:
    X, y = digits
    model = small(warm_start=True, max_iter=2, calibrate=False).fit(X, y)
    first = model.loss_curve_[0]
    assert model.fit(X, y).loss_curve_[0] < first


@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (7, 1), (5, 5), (60, 60), (200, 150)])
def test_few_rows_and_many_classes(rows: int, classes: int) -> None:
    X = np.random.default_rng(0).normal(size=(rows, 3))
    y = np.arange(rows) % classes
    model = small(max_iter=5).fit(X, y)
    assert model.predict_proba(X).shape == (rows, classes)
    assert set(model.predict(X)) <= set(y)


def test_pickling(digits: Any) -> None:
    X, y = digits
    model = small(n_ensemble=1).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert [w.shape for w in again.coefs_] == [(61, 32), (32, 10)]  # three pixels are constant
    assert [b.shape for b in again.intercepts_] == [(32,), (10,)]
    with pytest.raises(NotFittedError):
        small().predict(X)


def test_without_scikit_learn_the_import_says_what_to_install() -> None:
    program = textwrap.dedent("""
        import sys
        sys.modules["sklearn"] = None
        import tinyrs
        try:
            tinyrs.TinyClassifier
        except ImportError as error:
            print(error)
        try:
            tinyrs.nothing
        except AttributeError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'tinyrs[sklearn]'" in done.stdout
    assert "module 'tinyrs' has no attribute 'nothing'" in done.stdout


def test_the_defaults_are_accurate_on_wine() -> None:
    X, y = datasets.load_wine(return_X_y=True)
    assert cross_val_score(TinyClassifier(random_state=0), X, y, cv=5).mean() > 0.96


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_labels_are_smoothed_towards_the_frequencies_of_the_classes(
    class_weight: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    priors: list[Any] = []
    fit = Network.fit

    def recorded(network: Network, *data: Any, **options: Any) -> Any:
        priors.append(options["smoothing_prior"])
        return fit(network, *data, **options)

    monkeypatch.setattr(Network, "fit", recorded)
    X, y = np.random.default_rng(0).normal(size=(80, 2)), np.arange(80) % 4 == 0
    small(max_iter=2, class_weight=class_weight).fit(X, y)
    assert priors == [[0.75, 0.25]] * 4
    small(n_ensemble=1, max_iter=2, class_weight=class_weight).fit(X, y)
    assert priors[4:] == [[0.75, 0.25]] * 2  # the first training and the refit


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_rare_class_is_ranked_as_logistic_regression_does(class_weight: str | None) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 10))
    score = X @ rng.normal(size=10) + rng.logistic(size=4000)
    y = score > np.quantile(score, 0.98)
    train, test = slice(0, 3000), slice(3000, None)
    model = TinyClassifier(random_state=0, class_weight=class_weight).fit(X[train], y[train])
    area = roc_auc_score(y[test], model.predict_proba(X[test])[:, 1])
    reference = LogisticRegression().fit(X[train], y[train]).predict_proba(X[test])[:, 1]
    assert area > roc_auc_score(y[test], reference) - 0.03
