"""The section about the classes: the confusion matrix or the most frequent errors, precision and recall."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyrs.cli.report.elements import card, cell, head, row, row_head, table, unfoldable
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.report.names import abbreviated, elided_names, percent, with_interval
from tinyrs.cli.training_results import TrainingResults
from tinyrs.tuning.scores import Metrics

# With more classes, the most frequent errors replace the confusion matrix.
MAX_MATRIX = 20
# With more classes, the headings of the matrix are vertical.
MAX_HORIZONTAL = 6
MAX_ERRORS = 20
# With more classes, those with the lowest recall are listed first, and the others can be unfolded.
MAX_CLASSES = 20
# The longest name of a class, in characters.
NAME = 24

Shares = npt.NDArray[np.float64]


def classes(results: TrainingResults) -> Markup:
    metrics = results.metrics
    if len(metrics.classes) > MAX_MATRIX:
        title, main = "Most frequent errors", _most_frequent_errors(metrics)
        text = (
            f"On the held-out rows, instead of a confusion matrix, which is unreadable for "
            f"{len(metrics.classes)} classes."
        )
    else:
        title, main = "Confusion matrix", _matrix(metrics)
        text = (
            "Held-out rows by their actual and their predicted class. The stronger the colour of a cell, the "
            "larger its share of the actual class."
        )
    if results.threshold is not None:
        text += f" {results.threshold_text(metrics.classes[1])}."
    return card(title, text, tag("div", main, _class_list(metrics), class_="beside"))


def _matrix(metrics: Metrics) -> Markup:
    """The counts, between the names of both axes, with recall at the right and precision at the bottom."""
    counts, n = metrics.confusion, len(metrics.classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [
        abbreviated(name, shown)
        for name, shown in zip(metrics.classes, elided_names(metrics.classes, NAME), strict=True)
    ]
    rows = []
    for i, name in enumerate(names):
        axis = [tag("th", tag("span", "actual"), rowspan=n, scope="rowgroup", class_="axis side")]
        cells = [_count(metrics, shares, i, j) for j in range(n)]
        recall = _edge("recall", metrics, i, metrics.recall, metrics.recall_intervals[i].text())
        rows.append(row(*(axis if i == 0 else []), row_head(name), *cells, recall))
    precision = [
        _edge("precision", metrics, j, metrics.precision, metrics.precision_intervals[j].text())
        for j in range(n)
    ]
    rows.append(row(tag("td"), tag("th", "precision", scope="row", class_="edge"), *precision, tag("td")))
    heads = [
        row(
            tag("td", colspan=2),
            tag("th", "predicted", colspan=n, scope="colgroup", class_="axis"),
            tag("td"),
        ),
        row(tag("td", colspan=2), *map(_heading, names), tag("th", "recall", scope="col", class_="edge")),
    ]
    class_ = "confusion" if n <= MAX_HORIZONTAL else "confusion upright"
    return table("Confusion matrix", heads, rows, class_)


def _heading(name: Markup | str) -> Markup:
    return tag("th", tag("span", name), scope="col")


def _count(metrics: Metrics, shares: Shares, i: int, j: int) -> Markup:
    count, share = int(metrics.confusion[i, j]), float(shares[i, j])
    verb = "correctly predicted" if i == j else f"predicted as {metrics.classes[j]}"
    rows = f"{count:,} of {int(metrics.confusion[i].sum()):,} rows"
    return tag(
        "td",
        f"{count:,}",
        class_=None if count else "zero",
        style=f"background: rgb(var(--{'good' if i == j else 'bad'}) / {0.55 * share:.3f})",
        title=f"{rows} of {metrics.classes[i]} {verb} ({share:.1%})",
    )


def _edge(name: str, metrics: Metrics, i: int, values: Shares, interval: str) -> Markup:
    """The recall or precision of a class, with its interval as a tooltip."""
    explained = f"{name} of {metrics.classes[i]}" + (f": 95% interval {interval}" if interval else "")
    return tag("td", percent(float(values[i])), title=explained, class_="edge")


def _most_frequent_errors(metrics: Metrics) -> Markup:
    names = elided_names(metrics.classes, NAME)

    def name(index: int) -> Markup | str:
        return abbreviated(metrics.classes[index], names[index])

    rows = [
        row(cell(f"{count:,}"), cell(name(actual), is_text=True), cell(name(predicted), is_text=True))
        for count, actual, predicted in metrics.most_frequent_errors(MAX_ERRORS)
    ]
    if not rows:
        return tag("p", "There are none: all held-out rows were predicted correctly.")
    heads = [head("rows"), head("actual", is_text=True), head("predicted", is_text=True)]
    return table("Most frequent errors", [row(*heads)], rows, "full")


def _class_list(metrics: Metrics) -> Markup:
    """Precision and recall of each class with their intervals, the lowest recall first."""
    order = np.argsort(metrics.recall, kind="stable")  # NaN last
    names = elided_names(metrics.classes, NAME)
    counts = metrics.confusion.sum(axis=1)
    rows = [
        row(
            row_head(abbreviated(metrics.classes[i], names[i])),
            cell(f"{counts[i]:,}"),
            cell(with_interval(metrics.recall[i], metrics.recall_intervals[i])),
            cell(with_interval(metrics.precision[i], metrics.precision_intervals[i])),
        )
        for i in order
    ]
    heads = [row(head("class", is_text=True), *map(head, ("rows", "recall (95%)", "precision (95%)")))]
    shown = table("Classes", heads, rows[:MAX_CLASSES], "full")
    rest = rows[MAX_CLASSES:]
    if not rest:
        return tag("div", shown)
    more = f"{len(rest)} more classes, with a higher recall"
    return tag("div", shown, unfoldable(more, table("More classes", heads, rest, "full")))
