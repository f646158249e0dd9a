"""The text of `Metrics` that commands print: the confusion matrix, precision and recall of the classes."""

from __future__ import annotations

import numpy as np

from tinyrs.cli.output import printable
from tinyrs.tuning.intervals import Interval
from tinyrs.tuning.scores import Metrics

# With more classes than this, the most frequent errors are printed instead of the confusion matrix.
MAX_MATRIX = 12
MAX_NAME = 14


def confusion_lines(metrics: Metrics) -> list[str]:
    """The confusion matrix, or for many classes the most frequent errors."""
    if len(metrics.classes) > MAX_MATRIX:
        return ["most frequent errors (true class -> predicted class):"] + [
            f"  {count:>7,} {printable(metrics.classes[true])} -> {printable(metrics.classes[predicted])}"
            for count, true, predicted in metrics.most_frequent_errors(10)
        ]
    names = list(map(_shortened, metrics.classes))
    widths = [
        max(len(name), len(f"{column.max():,}"))
        for name, column in zip(names, metrics.confusion.T, strict=True)
    ]
    corner = "true / predicted"
    left = max(map(len, [*names, corner]))
    head = f"  {corner:{left}}  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))
    return [head] + [
        f"  {name:{left}}  " + "  ".join(f"{count:>{w},}" for count, w in zip(row, widths, strict=True))
        for name, row in zip(names, metrics.confusion.tolist(), strict=True)
    ]


def class_lines(metrics: Metrics) -> list[str]:
    """Precision and recall of each class with their intervals, and its number of rows."""
    names = list(map(printable, metrics.classes))
    width = max(len("class"), *map(len, names))
    rows = zip(
        names,
        metrics.precision,
        metrics.precision_intervals,
        metrics.recall,
        metrics.recall_intervals,
        metrics.confusion.sum(axis=1),
        strict=True,
    )
    return [f"  {'class':{width}}  {'precision':>26}  {'recall':>26}  {'rows':>9}"] + [
        f"  {name:{width}}  {_percent(p, p_interval):>26}  {_percent(r, r_interval):>26}  {n:>9,}"
        for name, p, p_interval, r, r_interval, n in rows
    ]


def _shortened(name: str) -> str:
    name = printable(name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "~"


def _percent(share: float, interval: Interval) -> str:
    return "-" if np.isnan(share) else f"{share:.2%} ({interval.text()})"
