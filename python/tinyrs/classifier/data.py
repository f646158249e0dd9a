"""What the user passes to `fit` as arrays: the table, the labels, the weights, the validation split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import _check_sample_weight, check_array

from tinyrs.tabular.sources import as_array, fill_masked, read_frame
from tinyrs.tabular.tables import SparseTable, Table
from tinyrs.tabular.type_checks import is_frame, is_missing, is_record, is_sparse

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.intp]

# Tables with fewer rows are not split: the score on a few validation rows is mostly noise.
MIN_ROWS_TO_SPLIT = 50
# The smallest and the largest number of validation folds of an ensemble of few networks; see `n_folds`.
MIN_FOLDS, MAX_FOLDS = 4, 10
# The rows of a fold of a table that has more than MIN_FOLDS and fewer than MAX_FOLDS of them.
FOLD_ROWS = 1000


@dataclass(frozen=True)
class Dataset:
    """What a network is trained or validated on.

    Attributes
    ----------
    features : array or CSR matrix of shape (rows, features)
    targets : array of shape (rows,), class indices, or of shape (rows, labels), 0 or 1
    weights : array of shape (rows,) or None
    """

    features: Floats
    targets: npt.NDArray[Any]
    weights: npt.NDArray[np.float64] | None = None

    def rows(self, rows: Indices | slice) -> Dataset:
        """The dataset of these rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Dataset(self.features[rows], self.targets[rows], weights)

    def followed_by(self, other: Dataset) -> Dataset:
        """The dataset of these rows, in an array, and those of another."""
        weights = None
        if self.weights is not None and other.weights is not None:
            weights = np.concatenate([self.weights, other.weights])
        return Dataset(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.targets, other.targets]),
            weights,
        )


def native_table(X: Any) -> Any:
    """X in a form that scikit-learn checks: an eager data frame, an array or a sparse matrix.

    Raises
    ------
    TypeError
        If X is a list of dicts, or a frame that narwhals does not know.
    ValueError
        If X is a list of rows of different lengths.
    """
    if is_frame(X):
        return read_frame(X).to_native()
    if is_record(X) or (isinstance(X, (list, tuple)) and X and is_record(X[0])):
        raise TypeError(
            f"X: expected an array, a data frame or a list of rows, got "
            f"{type(X).__name__ if is_record(X) else f'a list of {type(X[0]).__name__}'}: "
            "pass a data frame, for example pandas.DataFrame(X)"
        )
    return as_array(X) if isinstance(X, (list, tuple)) and X else fill_masked(X)


def read_table(X: Any) -> Table | SparseTable:
    """The table in a data frame, an array or a sparse matrix."""
    if not is_frame(X):
        X = check_array(X, dtype=None, accept_sparse="csr", ensure_all_finite="allow-nan")
    return SparseTable(X) if is_sparse(X) else Table.read(X)


def check_labels(y: Any) -> None:
    """Checks that no label is missing; `y` is as in `fit`.

    Raises
    ------
    ValueError
        If there is a missing label: the message has its row.
    """
    labels = None if y is None or is_sparse(y) else np.asarray(fill_masked(y))
    if labels is None or labels.ndim == 0 or labels.dtype.kind not in "fO":
        return
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    else:
        missing = np.array([is_missing(label) for label in labels.flat], dtype=bool).reshape(labels.shape)
    if missing.any():
        row = int(np.argwhere(missing)[0][0])
        raise ValueError(
            f"y: expected a label in every row, got {labels[missing].tolist()[0]!r} in row {row}"
        )


def class_indices(y: npt.NDArray[Any], classes: npt.NDArray[Any]) -> Indices:
    """The index in the sorted `classes` of each label in `y`, of shape (rows,).

    Raises
    ------
    ValueError
        If a label is not in `classes`.
    """
    indices = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unknown = classes[indices] != y
    if unknown.any():
        raise ValueError(f"y: expected only classes of the training set, got {y[unknown].tolist()[0]!r}")
    return np.asarray(indices)


