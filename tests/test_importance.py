"""Permutation importance: what it measures, and `TinyClassifier(importance=True)` in scikit-learn's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFECV, SelectFromModel
from tinyrs import TinyClassifier
from tinyrs.tuning.importance import MAX_ROWS, REPEATS, permutation_importance

Array = npt.NDArray[np.float64]

# Of all columns below, the first two decide the label.
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def small(**options: Any) -> TinyClassifier:
    return TinyClassifier(**{"n_layers": 1, "width": 32, "max_iter": 20, "random_state": 0} | options)


def test_the_importance_is_the_increase_of_the_loss() -> None:
    table = np.random.default_rng(0).normal(size=(2000, 4))
    y = table @ [2, 1, 0, 1]

    def squared_error(x: Array, rows: npt.NDArray[np.intp]) -> float:
        return float(np.mean((x @ [2, 1, 0, 1] - y[rows]) ** 2))

    # Shuffling a column of variance 1 with the factor f adds 2 f^2; columns 1 and 3 are shuffled together.
    found = permutation_importance(table, [[0], [1, 3], [2]], squared_error)
    assert found.shape == (3, REPEATS)
    np.testing.assert_allclose(found.mean(axis=1), [8, 4, 0], rtol=0.1, atol=1e-12)
    np.testing.assert_array_equal(found, permutation_importance(table, [[0], [1, 3], [2]], squared_error))


def test_shuffled_together_columns_keep_their_rows() -> None:
    pairs = np.arange(50.0)[:, np.newaxis] + [0, 100]

    def broken_pairs(x: Array, rows: npt.NDArray[np.intp]) -> float:
        return float(np.mean(x[:, 1] - x[:, 0] != 100))

    together, alone = permutation_importance(pairs, [[0, 1], [1]], broken_pairs)
    assert together.max() == 0
    assert alone.min() > 0.9


def test_large_tables_are_sampled() -> None:
    sizes = set()

    def loss(x: Array, rows: npt.NDArray[np.intp]) -> float:
        sizes.add((len(x), len(np.unique(rows))))
        return 0.0

    permutation_importance(np.zeros((MAX_ROWS + 7, 1)), [[0]], loss)
    assert sizes == {(MAX_ROWS, MAX_ROWS)}


def test_the_classifier_measures_its_columns() -> None:
    model = small(importance=True).fit(X, Y)
    importances = model.feature_importances_
    assert importances.shape == (6,)
    assert importances[:2].min() > 0.2 > 0.05 > importances[2:].max()
    assert importances.min() >= 0
    # Neither training nor predictions change.
    plain = small().fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    # It is a drop of the first metric.
    by_accuracy = small(importance=True).fit(X, Y, eval_metric="accuracy").feature_importances_
    assert by_accuracy[:2].min() > 0.15
    changed_rows = by_accuracy * len(X) * 5
    np.testing.assert_allclose(changed_rows, np.round(changed_rows), atol=1e-9)


def test_tables_have_a_value_for_each_column() -> None:
    rng = np.random.default_rng(0)
    days = rng.integers(0, 700, 600)
    table = pd.DataFrame(
        {
            "noise": rng.normal(size=600),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"),
            "colour": rng.choice(["red", "green", "blue"], 600),
            "same": 7.0,
        }
    )
    y = (days < 350) ^ (table["colour"] == "red")
    with pytest.warns(UserWarning, match="'same': constant"):
        model = small(importance=True, max_iter=40).fit(table, y)
    assert model.feature_importances_.shape == (4,)
    assert model.feature_importances_[[1, 2]].min() > 0.1 > model.feature_importances_[0]
    assert model.feature_importances_[3] == 0


def test_an_eval_set_is_measured() -> None:
    # In these rows, the second column says nothing: all have the same value.
    other = X.copy()
    other[:, 1] = 0
    model = small(importance=True).fit(X, Y, eval_set=(other, (other[:, 0] > 0).astype(int)))
    assert model.feature_importances_[0] > 0.2
    assert model.feature_importances_[1] == 0


def test_scikit_learn_selects_columns_by_it() -> None:
    selector = RFECV(small(importance=True), cv=3, min_features_to_select=1).fit(X, Y)
    assert selector.support_.tolist()[:2] == [True, True]
    assert set(selector.ranking_[:2]) == {1}
    chosen = SelectFromModel(small(importance=True), threshold="mean").fit(X, Y)
    assert chosen.get_support().tolist() == [True, True, False, False, False, False]
    with pytest.raises(ValueError, match="feature_importances_"):
        RFECV(small(), cv=3).fit(X, Y)


def test_without_the_parameter_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        _ = small(importance=True).feature_importances_
    for model in (small().fit(X, Y), small(importance=True).partial_fit(X, Y)):
        assert not hasattr(model, "feature_importances_")
        with pytest.raises(AttributeError, match="expected a classifier fitted with importance=True"):
            _ = model.feature_importances_
    model = small(importance=True).fit(X, Y)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(
        TinyClassifier.load(tmp_path / "m").feature_importances_, model.feature_importances_
    )
    # They belong to a network that there no longer is.
    assert not hasattr(model.partial_fit(X, Y), "feature_importances_")


@pytest.mark.parametrize(
    ("options", "table", "message"),
    [
        ({"early_stopping": False}, X, "expected validation rows to measure it on, got none"),
        ({}, X[:40], "early_stopping=True and at least 50 rows"),
        ({}, sparse.csr_matrix(X), "expected a dense X, got a sparse matrix"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: Any, table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"importance=True: .*{message}"):
        small(importance=True, **options).fit(table, Y[: table.shape[0]])


@pytest.mark.parametrize("wrong", [[1.0], [0.1] * 5 + [-0.1]])
def test_a_file_with_other_importances_is_refused(tmp_path: Path, wrong: list[float]) -> None:
    model = small(importance=True).fit(X, Y)
    model._importances = np.array(wrong)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="importances: expected 6 finite numbers of at least 0"):
        TinyClassifier.load(tmp_path / "m")
