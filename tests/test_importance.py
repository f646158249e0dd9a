"""Permutation importance: what it measures, and `TinyClassifier(importance=True)` in scikit-learn's tools."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tinyrs.tuning.importance import MAX_ROWS, permutation_importance

Array = npt.NDArray[np.float64]


def test_the_importance_is_the_increase_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 4))
    y = 2 * X[:, 0] + X[:, 1] + X[:, 3]

    def squared_error(x: Array, rows: npt.NDArray[np.intp]) -> float:
        return float(np.mean((2 * x[:, 0] + x[:, 1] + x[:, 3] - y[rows]) ** 2))

    # Shuffling a column of variance 1 with the factor f adds 2 f^2; columns 1 and 3 are shuffled together.
    found = permutation_importance(X, [[0], [1, 3], [2]], squared_error)
    np.testing.assert_allclose(found, [8, 4, 0], rtol=0.1, atol=1e-12)
    np.testing.assert_array_equal(found, permutation_importance(X, [[0], [1, 3], [2]], squared_error))


def test_shuffled_together_columns_keep_their_rows() -> None:
    X = np.arange(50.0)[:, np.newaxis] + [0, 100]

    def broken_pairs(x: Array, rows: npt.NDArray[np.intp]) -> float:
        return float(np.mean(x[:, 1] - x[:, 0] != 100))

    together, alone = permutation_importance(X, [[0, 1], [1]], broken_pairs)
    assert together == 0
    assert alone > 0.9


def test_large_tables_are_sampled() -> None:
    sizes = set()

    def loss(x: Array, rows: npt.NDArray[np.intp]) -> float:
        sizes.add((len(x), len(np.unique(rows))))
        return 0.0

    permutation_importance(np.zeros((MAX_ROWS + 7, 1)), [[0]], loss)
    assert sizes == {(MAX_ROWS, MAX_ROWS)}
