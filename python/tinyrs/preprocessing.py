"""What is learnt of the columns of a table before a network sees it: the centre and scale of numbers, the
categories that there are. `ColumnTransformer`, in Rust, applies it.

Numbers with few different values are numbers all the same: a 0/1 column for each beside them, or instead,
was tried on the KEEL sets of benchmarks/accuracy.py and made the mean error worse.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import ColumnTransformer, Network
from tinyrs.tables import Numbers, Objects, SparseTable, Table, is_missing, is_sparse

Floats = npt.NDArray[np.floating[Any]]

# Categories with a column of their own; rarer ones share the buckets.
MAX_CATEGORIES = 256
BUCKETS = 16
MISSING = "\0missing"


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: its place in the table, and what becomes 0 and 1.

    The centre is the median, the scale one by the distance of the quartiles. A constant has scale 0.
    """

    column: int
    centre: float
    scale: float
    flagged: bool  # had missing values when it was fitted

    @classmethod
    def fit(cls, column: int, numbers: Numbers, weight: Numbers | None) -> NumberColumn:
        """`numbers` (rows,), NaN where one is missing; `weight` (rows,) is above 0."""
        missing = np.isnan(numbers)
        if missing.all():
            return cls(column, 0.0, 0.0, True)
        low, q25, centre, q75, high = quantiles(numbers, weight)
        with np.errstate(divide="ignore", over="ignore"):
            # Halves: the range of finite numbers may be beyond the largest of them.
            quartiles, whole = q75 / 2 - q25 / 2, high / 2 - low / 2
            scale = 0.5 / quartiles if quartiles > 0 else 1 / whole if whole > 0 else 0.0
        return cls(column, float(centre), float(scale) if np.isfinite(scale) else 0.0, bool(missing.any()))


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
class CategoryColumn:
    """A column of categories: its place in the table, the names that have a code, and the codes after them
    that all other names share."""

    column: int
    names: tuple[str, ...]
    buckets: int

    @classmethod
    def fit(cls, column: int, values: Objects) -> CategoryColumn:
        names, counts = np.unique(_names(values), return_counts=True)
        # The most frequent first, equals in the order of their names.
        order = np.lexsort((names, -counts))[:MAX_CATEGORIES]
        return cls(column, tuple(str(names[i]) for i in order), BUCKETS if len(names) > MAX_CATEGORIES else 0)

    @property
    def n_codes(self) -> int:
        return len(self.names) + self.buckets

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    def encode(self, values: Objects) -> list[float]:
        """The code of each of `values` (rows,): -1 for a category that was never seen, if there are no
        buckets."""
        codes = self._codes
        return [codes[name] if name in codes else self._bucket(name) for name in _names(values)]

    def _bucket(self, name: str) -> int:
        # The same in every process, unlike hash().
        return len(self.names) + zlib.crc32(name.encode()) % self.buckets if self.buckets else -1


def _names(values: Objects) -> list[str]:
    """The names of categories. 1, 1.0 and True are different ones; None, NaN and NaT are the one that is
    missing."""
    return [MISSING if is_missing(value) else f"{type(value).__name__[0]}:{value}" for value in values]


@dataclass(frozen=True)
class Preprocessor:
    """What was learnt of a table's columns; each is a column of numbers or of categories."""

    n_columns: int
    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]

    @classmethod
    def fit(
        cls, table: Table, categorical: Sequence[int] = (), weight: Numbers | None = None
    ) -> Preprocessor:
        """Columns that hold no numbers are categories, and so are those in `categorical`."""
        named = {i for i, column in enumerate(table.columns) if column.dtype == object} | set(categorical)
        places = range(len(table.columns))
        return cls(
            len(table.columns),
            tuple(NumberColumn.fit(i, table.numbers(i), weight) for i in places if i not in named),
            tuple(CategoryColumn.fit(i, table.objects(i)) for i in sorted(named)),
        )

    @cached_property
    def transformer(self) -> ColumnTransformer:
        """What applies it to encoded rows."""
        numbers = [(n.column, n.centre, n.scale, n.flagged) for n in self.numbers]
        return ColumnTransformer(self.n_columns, numbers, [(c.column, c.n_codes) for c in self.categories])

    def encode(self, X: Any, names: Sequence[str] | None = None) -> npt.NDArray[Any]:
        """A `Table`, a 2-D array or a data frame, of columns `names`, as numbers (rows, columns): categories
        as their codes, NaN for what is missing."""
        if not self.categories and isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            return X
        if is_sparse(X):
            raise TypeError("X: expected dense rows, as in fit, got a sparse matrix; its toarray() has them")
        table = X if isinstance(X, Table) else Table.read(X, names)
        if len(table.columns) != self.n_columns:
            raise ValueError(f"X: expected {self.n_columns} columns, got {len(table.columns)}")
        encoded = np.empty((table.n_rows, self.n_columns))
        for number in self.numbers:
            encoded[:, number.column] = table.numbers(number.column)
        for category in self.categories:
            encoded[:, category.column] = category.encode(table.objects(category.column))
        return encoded

    def features(self, encoded: npt.NDArray[Any], precision: str) -> Floats:
        """Encoded rows (rows, columns) -> (rows, features); at least one feature, which is 0 where no column
        varies."""
        return self.transformer.transform(encoded, precision=precision)

    def forward(self, network: Network, encoded: npt.NDArray[Any], n_threads: int | None = None) -> Floats:
        """The outputs of `network` for encoded rows: (rows, columns) -> (rows, outputs)."""
        return self.transformer.forward(network, encoded, n_threads=n_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return Preprocessor, (self.n_columns, self.numbers, self.categories)


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
        return Preprocessor.fit(table, categorical, weight)
    if categorical:
        raise ValueError("categorical_features: expected none for a sparse matrix, whose zeros are numbers")
    return SparseScale.fit(table)
