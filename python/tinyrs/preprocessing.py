"""From a table to the numbers that a network learns from: what `TinyClassifier` does to its columns.

A column of numbers x becomes z / sqrt(1 + (z / 3)^2) with z = (x - median) * s and s = 1 / (q75 - q25):
centred, scaled and smoothly clipped, whatever its outliers (Holzmuller, Grinsztajn, Steinwart, "Better by
default", 2024). A column of categories becomes a 0/1 column for each. Both keep what a missing value means.
Numbers with few different values are numbers all the same: a 0/1 column for each beside them, or instead,
was tried on the KEEL sets of benchmarks/accuracy.py and made the mean error worse.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Objects = npt.NDArray[np.object_]

# Categories with a column of their own; rarer ones share the buckets.
MAX_CATEGORIES = 256
BUCKETS = 16
MISSING = "\0missing"


def smooth_clip(z: Floats) -> Floats:
    """z / sqrt(1 + (z / 3)^2): about z near 0, never beyond +-3; any shape."""
    return np.asarray(z / np.sqrt(1 + np.square(z / 3)))


@dataclass(frozen=True)
class NumberColumns:
    """What to do with the columns of numbers of a table; arrays of one element a column.

    `columns` are their places in the table. A constant column has scale 0 and gives nothing.
    """

    columns: npt.NDArray[np.intp]
    centre: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    flagged: npt.NDArray[np.bool_]  # had missing values when it was fitted

    @classmethod
    def fit(
        cls, columns: Sequence[int], X: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None
    ) -> NumberColumns:
        """`X` (rows, columns) holds the numbers, NaN where one is missing; `weight` (rows,) is above 0."""
        missing = np.isnan(X)
        # A column without a single number is a constant.
        filled = np.where(missing.all(axis=0), 0.0, X)
        low, q25, centre, q75, high = np.transpose([quantiles(column, weight) for column in filled.T])
        with np.errstate(divide="ignore", over="ignore"):
            # Halves: the range of finite numbers may be beyond the largest of them.
            quartiles, whole = q75 / 2 - q25 / 2, high / 2 - low / 2
            scale = np.where(quartiles > 0, 0.5 / quartiles, np.where(whole > 0, 1 / whole, 0.0))
        scale = np.where(np.isfinite(scale), scale, 0.0)
        return cls(np.array(columns, dtype=np.intp), centre, scale, np.asarray(missing.any(axis=0)))

    def transform(self, X: npt.NDArray[np.float64]) -> list[Floats]:
        """`X` (rows, columns), NaN where missing -> blocks of columns."""
        missing, varied = np.isnan(X), self.scale > 0
        with np.errstate(over="ignore", invalid="ignore"):
            z = np.clip((X[:, varied] - self.centre[varied]) * self.scale[varied], -1e18, 1e18)
        # A missing number stands where most of them are.
        return [np.where(missing[:, varied], 0.0, smooth_clip(z)), missing[:, self.flagged].astype(float)]


def quantiles(column: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None) -> Floats:
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
    """What to do with one column of categories: its place in the table, and the columns that it becomes."""

    column: int
    categories: dict[str, int]
    buckets: int

    @classmethod
    def fit(cls, column: int, values: Objects) -> CategoryColumn:
        names, counts = np.unique([category(value) for value in values], return_counts=True)
        # The most frequent first, equals in the order of their names.
        order = np.lexsort((names, -counts))[:MAX_CATEGORIES]
        kept = {str(names[i]): place for place, i in enumerate(order)}
        return cls(column, kept, BUCKETS if len(names) > MAX_CATEGORIES else 0)

    def transform(self, values: Objects) -> Floats:
        """`values` (rows,) -> (rows, columns). A category that was never seen is 0 everywhere, or in its
        bucket."""
        block = np.zeros((len(values), len(self.categories) + self.buckets))
        for row, value in enumerate(values):
            name = category(value)
            place = self.categories.get(name)
            if place is None and self.buckets:
                # The same in every process, unlike hash().
                place = len(self.categories) + zlib.crc32(name.encode()) % self.buckets
            if place is not None:
                block[row, place] = 1
        return block


def category(value: object) -> str:
    """The name of a category. 1, 1.0 and True are different ones; None, NaN and NaT are the one that is
    missing."""
    return MISSING if is_missing(value) else f"{type(value).__name__[0]}:{value}"


def is_missing(value: object) -> bool:
    """Whether it stands for nothing: None, NaN, NaT, pandas.NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas.NA is neither
        return True


