"""What a value or a table is, whatever library it came from."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_missing(value: object) -> bool:
    """Whether it stands for nothing: None, NaN, NaT, pandas.NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas.NA is neither
        return True


def is_frame(X: Any) -> bool:
    """Whether it is a data frame: of pandas or polars, or a table of pyarrow."""
    return hasattr(X, "columns") or hasattr(X, "column_names")


def is_sparse(X: Any) -> bool:
    """Whether it is a sparse matrix or array of SciPy."""
    return hasattr(X, "tocsr")
