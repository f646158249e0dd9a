"""What a model knows of each column of its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.values import MISSING


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
