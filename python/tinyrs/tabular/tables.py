"""A table from any library as a list of columns, whose values are read as `values.py` says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import first_infinite
from tinyrs.tabular.sources import read_frame, records_in_order
from tinyrs.tabular.times import dates_in, value_of
from tinyrs.tabular.type_checks import is_frame
from tinyrs.tabular.values import EXPECTED, TIMES, CellError, CellTypeError, infer_kind, is_cell, number_of

Numbers = npt.NDArray[np.floating[Any]]  # float32 or float64
Indices = npt.NDArray[np.intp]
Rows = npt.NDArray[Any]  # indices of rows, or a mask


@dataclass(frozen=True)
class NumberCells:
    """A column that its library holds as numbers.

    Attributes
    ----------
    values : array of shape (rows,)
        Integers, or floats with NaN for missing values; seconds, for times.
    kind : str
        See `values.py`.
    is_category : bool
        False: numbers are not categories unless the user says so.
    """

    values: npt.NDArray[Any]
    kind: str = "number"
    is_category: bool = False

    def rows(self, rows: Rows) -> NumberCells:
        """The column of these rows."""
        return NumberCells(self.values[rows], self.kind)

    def numbers(self, kind: str) -> Numbers:
        """The column as numbers (rows,), with NaN for missing values; see `float_type` for their precision.

        Raises
        ------
        CellError
            If a value is not of this kind, or infinite.
        """
        values = self.values.astype(float_type(self.values.dtype), copy=False)
        if kind != self.kind and (kind in TIMES or self.kind in TIMES):
            known = np.flatnonzero(~np.isnan(values))
            if known.size:
                value = self._objects(self.values[known[:1]])[0]
                raise CellError(EXPECTED[kind], value, int(known[0]))
        if kind == "boolean" and self.kind == "number":
            other = np.flatnonzero((values != 0) & (values != 1) & ~np.isnan(values))
            if other.size:
                raise CellError(EXPECTED["boolean"], self.values[other[0]].item(), int(other[0]))
        row = first_infinite(values)
        if row is not None:
            raise CellError("a finite number", float(values[row]), row)
        return values

    def distinct(self) -> tuple[list[Any], Indices]:
        """The distinct values, and the index of the value of each row (rows,)."""
        values, inverse = np.unique(self.values, return_inverse=True)
        return self._objects(values), inverse

    def _objects(self, values: npt.NDArray[Any]) -> list[Any]:
        """These values as Python values."""
        if self.kind == "number":
            return list(values.tolist())
        read = bool if self.kind == "boolean" else partial(value_of, kind=self.kind)
        return [None if value != value else read(value) for value in values.tolist()]

    def category_kind(self) -> str:
        """The kind of the column if it is one of categories."""
        return self.kind


@dataclass(frozen=True)
class ObjectCells:
    """A column of Python objects, of which it holds each distinct one once.

    Attributes
    ----------
    values : list
        The distinct values; 1, 1.0 and True are distinct.
    inverse : array of shape (rows,)
        The index of the value of each row.
    of_categories : bool
        Whether its library holds it as a column of categories.
    """

    values: list[Any]
    inverse: Indices
    of_categories: bool = False

    @classmethod
    def of(cls, values: Sequence[Any], of_categories: bool = False) -> ObjectCells:
        """The column of these values. CellTypeError if one of them is a list, a dict or the like."""
        index: dict[Any, int] = {}
        keys = zip(map(type, values), values, strict=True)
        try:
            inverse = np.fromiter((index.setdefault(key, len(index)) for key in keys), np.intp, len(values))
            distinct = [value for _, value in index]
        except TypeError:  # a value has no hash, like a list or an array
            distinct, inverse = list(values), np.arange(len(values))
        # One value of each type is enough to look at.
        for value in {type(value): value for value in distinct}.values():
            if not is_cell(value):
                row = next(i for i, other in enumerate(values) if type(other) is type(value))
                raise CellTypeError("a number, text, a date or a missing value", values[row], row)
        return cls(distinct, inverse, of_categories)

    @cached_property
    def kind(self) -> str:
        return infer_kind(self.values, category=False)

    @property
    def is_category(self) -> bool:
        return self.of_categories or self.kind == "text"

    def rows(self, rows: Rows) -> ObjectCells:
        """The column of these rows."""
        used, inverse = np.unique(self.inverse[rows], return_inverse=True)
        return ObjectCells([self.values[i] for i in used], inverse, self.of_categories)

    def numbers(self, kind: str) -> Numbers:
        """See `NumberCells.numbers`."""
        numbers = np.full(len(self.values), np.nan)
        known = [i for i, value in enumerate(self.values) if value is not None]
        if kind == "date" and all(type(self.values[i]) is str for i in known):
            dates = dates_in([self.values[i] for i in known])
            if dates is not None:
                numbers[known] = dates
                return numbers[self.inverse]
        for i, value in enumerate(self.values):
            try:
                numbers[i] = number_of(value, kind)
            except CellError as error:
                error.row = int(np.argmax(self.inverse == i))
                raise
        return numbers[self.inverse]

    def distinct(self) -> tuple[list[Any], Indices]:
        """See `NumberCells.distinct`."""
        return self.values, self.inverse

    def category_kind(self) -> str:
        """See `NumberCells.category_kind`."""
        return infer_kind(self.values, category=True)


Column = NumberCells | ObjectCells


@dataclass(frozen=True)
class Table:
    """The columns of a table, and their names if they have any."""

    columns: list[Column]
    n_rows: int
    names: Sequence[str] | None = None

    @classmethod
    def read(cls, X: Any, names: Sequence[str] | None = None, extra_columns: str = "ignore") -> Table:
        """Reads a 2-D array, a list of records, or a table of any library; see `sources.py`.

        Parameters
        ----------
        X : array of shape (rows, columns), list of records, or data frame
        names : sequence of str, optional
            The columns to read, by their names in a data frame or record.
        extra_columns : {"ignore", "error"}
            Whether other columns are an error.

        Raises
        ------
        ValueError
            If a data frame or record lacks a column, or has an unexpected one.
        TypeError
            If a cell holds a list, a dict, an array, a complex number or the like.
        ImportError
            If X is a data frame and narwhals is not installed.
        """
        if is_frame(X):
            frame = read_frame(X, names, extra_columns)
            return cls._of(list(frame.iter_columns()), _frame_column, len(frame), frame.columns)
        if isinstance(X, list) and names is not None:
            rows = records_in_order(X, names, extra_columns)
            columns = [[row[column] for row in rows] for column in range(len(names))]
            return cls._of(columns, ObjectCells.of, len(X), names)
        # In column-major order, each column is a contiguous view.
        X = np.asfortranarray(X)
        return cls._of(list(X.T), _array_column, len(X), names)

    @classmethod
    def of_batch(cls, batch: Any, names: Sequence[str] | None) -> Table:
        """Reads the columns `names` of a record batch of pyarrow, or all; raises as `read` does."""
        columns = batch.columns if names is None else [batch.column(name) for name in names]
        return cls._of(columns, _arrow_column, len(batch), batch.schema.names if names is None else names)

    @classmethod
    def _of(
        cls, columns: list[Any], read: Callable[[Any], Column], n_rows: int, names: Sequence[str] | None
    ) -> Table:
        names = names if names is not None and len(names) == len(columns) else None
        table = cls([], n_rows, names)
        for column, values in enumerate(columns):
            try:
                table.columns.append(read(values))
            except CellError as error:
                raise error.at(column, names) from None
        return table

    def rows(self, rows: Rows) -> Table:
        """The table of these rows."""
        return Table([column.rows(rows) for column in self.columns], len(rows), self.names)

    def numbers(self, column: int, kind: str = "number") -> Numbers:
        """The column as numbers (rows,), with NaN for missing values.

        Raises
        ------
        ValueError, TypeError
            If a value is not of this kind.
        """
        try:
            return self.columns[column].numbers(kind)
        except CellError as error:
            raise error.at(column, self.names) from None

    def number_matrix(self) -> Numbers:
        """All columns as numbers (rows, columns); raises as `numbers` does."""
        return np.column_stack([self.numbers(column) for column in range(len(self.columns))])


@dataclass(frozen=True)
class SparseTable:
    """A CSR matrix of numbers."""

    matrix: Any

    @property
    def n_rows(self) -> int:
        return int(self.matrix.shape[0])

    def rows(self, rows: npt.NDArray[np.intp]) -> SparseTable:
        """The table of these rows."""
        return SparseTable(self.matrix[rows])


def float_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """float32 if it holds all values of `dtype` exactly, else float64."""
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def _array_column(values: npt.NDArray[Any]) -> Column:
    """A column of an array."""
    if values.dtype.kind in "iuf":
        return NumberCells(values)
    if values.dtype.kind == "b":
        return NumberCells(values.astype(np.float32), "boolean")
    if values.dtype.kind in "mM":
        unit = np.dtype(f"{values.dtype.kind}8[us]")
        seconds = np.where(np.isnat(values), np.nan, values.astype(unit).astype(np.int64) / 1e6)
        return NumberCells(seconds, "date" if values.dtype.kind == "M" else "duration")
    return ObjectCells.of(values.tolist())


def read_column(series: Any) -> Column:
    """A column of pandas, polars or pyarrow. CellTypeError if a cell holds a list or the like."""
    import narwhals.stable.v1 as nw

    return _frame_column(nw.from_native(series, series_only=True))


def _arrow_column(array: Any) -> Column:
    """A column of a record batch of pyarrow."""
    import pyarrow as pa

    # Directly: narwhals takes several times as long for a column without missing values.
    is_number = pa.types.is_integer(array.type) or array.type in (pa.float32(), pa.float64())
    if is_number and not array.null_count:
        return NumberCells(array.to_numpy())
    return read_column(pa.chunked_array([array]))


def _frame_column(series: Any) -> Column:
    """A column of a data frame, as a series of narwhals."""
    import narwhals.stable.v1 as nw

    dtype = series.dtype
    if dtype == nw.Boolean or (dtype.is_numeric() and dtype != nw.Decimal):
        kind = "boolean" if dtype == nw.Boolean else "number"
        if not series.null_count() and kind == "number":
            return NumberCells(np.asarray(series.to_numpy()))  # the memory of the library, if it can lend it
        in_f32 = (nw.Boolean, nw.Float32, nw.Int8, nw.Int16, nw.UInt8, nw.UInt16)
        numbers = series.cast(nw.Float32 if dtype in in_f32 else nw.Float64)
        return NumberCells(np.asarray(numbers.fill_null(float("nan")).to_numpy()), kind)
    if dtype in (nw.Datetime, nw.Date, nw.Duration):
        is_date = dtype != nw.Duration
        whole = series.dt.timestamp("us") if is_date else series.dt.total_microseconds()
        microseconds = whole.cast(nw.Float64).fill_null(float("nan")).to_numpy()
        return NumberCells(np.asarray(microseconds) / 1e6, "date" if is_date else "duration")
    return ObjectCells.of(series.to_list(), dtype in (nw.Categorical, nw.Enum))
