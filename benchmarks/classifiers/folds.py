"""Measures models on the folds of the sets, and keeps the results in a file from which a run continues."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from classifiers.data_sets import DATA_SETS
from classifiers.scores import Clock, Row, append_row, done, measure, read_rows


def measure_folds(
    models: Mapping[str, Any],
    sets: Iterable[str],
    folds: int,
    path: Path | None,
    clock: Clock = time.perf_counter,
) -> list[Row]:
    """The results of `models` on the first `folds` folds of `sets`, and those that `path` has already.

    `clock` returns the time in seconds.
    """
    rows = read_rows(path) if path and path.exists() else []
    # Fold by fold: what was measured when the run is interrupted covers all sets.
    for fold in range(folds):
        for name in sets:
            missing = {
                label: model for label, model in models.items() if (name, fold, label) not in done(rows)
            }
            rows += _measure_fold(name, fold, missing, path, clock)
    return rows


def _measure_fold(
    name: str, fold: int, models: Mapping[str, Any], path: Path | None, clock: Clock
) -> list[Row]:
    """Measures the models on a fold of a set."""
    if not models:
        return []
    try:
        data = DATA_SETS[name]()
    except ImportError as error:
        print(f"skipped {name}: {error.name} is not installed", file=sys.stderr)
        return []
    rows = []
    for label, model in models.items():
        row = measure(name, data, fold, label, model, clock)
        rows.append(row)
        if path:
            append_row(path, row)
        scores = f"{row.error:.4f} {row.log_loss:.3f} {row.auc:.3f} {row.fit_seconds:6.1f} s"
        print(f"{name:24} {fold} {label:27} {scores}", file=sys.stderr, flush=True)
    return rows
