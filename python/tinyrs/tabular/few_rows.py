"""Encodes tables of few rows row by row, since arrays of each column would take several times as long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.tabular.sources import records_in_order
from tinyrs.tabular.type_checks import is_frame

Row = Sequence[Any]
# Up to about this many rows, reading row by row is faster.
FEW_ROWS = 32
# Numbers that NumPy reads as `values.py` does.
NUMBERS: frozenset[type] = frozenset({bool, int, float, type(None)})
# What a library makes of the cells of these types does not depend on how it is asked for them; of a time zone
# or of nanoseconds it may.
PLAIN = NUMBERS | {str}


def encode_few(
    X: Any,
    names: Sequence[str] | None,
    extra_columns: str,
    encode_one: Callable[[Row], Row],
    numbers_one: Callable[[Row], Row],
) -> npt.NDArray[np.float64] | None:
    """The encoded rows of a table; None if they are more than a few, or a cell is not plain or not valid.

    `Table` reads all tables, and its errors name the row.

    Parameters
    ----------
    X : data frame of narwhals, list of records, or anything else, for which the result is None
    names, extra_columns
        As for `Table.read`.
    encode_one : callable
        Encodes a row.
    numbers_one : callable
        Reads the numbers of an encoded row that are not numbers yet.

    Raises
    ------
    ValueError
        If the names of a record do not fit; see `check_columns`.
    """
    rows = _rows_of(X, names, extra_columns)
    if not rows or not _has_only(PLAIN, rows):
        return None
    try:
        encoded = [encode_one(row) for row in rows]
        if not _has_only(NUMBERS, encoded):
            encoded = [numbers_one(row) for row in encoded]
        values = np.array(encoded, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if np.isinf(values).any() else values


def _rows_of(X: Any, names: Sequence[str] | None, extra_columns: str) -> Sequence[Row]:
    """The rows of X; none if there are more than a few."""
    if is_frame(X) and len(X) <= FEW_ROWS:
        import narwhals.stable.v1 as nw

        native = X.to_native()
        # The rows of narwhals are those of `itertuples`, which makes a Series of each column first.
        is_pandas = nw.dependencies.is_pandas_dataframe(native)
        rows: list[Row] = native.to_numpy(dtype=object).tolist() if is_pandas else X.rows()
        return rows
    if isinstance(X, list) and names is not None and len(X) <= FEW_ROWS:
        return records_in_order(X, names, extra_columns)
    return []


def _has_only(types: frozenset[type], rows: Sequence[Row]) -> bool:
    return types.issuperset(map(type, chain.from_iterable(rows)))