def class_frequencies(
    targets: npt.NDArray[Any], n_outputs: int, weights: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """The weighted share of rows in each class or with each label, (n_outputs,).

    Parameters
    ----------
    targets : array of shape (rows,), class indices, or (rows, n_outputs), 0 or 1
    weights : array of shape (rows,), optional
    """
    if targets.ndim == 2:
        return np.average(targets.astype(np.float64), axis=0, weights=weights)
    counts = np.bincount(targets, weights=weights, minlength=n_outputs)
    return np.asarray(counts / counts.sum())


def row_weights(
    y: npt.NDArray[Any],
    classes: npt.NDArray[Any],
    sample_weight: npt.ArrayLike | None,
    class_weight: Mapping[Any, float] | str | None,
) -> npt.NDArray[np.float64] | None:
    """`sample_weight` times the weight of each row's class, of shape (rows,); None if both are None.

    They are scaled to at most 1, so that their sum is finite.

    Raises
    ------
    ValueError
        If `sample_weight` does not match `y` or is negative, if `class_weight` is negative, not finite, or
        given for an indicator matrix, or if all weights are 0.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = _check_sample_weight(
        sample_weight, np.empty((len(y), 0)), dtype=np.float64, ensure_non_negative=True
    )
    if class_weight is not None:
        if y.ndim == 2:
            raise ValueError("class_weight: expected None for a multilabel y")
        per_class = compute_class_weight(class_weight, classes=classes, y=y)
        refused = per_class[~((per_class >= 0) & np.isfinite(per_class))]
        if refused.size:
            raise ValueError(f"class_weight: expected finite weights of at least 0, got {refused[0]}")
        weights = _at_most_one(weights) * per_class[np.searchsorted(classes, y)]
    if not weights.any():
        raise ValueError("sample_weight: expected at least one weight above 0, got zeros")
    return _at_most_one(weights)


def _at_most_one(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`weights` (rows,) divided by the largest, so that equal weights are 1 exactly."""
    largest = weights.max(initial=0.0)
    return weights / largest if largest > 0 else weights


def split_rows(
    targets: npt.NDArray[Any], n_members: int, validation_fraction: float, rng: np.random.RandomState
) -> list[tuple[Indices, Indices | None]]:
    """The indices of the training rows and of the validation rows of each member of an ensemble.

    A single network gets those of `train_validation_split`. Each of several holds out another of `n_folds`
    folds, and rows of a class are spread evenly over the folds. The only row of a class is in no fold.
    """
    if n_members == 1:
        return [train_validation_split(targets, validation_fraction, rng)]
    n_rows = len(targets)
    rows = np.arange(n_rows)
    if targets.ndim == 1:
        rows = rows[np.bincount(targets)[targets] > 1]
    if n_rows < MIN_ROWS_TO_SPLIT or len(rows) < 2 * n_members:
        return [(np.arange(n_rows), None)] * n_members
    order = rng.permutation(rows)
    if targets.ndim == 1:
        order = order[np.argsort(targets[order], kind="stable")]
    fold = np.full(n_rows, -1)
    fold[order] = np.arange(len(order)) % n_folds(n_rows, n_members)
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(n_members)]


def n_folds(n_rows: int, n_members: int) -> int:
    """The number of folds of which each of several networks holds out one.

    Small tables have four folds: four networks then hold out each row once, and even a rare class has rows
    that choose the epoch. Larger tables have folds of FOLD_ROWS rows, up to ten folds, so that each network
    is trained on more of the rows.
    """
    return max(min(n_rows // FOLD_ROWS, MAX_FOLDS), MIN_FOLDS, n_members)


def train_validation_split(
    targets: npt.NDArray[Any], validation_fraction: float, rng: np.random.RandomState
) -> tuple[Indices, Indices | None]:
    """The indices of the training rows and of the validation rows; None for the latter in a small table.

    The split is stratified by class if every class has at least two rows and both parts have room for all
    classes; never for an indicator matrix.
    """
    rows = np.arange(len(targets))
    if len(rows) < MIN_ROWS_TO_SPLIT:
        return rows, None
    stratify = None
    if targets.ndim == 1:
        counts = np.bincount(targets)
        counts = counts[counts > 0]
        smaller_part = math.floor(len(rows) * min(validation_fraction, 1 - validation_fraction))
        stratify = targets if counts.min() >= 2 and smaller_part >= len(counts) else None
    seed = int(rng.randint(2**31 - 1))
    train, validation = train_test_split(
        rows, test_size=validation_fraction, random_state=seed, stratify=stratify
    )
    return train, validation
