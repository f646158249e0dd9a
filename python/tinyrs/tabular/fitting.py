"""What is learnt of the columns of a table before a network sees it: the centre and scale of numbers, the
categories that there are. `tinyrs.tabular.preprocessor` applies it.

Numbers with few different values are numbers all the same: a 0/1 column for each beside them, or instead,
was tried on the KEEL sets of benchmarks/accuracy.py and made the mean error worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.tabular.kinds import is_sparse
from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor, name_of
from tinyrs.tabular.tables import Numbers, Objects, SparseTable, Table

Floats = npt.NDArray[np.floating[Any]]

# Categories with a column of their own; rarer ones share the buckets.
MAX_CATEGORIES = 256
BUCKETS = 16


def fit_numbers(column: int, numbers: Numbers, weight: Numbers | None) -> NumberColumn:
    """What there is to learn of a column of `numbers` (rows,), NaN where one is missing; `weight` (rows,) is
    above 0."""
    missing = np.isnan(numbers)
    if missing.all():
        return NumberColumn(column, 0.0, 0.0, True)
    low, q25, centre, q75, high = quantiles(numbers, weight)
    with np.errstate(divide="ignore", over="ignore"):
        # Halves: the range of finite numbers may be beyond the largest of them.
        quartiles, whole = q75 / 2 - q25 / 2, high / 2 - low / 2
        scale = 0.5 / quartiles if quartiles > 0 else 1 / whole if whole > 0 else 0.0
    scale = float(scale) if np.isfinite(scale) else 0.0
    return NumberColumn(column, float(centre), scale, bool(missing.any()))


def fit_categories(column: int, values: Objects) -> CategoryColumn:
    """What there is to learn of a column of `values` (rows,)."""
    names, counts = np.unique([name_of(value) for value in values], return_counts=True)
    # The most frequent first, equals in the order of their names.
    order = np.lexsort((names, -counts))[:MAX_CATEGORIES]
    buckets = BUCKETS if len(names) > MAX_CATEGORIES else 0
    return CategoryColumn(column, tuple(str(names[i]) for i in order), buckets)


def fit_columns(table: Table, categorical: Sequence[int] = (), weight: Numbers | None = None) -> Preprocessor:
    """What there is to learn of all columns: those that hold no numbers are categories, and so are those in
    `categorical`."""
    named = {i for i, column in enumerate(table.columns) if column.dtype == object} | set(categorical)
    places = range(len(table.columns))
    return Preprocessor(
        len(table.columns),
        tuple(fit_numbers(i, table.numbers(i), weight) for i in places if i not in named),
        tuple(fit_categories(i, table.objects(i)) for i in sorted(named)),
    )


def quantiles(column: Numbers, weight: Numbers | None) -> Numbers:
    """The quantiles 0, 1/4, 1/2, 3/4 and 1 of the numbers in `column` (rows,), none of them between two
    numbers.

    A row of weight 2 counts as two rows do.
    """
    order = np.argsort(column)
    order = order[: np.count_nonzero(~np.isnan(column))]  # NaN comes last
    upto = np.arange(1.0, len(order) + 1) if weight is None else np.cumsum(weight[order])
    # A rounding of the sum must not leave the first number that reaches a quantile behind.
    places = np.searchsorted(upto, np.array([0, 0.25, 0.5, 0.75, 1]) * upto[-1] * (1 - 1e-12))
    return np.asarray(column[order[places]])


@dataclass(frozen=True)
class SparseScale:
    """What was learnt of a sparse table's columns: the factors that make the largest number of each 1 or -1.

    Nothing is moved: a 0 stays one. It has the methods of `Preprocessor`.
    """

    scale: Numbers

    @classmethod
    def fit(cls, table: SparseTable) -> SparseScale:
        largest = np.zeros(table.matrix.shape[1])
        np.maximum.at(largest, table.matrix.indices, np.abs(table.matrix.data))
        with np.errstate(divide="ignore", over="ignore"):
            scale = np.where(largest > 0, 1 / largest, 0.0)
        return cls(np.where(np.isfinite(scale), scale, 0.0))

    def encode(self, X: Any, names: Sequence[str] | None = None) -> Any:
        """A sparse matrix as CSR, anything else as numbers (rows, columns)."""
        if isinstance(X, SparseTable):
            return X.matrix
        if is_sparse(X):
            return X.tocsr()
        table = Table.read(X, names)
        return np.column_stack([table.numbers(column) for column in range(len(table.columns))])

    def features(self, encoded: Any, precision: str) -> Any:
        """(rows, columns) -> (rows, columns), in the same format."""
        dtype = np.float32 if precision == "f32" else np.float64
        if not is_sparse(encoded):
            return (encoded * self.scale).astype(dtype)
        scaled = encoded.astype(np.float64)
        scaled.data *= self.scale[scaled.indices]
        return scaled.astype(dtype)

    def forward(self, network: Network, encoded: Any, n_threads: int | None = None) -> Floats:
        """The outputs of `network` for encoded rows: (rows, columns) -> (rows, outputs)."""
        return network.forward(self.features(encoded, network.precision), n_threads=n_threads)

    def fold(self, network: Network) -> Network:
        """A network that gives the same for the columns as they are."""
        (weight, bias), *others = network.parameters()
        return Network.from_parameters([(weight * self.scale, bias), *others], **network.options)


def fit_preprocessor(
    table: Table | SparseTable, categorical: Sequence[int], weight: Numbers | None = None
) -> Preprocessor | SparseScale:
    """What there is to learn of either kind of table."""
    if not isinstance(table, SparseTable):
        return fit_columns(table, categorical, weight)
    if categorical:
        raise ValueError("categorical_features: expected none for a sparse matrix, whose zeros are numbers")
    return SparseScale.fit(table)
