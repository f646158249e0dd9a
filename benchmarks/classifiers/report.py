"""Markdown tables of results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, rankdata

from classifiers.scores import Row

Floats = npt.NDArray[np.float64]
REFERENCE = "TinyClassifier"
# The columns of a set's cell, and their formats.
CELL = {"error": ".4f", "log_loss": ".3f", "auc": ".3f", "average_precision": ".3f", "fit_seconds": ".1f"}


class Results:
    """Means over the folds: `mean(column)` has one row per data set and one column per model.

    Only the folds that all models have results of count. One with test rows of a single class has no AUC and
    no average precision, and does not count for these.
    """

    def __init__(self, rows: list[Row]) -> None:
        self.models = list(dict.fromkeys(row.model for row in rows))
        folds: dict[tuple[str, int], dict[str, Row]] = {}
        for row in rows:
            folds.setdefault((row.set, row.fold), {})[row.model] = row
        self.folds = {fold: by for fold, by in folds.items() if len(by) == len(self.models)}
        self.sets = list(dict.fromkeys(name for name, _ in self.folds))

    def mean(self, column: str) -> Floats:
        return np.array([[np.nanmean(self._values(s, m, column)) for m in self.models] for s in self.sets])

    def total(self, column: str) -> Floats:
        return np.array([sum(getattr(by[m], column) for by in self.folds.values()) for m in self.models])

    def changed_labels(self) -> list[str]:
        """The test rows that each model labels differently than in full precision; empty if unknown."""
        by_model = [[by[m] for by in self.folds.values()] for m in self.models]
        if any(row.changed_labels is None for rows in by_model for row in rows):
            return []
        counts = [
            (sum(r.changed_labels or 0 for r in rows), sum(r.test_rows or 0 for r in rows))
            for rows in by_model
        ]
        return [f"{changed} of {rows:,} ({changed / rows:.2%})" for changed, rows in counts]

    def _values(self, name: str, model: str, column: str) -> list[float]:
        return [getattr(by[model], column) for (s, _), by in self.folds.items() if s == name]


def tables(rows: list[Row]) -> str:
    """The results over all sets, over the imbalanced ones, and of each set."""
    parts: list[str] = []
    kinds: list[tuple[str, Callable[[Row], bool]]] = [
        ("general", lambda row: not row.imbalanced),
        ("imbalanced", lambda row: row.imbalanced),
    ]
    for title, belongs in kinds:
        results = Results([row for row in rows if belongs(row)])
        if results.sets:
            parts += [_over_sets(title, results), _each_set(results)]
    return "\n\n".join(parts)


def _over_sets(title: str, results: Results) -> str:
    """One row per model: means over the sets, ranks, and the total seconds."""
    error, loss = results.mean("error"), results.mean("log_loss")
    means = [results.mean(c).mean(axis=0) for c in ("error", "log_loss", "auc", "average_precision", "ece")]
    columns = [
        *means,
        rankdata(error, axis=1).mean(axis=0),
        rankdata(loss, axis=1).mean(axis=0),
        results.total("fit_seconds"),
        results.total("predict_seconds"),
    ]
    formats = (".4f", ".4f", ".4f", ".4f", ".3f", ".2f", ".2f", ".0f", ".1f")
    changed = results.changed_labels()
    lines = [
        f"| {len(results.sets)} {title} sets, {len(results.folds)} folds | error | log loss | AUC "
        "| average precision | calibration error | rank by error | rank by log loss | seconds to fit "
        "| to predict | error - TinyClassifier's | log loss - TinyClassifier's |"
        + (" labels changed |" if changed else ""),
        "| --- " * (len(columns) + (4 if changed else 3)) + "|",
    ]
    for i, model in enumerate(results.models):
        cells = [format(column[i], spec) for column, spec in zip(columns, formats, strict=True)]
        differences = [_difference(results, values, model) for values in (error, loss)]
        lines.append(f"| {model} | " + " | ".join(cells + differences + changed[i : i + 1]) + " |")
    return "\n".join(lines)


def _difference(results: Results, values: Floats, model: str) -> str:
    """The mean difference to the reference with its 95 % interval, by a bootstrap over the sets."""
    if model == REFERENCE or REFERENCE not in results.models or len(results.sets) < 2:
        return ""
    of = results.models.index
    differences = values[:, of(model)] - values[:, of(REFERENCE)]
    if np.ptp(differences) == 0:
        return f"{differences[0]:+.4f}"
    interval = bootstrap(
        (differences,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return f"{differences.mean():+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _each_set(results: Results) -> str:
    """One row per data set."""
    lines = [
        "| error / log loss / AUC / average precision / seconds to fit | "
        + " | ".join(results.models)
        + " |",
        "| --- " * (len(results.models) + 1) + "|",
    ]
    columns = [(results.mean(name), spec) for name, spec in CELL.items()]
    for s, name in enumerate(results.sets):
        cells = [
            " / ".join(format(values[s, m], spec) for values, spec in columns)
            for m in range(len(results.models))
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
