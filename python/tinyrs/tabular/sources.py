"""Turns what users pass as a table into a data frame of narwhals, a 2-D array, or a list of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.tabular.column_names import check_columns, check_length
from tinyrs.tabular.type_checks import is_arrow, is_dataset, is_record

Record = Mapping[str, Any]


def read_frame(X: Any, names: Sequence[str] | None = None, extra_columns: str = "ignore") -> Any:
    """A data frame of narwhals with the columns `names` of X; with all columns if `names` is None.

    X is a data frame of pandas or polars, a lazy frame or a dataset of pyarrow, of which only these columns
    are read, or an object with Arrow's method `__arrow_c_stream__` or `__arrow_c_array__`: a table, a record
    batch or a reader of pyarrow, a relation of DuckDB, a data frame of Daft.

    Raises
    ------
    ValueError
        If the names do not fit; see `check_columns`.
    TypeError
        If X is not such a table.
    ImportError
        If narwhals is not installed, or pyarrow for an object that only has Arrow's methods.
    """
    try:
        import narwhals.stable.v1 as nw
    except ModuleNotFoundError:
        raise ImportError("X: a data frame needs narwhals: pip install 'tinyrs[sklearn]'") from None
    if is_dataset(X):
        check_columns(X.schema.names, X.schema.names if names is None else names, extra_columns)
        X = X.to_table(columns=names if names is None else list(names))
    elif is_arrow(X) and not nw.dependencies.is_into_dataframe(X):
        X = require_pyarrow(f"X: a {type(X).__name__}").table(X)
    try:
        frame = nw.from_native(X)
    except TypeError:
        raise TypeError(
            f"X: expected an array, a data frame or a list of rows, got a {type(X).__name__}"
        ) from None
    if names is not None:
        found = frame.collect_schema().names() if isinstance(frame, nw.LazyFrame) else frame.columns
        check_columns(found, names, extra_columns)
        if found != list(names):
            frame = frame.select(names)
    return frame.collect() if isinstance(frame, nw.LazyFrame) else frame


def require_pyarrow(what: str) -> Any:
    """The module pyarrow. ImportError that names `what` needs it, if it is not installed."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise ImportError(f"{what} needs pyarrow: pip install pyarrow") from None
    return pyarrow


def read_rows(X: Any, n_columns: int, names: Sequence[str] | None) -> npt.NDArray[Any] | list[Record]:
    """The row or rows in a list, an array or a record: (columns,) or (rows, columns), or a list of records.

    Parameters
    ----------
    X : array, sequence of values, sequence of rows, or sequence of records
        A record is a dict, a Series of pandas or another object with `keys`.
    n_columns : int
        The number of columns of the model.
    names : sequence of str or None
        Those of the columns of the model, if they have any.

    Raises
    ------
    TypeError
        If there are records but no names, or X is neither a row nor a sequence of rows.
    ValueError
        If a row has another number of columns.
    """
    if isinstance(X, np.ndarray):
        array: npt.NDArray[Any] = fill_masked(X)
    elif isinstance(X, (list, tuple)) and X and is_record(X[0]):
        if names is None:
            raise TypeError(
                "X: expected rows of values in the order of the columns, since the columns have no names, "
                f"got a list of {type(X[0]).__name__}"
            )
        return _records(X)
    elif isinstance(X, (list, tuple)):
        array = as_array(X, n_columns, names)
    else:
        array = np.asarray(X)
    if array.ndim not in (1, 2):
        got = array.shape if array.ndim else type(X).__name__
        raise ValueError(f"X: expected shape (columns,) or (rows, columns), got {got}")
    check_length(array.shape[-1], n_columns, names)
    return array


def fill_masked(X: Any) -> Any:
    """X with missing values in place of the masked ones, if it is one of NumPy's masked arrays."""
    # Not isinstance: the import of numpy.ma takes milliseconds.
    if not (isinstance(X, np.ndarray) and hasattr(X, "filled")):
        return X
    masked: Any = X
    dtype: np.dtype[Any] = np.dtype(object)
    missing: Any = None
    if masked.dtype.kind in "iuf":
        dtype, missing = np.dtype(float), np.nan
    elif masked.dtype.kind in "mM":
        dtype, missing = masked.dtype, "NaT"
    filled = np.array(masked.data, dtype=dtype)
    filled[masked.mask] = missing
    return filled


def as_array(X: Sequence[Any], n_columns: int | None = None, names: Sequence[str] | None = None) -> Any:
    """A list of values or of rows as an array: of numbers if all values are numbers, else of objects.

    Every row must have `n_columns` values, by default the number of the first row. Raises the same errors
    as `read_rows`.
    """
    try:
        numbers = np.asarray(X)
        if numbers.dtype.kind in "biuf":
            return numbers
    except (ValueError, OverflowError):  # rows of different lengths, or a huge integer
        pass
    if is_table := bool(X) and _is_row(X[0]):
        width = len(X[0]) if n_columns is None else n_columns
        for i, row in enumerate(X):
            if not _is_row(row):
                raise TypeError(f"X: expected a row of {width} values, got {row!r} in row {i}")
            check_length(len(row), width, names, i)
    # One by one: NumPy would make strings of all values beside a string, and arrays of nested lists.
    objects = np.fromiter(chain.from_iterable(X) if is_table else X, dtype=object)
    return objects.reshape(len(X), width) if is_table else objects


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _records(X: Sequence[Any]) -> list[Record]:
    for i, row in enumerate(X):
        if not is_record(row):
            raise TypeError(f"X: expected a {type(X[0]).__name__} like those before, got {row!r} in row {i}")
    return list(X)


def records_in_order(
    X: Sequence[Record], names: Sequence[str], extra_columns: str = "ignore"
) -> list[Sequence[Any]]:
    """The values of each record in the order of `names`.

    Raises
    ------
    ValueError
        If the names of a record do not fit; see `check_columns`.
    """
    for i, row in enumerate(X):
        check_columns(list(row.keys()), names, extra_columns, f"X, row {i}")
    return [[row[name] for name in names] for row in X]
