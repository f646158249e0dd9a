"""What a model knows of each column of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.values import MISSING

MAX_COLUMNS = 40


def describe_columns(
    preprocessor: Preprocessor | None, names: Sequence[str] | None, n_columns: int
) -> list[dict[str, Any]]:
    """Name, kind and encoding of each column; without a preprocessor all are numbers."""
    names = names or [f"x{i}" for i in range(n_columns)]
    if preprocessor is None:
        return [{"name": name, "kind": "numbers"} for name in names]
    columns: dict[int, dict[str, Any]] = {
        c.column: {"kind": f"{c.kind}s", "centre": c.centre, "missing_in_training": c.missing_indicator}
        for c in preprocessor.numbers
    }
    columns |= {
        c.column: {"kind": "categories", "categories": [name for name in c.names if name != MISSING]}
        for c in preprocessor.categories
    }
    return [{"name": name, **columns[i]} for i, name in enumerate(names)]


def column_lines(
    columns: Sequence[dict[str, Any]], printable: Callable[[object], str], max_values: int
) -> list[str]:
    """A line for each of the first MAX_COLUMNS of `columns` from `describe_columns`, and how many are left.

    `printable` makes names safe to show; of the categories of a column, at most `max_values` are listed.
    """
    shown = columns[:MAX_COLUMNS]
    width = max(len(printable(column["name"])) for column in shown)
    lines = []
    for column in shown:
        known = column.get("categories")
        values = f": {listed(known, printable, max_values)}" if known else ""
        lines.append(f"    {printable(column['name']):{width}}  {column['kind']}{values}")
    if len(columns) > MAX_COLUMNS:
        lines.append(f"    and {len(columns) - MAX_COLUMNS:,} more")
    return lines


def listed(values: Iterable[Any], printable: Callable[[object], str], max_values: int) -> str:
    """The first `max_values` of `values`, and how many there are if that is more."""
    names = list(map(printable, values))
    more = f", ... ({len(names):,} in all)" if len(names) > max_values else ""
    return ", ".join(names[:max_values]) + more