@dataclass(frozen=True)
class Table:
    """A table as columns of numbers (float64, NaN where missing) and columns of anything else (object)."""

    columns: list[npt.NDArray[np.float64] | Objects]
    rows: int

    @classmethod
    def read(cls, X: Any) -> Table:
        """From a 2-D array, or from a data frame of pandas, polars or pyarrow."""
        if isinstance(X, np.ndarray):
            # Whole columns next to each other, so that each is a view.
            columns = [_array_column(column) for column in np.asfortranarray(X).T]
            return cls(columns, len(X))
        import narwhals.stable.v1 as nw

        frame = nw.from_native(X, eager_only=True)
        return cls([_frame_column(column) for column in frame.iter_columns()], len(frame))

    def numbers(self, columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """Those columns as one array (rows, columns). ValueError where one holds no number."""
        out = np.empty((self.rows, len(columns)))
        for i, column in enumerate(columns):
            try:
                out[:, i] = (
                    [np.nan if is_missing(v) else v for v in self.columns[column]]
                    if (self.columns[column].dtype == object)
                    else self.columns[column]
                )
            except (TypeError, ValueError):
                raise ValueError(
                    f"X: expected numbers in column {column}, as in fit, got something else"
                ) from None
        return out

    def objects(self, column: int) -> Objects:
        """That column as objects (rows,)."""
        return self.columns[column].astype(object)


def _array_column(column: npt.NDArray[Any]) -> npt.NDArray[np.float64] | Objects:
    if column.dtype.kind in "biuf":
        return column.astype(np.float64, copy=False)
    if column.dtype != object:
        return column.astype(object)
    try:
        return np.array([np.nan if is_missing(v) else v for v in column], dtype=np.float64)
    except (TypeError, ValueError):
        return column


def _frame_column(series: Any) -> npt.NDArray[np.float64] | Objects:
    import narwhals.stable.v1 as nw

    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        numbers = series.cast(nw.Float64)
        return np.asarray(numbers.fill_null(float("nan")).to_numpy(), dtype=np.float64)
    values = np.empty(len(series), dtype=object)
    values[:] = series.to_list()
    return values


@dataclass(frozen=True)
class Preprocessor:
    """A fitted table of columns: numbers first, then the columns of each category."""

    numbers: NumberColumns | None
    categories: tuple[CategoryColumn, ...]

    @classmethod
    def fit(
        cls,
        table: Table,
        categorical: Sequence[int] = (),
        weight: npt.NDArray[np.float64] | None = None,
    ) -> Preprocessor:
        """Columns that hold no numbers are categories, and so are those in `categorical`."""
        named = {i for i, column in enumerate(table.columns) if column.dtype == object} | set(categorical)
        numeric = [i for i in range(len(table.columns)) if i not in named]
        numbers = NumberColumns.fit(numeric, table.numbers(numeric), weight) if numeric else None
        return cls(numbers, tuple(CategoryColumn.fit(i, table.objects(i)) for i in sorted(named)))

    def transform(self, table: Table, dtype: npt.DTypeLike) -> Floats:
        """(rows, features) of `dtype`; at least one feature, which is 0 where no column varies."""
        blocks: list[Floats] = []
        if self.numbers is not None:
            blocks += self.numbers.transform(table.numbers(self.numbers.columns.tolist()))
        blocks += [category.transform(table.objects(category.column)) for category in self.categories]
        if not any(block.shape[1] for block in blocks):
            blocks = [np.zeros((table.rows, 1))]
        return np.ascontiguousarray(np.hstack(blocks), dtype=dtype)
