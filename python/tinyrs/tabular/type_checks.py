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
    """Whether X is a data frame of pandas or polars, or a table of pyarrow."""
    return hasattr(X, "columns") or hasattr(X, "column_names")


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or sparse array of SciPy."""
    return hasattr(X, "tocsr")
