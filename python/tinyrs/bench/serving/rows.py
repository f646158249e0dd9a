"""The rows to predict: those of a table, or rows drawn like those of training.

A row is a list of Python values in the order of the model's columns: numbers, text, None for a missing value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

import tinyrs
from tinyrs.bench.config import UsageError

# Few enough that the rows stay in the caches, many enough that branches are not learnt by heart.
DRAWN = 1024


@dataclass(frozen=True)
class Rows:
    """Rows, and the index of the class of each, if known."""

    values: list[list[Any]]
    targets: list[int] | None = None
    origin: str = "rows drawn like those of training"

    def write(self, path: Path) -> None:
        """Writes the rows to a file for the workers."""
        path.write_text(json.dumps({"values": self.values, "targets": self.targets}))

    @classmethod
    def read(cls, path: str) -> Rows:
        """The rows of a file of `write`."""
        return cls(**json.loads(Path(path).read_bytes()))


def draw(model: tinyrs.Predictor | tinyrs.Network, seed: int) -> Rows:
    """Draws rows like those that the model was trained on.

    Each column is drawn by itself: numbers from the quartiles of training, categories from their counts, each
    missing as often as in training. The columns of a model that does not know its training are drawn from
    U(-1, 1).
    """
    rng = np.random.default_rng(seed)
    preprocessor = model.preprocessor if isinstance(model, tinyrs.Predictor) else None
    if preprocessor is None:
        n_columns = model.layer_sizes[0] if isinstance(model, tinyrs.Network) else model.n_features_in_
        values = rng.uniform(-1, 1, (DRAWN, n_columns)).tolist()
        return Rows(values, origin="random numbers")
    statistics = preprocessor.statistics
    if statistics is None:
        raise UsageError("the model file is too old to know its training rows: rows are needed (--data)")
    columns: list[list[Any]] = [[None] * DRAWN for _ in range(preprocessor.n_columns)]
    for number in preprocessor.numbers:
        quartiles = statistics.quartiles[number.column] if number.column < len(columns) else None
        if quartiles is not None:
            drawn = np.interp(rng.random(DRAWN), np.linspace(0, 1, len(quartiles)), quartiles)
            columns[number.column] = [_value(value, number.kind) for value in drawn.tolist()]
    for category, counts in zip(preprocessor.categories, statistics.counts, strict=True):
        total = sum(counts)
        if total:
            codes = rng.choice(len(counts), DRAWN, p=np.array(counts) / total)
            columns[category.column] = [_name(category.names[code]) for code in codes]
    for column, missing in enumerate(statistics.missing):
        gone = rng.random(DRAWN) < missing / max(1, statistics.n_rows)
        columns[column] = [None if g else v for g, v in zip(gone, columns[column], strict=True)]
    return Rows([list(row) for row in zip(*columns, strict=True)])


def _value(number: float, kind: str) -> Any:
    """The value of a column of this kind whose encoded number is `number`."""
    if kind == "boolean":
        return number >= 0.5
    if kind == "date":
        return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=round(number))).strftime(
            "%Y-%m-%d %H:%M:%S"
        )
    if kind == "time":
        return str(timedelta(seconds=round(number) % 86_400)).rjust(8, "0")
    if kind == "duration":
        return f"{round(number) // 86_400} days {timedelta(seconds=round(number) % 86_400)!s:0>8}"
    return number


def _name(name: str) -> str | None:
    """The text of a category; names that start with NUL stand for missing values."""
    return None if name.startswith("\0") else name


def repeated(rows: Sequence[list[Any]], count: int) -> list[list[Any]]:
    """At least `count` rows: all of them, again and again."""
    return [*rows] * -(-count // len(rows))
