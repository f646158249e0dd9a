"""A table from any library as a list of columns: of numbers, or of objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.tabular.type_checks import is_frame, is_missing

Numbers = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Table:
    """The columns of a table.

    Attributes
    ----------
    columns : list of array of shape (rows,)
        float64 with NaN for missing values if all values are numbers or missing, else object.
    n_rows : int
    source : array of shape (rows, columns) or None
        The table as it was passed, if that was an array of objects.
    """

    columns: list[Numbers | Objects]
    n_rows: int
    source: Objects | None = None

    @classmethod
    def read(cls, X: Any, names: Sequence[str] | None = None) -> Table:
        """Reads a 2-D array, or the columns `names` of a data frame of pandas, polars or pyarrow.

        Raises
        ------
        ValueError
            If the column names of a data frame are not those in `names`, in any order.
        ImportError
            If X is a data frame and narwhals is not installed.
        """
        if not is_frame(X):
            # In column-major order, each column is a contiguous view.
            X = np.asfortranarray(X)
            columns = [_array_column(column) for column in X.T]
            return cls(columns, len(X), X if X.dtype == object else None)
        try:
            import narwhals.stable.v1 as nw
        except ModuleNotFoundError:
            raise ImportError("X: a data frame needs narwhals: pip install 'tinyrs[sklearn]'") from None
        frame = nw.from_native(X, eager_only=True)
        if names is not None:
            found = set(frame.columns)
            missing, unexpected = [n for n in names if n not in found], sorted(found - set(names))
            if missing or unexpected:
                raise ValueError(f"X: missing columns: {missing}; unexpected columns: {unexpected}")
            frame = frame.select(names)
        return cls([_frame_column(column) for column in frame.iter_columns()], len(frame))

    def rows(self, rows: npt.NDArray[np.intp]) -> Table:
        """The table of these rows."""
        source = None if self.source is None else self.source[rows]
        return Table([column[rows] for column in self.columns], len(rows), source)

    def numbers(self, column: int) -> Numbers:
        """The column as numbers (rows,), with NaN for missing values.

        Raises
        ------
        ValueError
            If a value is neither a number nor missing.
        """
        values = self.columns[column]
        try:
            if values.dtype == object:
                values = np.array([np.nan if is_missing(v) else v for v in values], dtype=np.float64)
            return values.astype(np.float64, copy=False)
        except (TypeError, ValueError):
            raise ValueError(f"X: expected numbers in column {column}, as in fit, got other values") from None

    def number_matrix(self) -> Numbers:
        """All columns as numbers (rows, columns); raises as `numbers` does."""
        return np.column_stack([self.numbers(column) for column in range(len(self.columns))])

    def objects(self, column: int) -> Objects:
        """The column as objects (rows,); numbers are floats."""
        return self.columns[column].astype(object)

    def source_objects(self, column: int) -> Objects:
        """The column as objects (rows,) of the types that were passed.

        In a few rows of a column of mixed types, all values may happen to be numbers; `objects` would turn
        them into floats.
        """
        return self.objects(column) if self.source is None else self.source[:, column]


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


def _array_column(column: npt.NDArray[Any]) -> Numbers | Objects:
    if column.dtype.kind in "biuf":
        return column.astype(np.float64, copy=False)
    if column.dtype != object:
        return column.astype(object)
    try:
        return np.array([np.nan if is_missing(v) else v for v in column], dtype=np.float64)
    except (TypeError, ValueError):
        return column


def _frame_column(series: Any) -> Numbers | Objects:
    import narwhals.stable.v1 as nw

    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        numbers = series.cast(nw.Float64)
        return np.asarray(numbers.fill_null(float("nan")).to_numpy(), dtype=np.float64)
    values = np.empty(len(series), dtype=object)
    values[:] = series.to_list()
    return values
