"""Permutation importance: how much a model needs each column (Breiman, "Random Forests", 2001)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]

# The number of rows used at most, and of permutations of a column.
MAX_ROWS, REPEATS = 5000, 5


def permutation_importance(
    encoded: Rows,
    columns: Sequence[Sequence[int]],
    loss: Callable[[Rows, npt.NDArray[np.intp]], float],
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """The mean increase of the loss when the values of a column are shuffled, (columns,).

    scikit-learn's function of this name does not take encoded rows, in which a date has several columns.

    Parameters
    ----------
    encoded : array of shape (rows, encoded columns)
        Rows that the model was not trained on. At most `MAX_ROWS` of them, chosen at random, are used.
    columns : sequence of sequence of int
        For each column, the indices of the encoded columns that are shuffled together.
    loss : callable
        The loss of some encoded rows, and of the labels of the rows with these indices; lower is better.
    seed : int
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(encoded))[:MAX_ROWS]
    encoded = encoded[rows]
    baseline, importance = loss(encoded, rows), np.empty(len(columns))
    for i, indices in enumerate(columns):
        shuffled = encoded.copy()
        losses = []
        for _ in range(REPEATS):
            shuffled[:, indices] = encoded[:, indices][rng.permutation(len(encoded))]
            losses.append(loss(shuffled, rows))
        importance[i] = np.mean(losses) - baseline
    return importance
