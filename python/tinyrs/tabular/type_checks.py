"""Recognises missing values, data frames and sparse matrices without importing their libraries."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_missing(value: object) -> bool:
    """Whether `value` stands for a missing value: None, NaN, NaT or pandas.NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas.NA has no truth value
        return True


def is_frame(X: Any) -> bool:
    """Whether X is a data frame, lazy or not, a table of pyarrow, or another table with Arrow's interface."""
    # Looked up in the type: a lazy frame computes its columns.
    kind = type(X)
    if hasattr(kind, "columns") or hasattr(kind, "column_names"):
        return True
    return hasattr(kind, "__arrow_c_stream__") and not hasattr(kind, "__array__")  # not a single column


def is_record(X: Any) -> bool:
    """Whether X is one row with a value for each name: a dict, a Series of pandas or the like."""
    return hasattr(X, "keys") and not is_frame(X) and not is_sparse(X)


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or sparse array of SciPy."""
    return hasattr(X, "tocsr")
