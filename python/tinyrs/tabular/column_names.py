"""Compares the column names of a table with those of a model."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# "ignore": a table may have columns that the model does not use. "error": it may not.
EXTRA_COLUMNS = ("ignore", "error")
MAX_SHOWN = 8


def check_columns(
    found: Collection[object], wanted: Sequence[str], extra_columns: str = "ignore", where: str = "X"
) -> None:
    """Checks that a table or a row has the columns of a model, in any order.

    Parameters
    ----------
    found : collection of str
        The columns of the table.
    wanted : sequence of str
        The columns of the model.
    extra_columns : {"ignore", "error"}
        Whether other columns are an error.
    where : str
        What the message calls the table.

    Raises
    ------
    ValueError
        If a column is missing, or if there are others and `extra_columns` is "error".
    """
    if extra_columns not in EXTRA_COLUMNS:
        raise ValueError(f"extra_columns: expected one of {EXTRA_COLUMNS}, got {extra_columns!r}")
    present, known = set(found), set(wanted)
    missing = [name for name in wanted if name not in present]
    extra = [name for name in found if name not in known]
    if missing:
        instead = f"; columns that the model does not have: {_listed(extra)}" if extra else ""
        raise ValueError(f"{where}: missing columns: {_listed(missing)}{instead}")
    if extra and extra_columns == "error":
        raise ValueError(
            f"{where}: unexpected columns: {_listed(extra)}: drop them, or pass extra_columns='ignore'"
        )


def check_length(got: int, expected: int, names: Sequence[str] | None, row: int | None = None) -> None:
    """Checks the number of columns of a table, or of row `row` of a list.

    Raises
    ------
    ValueError
        If `got` is not `expected`.
    """
    if got != expected:
        place = "" if row is None else f" in row {row}"
        listed = "" if names is None else f" (the columns of the model: {_listed(names)})"
        raise ValueError(f"X: expected {expected} columns, got {got}{place}{listed}")


def _listed(names: Sequence[object]) -> str:
    """The names in quotes, the first few of many."""
    shown = ", ".join(map(repr, names[:MAX_SHOWN]))
    return shown if len(names) <= MAX_SHOWN else f"{shown}, ... ({len(names)} in all)"
