"""Tables for the tests of rows that are read in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet


def rows(n: int, seed: int = 0) -> pa.Table:
    """Numbers, a category with missing values, weights, and the label "y"."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    colour = rng.choice(["red", "green", "blue"], n)
    score = X[:, 0] + X[:, 1] + 1.5 * (colour == "red") + 0.3 * rng.normal(size=n)
    columns = {f"x{i}": X[:, i] for i in range(4)}
    columns["colour"] = pa.array([None if i % 50 == 0 else c for i, c in enumerate(colour)], pa.string())
    return pa.table({**columns, "y": np.where(score > 0.7, "high", "low")})


def write(path: Path, table: pa.Table) -> Path:
    parquet.write_table(table, path, row_group_size=200)
    return path


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, pa.array(values))
    return table.append_column(name, pa.array(values))


def write_sorted(folder: Path) -> Path:
    """Writes 4,000 rows to two files, sorted by their labels, which is the hardest order to train in."""
    table = rows(4000).sort_by("y")
    write(folder / "a.parquet", table.slice(0, 2500))
    write(folder / "b.parquet", table.slice(2500))
    return folder
