"""A table, whatever library it came from, as columns: of numbers, or of anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.tabular.kinds import is_frame, is_missing

Numbers = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Table:
    """A table as columns of numbers (float64, NaN where missing) and columns of anything else (object)."""

    columns: list[Numbers | Objects]
    n_rows: int
    # The same as they were given, where that was an array of objects.
    source: Objects | None = None

    @classmethod
    def read(cls, X: Any, names: Sequence[str] | None = None) -> Table:
        """From a 2-D array, or from a data frame of pandas, polars or pyarrow: the columns of these `names`.

        Raises
        ------
        ValueError
            If a data frame lacks one of `names`, or has others.
        ImportError
            If it is a data frame and narwhals is not installed.
        """
        if not is_frame(X):
            # Whole columns next to each other, so that each is a view.
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
            missing, extra = [n for n in names if n not in found], sorted(found - set(names))
            if missing or extra:
                got = f"a table without {missing} and with {extra}"
                raise ValueError(f"X: expected the columns of the training set, got {got}")
            frame = frame.select(names)
        return cls([_frame_column(column) for column in frame.iter_columns()], len(frame))

    def rows(self, rows: npt.NDArray[np.intp]) -> Table:
        """The table of these rows."""
        source = None if self.source is None else self.source[rows]
        return Table([column[rows] for column in self.columns], len(rows), source)

    def numbers(self, column: int) -> Numbers:
        """That column as numbers (rows,), NaN where one is missing. ValueError where one is none."""
        values = self.columns[column]
        try:
            if values.dtype == object:
                values = np.array([np.nan if is_missing(v) else v for v in values], dtype=np.float64)
            return values.astype(np.float64, copy=False)
        except (TypeError, ValueError):
            raise ValueError(
                f"X: expected numbers in column {column}, as in fit, got something else"
            ) from None

    def objects(self, column: int) -> Objects:
        """That column as objects (rows,)."""
        return self.columns[column].astype(object)

    def given(self, column: int) -> Objects:
        """That column as objects (rows,), of the types that they came with: a few rows of a column of
        this and that may happen to be all numbers."""
        return self.objects(column) if self.source is None else self.source[:, column]


@dataclass(frozen=True)
class SparseTable:
    """A CSR matrix, all of numbers."""

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
