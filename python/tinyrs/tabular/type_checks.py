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
    """Whether X is a data frame, lazy or not, a dataset of pyarrow, or a table with Arrow's interface."""
    # Looked up in the type: a lazy frame computes its columns.
    kind = type(X)
    if hasattr(kind, "columns") or hasattr(kind, "column_names") or is_dataset(X):
        return True
    return is_arrow(X) and not hasattr(kind, "__array__")  # not a single column


def is_arrow(X: Any) -> bool:
    """Whether X has Arrow's PyCapsule interface for streams or for single batches."""
    return hasattr(type(X), "__arrow_c_stream__") or hasattr(type(X), "__arrow_c_array__")


def is_dataset(X: Any) -> bool:
    """Whether X is a dataset of pyarrow, which reads its files only when they are scanned."""
    return hasattr(type(X), "scanner")


def is_record(X: Any) -> bool:
    """Whether X is one row with a value for each name: a dict, a Series of pandas or the like."""
    return hasattr(X, "keys") and not is_frame(X) and not is_sparse(X)


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or sparse array of SciPy."""
    return hasattr(X, "tocsr")
