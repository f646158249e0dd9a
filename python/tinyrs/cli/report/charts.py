"""The charts of the report as SVG: lines over the epochs, and the reliability diagram.

Colours and fonts come from report.css by class. Marks have a <title>, which browsers show as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyrs.cli.report.axes import BOTTOM, HEIGHT, TOP, Axes, Axis, Unit
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.report.names import compact
from tinyrs.tuning import intervals
from tinyrs.tuning.scores import Reliability

Floats = npt.NDArray[np.float64]

# The accuracy of fewer rows than this is drawn faint.
FEW_ROWS = 5
# Of the bars below the reliability diagram: the height of the largest, and of all with their labels.
_BAR, _BAND = 18, 36


@dataclass(frozen=True)
class Series:
    """A line of a chart."""

    name: str
    style: str  # a class of report.css
    values: Floats  # (epochs,)


def epoch_lines(series: Sequence[Series], y_name: str, best_epoch: int, *, percent: bool = False) -> Markup:
    """A line for each series over the epochs, and a vertical line at the best epoch (from 0)."""
    axes = _epoch_axes(series, y_name, percent)
    x = axes.x_of(best_epoch + 1)
    best = tag("title", f"best epoch: {best_epoch + 1}")
    marks = [tag("line", best, x1=x, x2=x, y1=TOP, y2=axes.bottom, class_="best")]
    for s in series:
        points = " ".join(
            f"{axes.x_of(epoch)},{axes.y_of(value)}"
            for epoch, value in enumerate(s.values.tolist(), 1)
            if math.isfinite(value)
        )
        marks.append(tag("polyline", tag("title", s.name), points=points, class_=f"line {s.style}"))
        if len(s.values) == 1 and math.isfinite(s.values[0]):
            # A line of one point would be invisible.
            x, y = axes.x_of(1), axes.y_of(float(s.values[0]))
            marks.append(tag("circle", cx=x, cy=y, r=4, class_=f"line {s.style}"))
    number = "{:.1%}" if percent else "{:.4g}"
    ends = [f"{s.name} from {number.format(s.values[0])} to {number.format(s.values[-1])}" for s in series]
    return axes.draw(
        *marks, label=f"Line chart over the epochs: {'; '.join(ends)}; best epoch: {best_epoch + 1}"
    )


def _epoch_axes(series: Sequence[Series], y_name: str, percent: bool) -> Axes:
    """Axes that contain all finite values, with a margin of 5 % above and below."""
    finite = np.concatenate([s.values[np.isfinite(s.values)] for s in series])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - margin, high + margin
    epochs = max(2, *(len(s.values) for s in series))
    y = Axis(y_name, low, min(high, 1.0)) if percent else Axis(y_name, low, high, Unit.NUMBER)
    return Axes(Axis("epoch", 1, epochs, Unit.INTEGER), y)


def reliability_diagram(reliability: Reliability) -> Markup:
    """The accuracy by predicted probability with 95 % Wilson intervals, over bars of the numbers of rows."""
    rows = reliability.rows.tolist()
    bins, first = len(rows), next((i for i, count in enumerate(rows) if count), 0)
    # Of few classes, no prediction is less probable than 1 / classes.
    axes = Axes(Axis("predicted probability", first / bins, 1), Axis("accuracy", 0, 1), BOTTOM + _BAND)
    low = {"x1": axes.x_of(first / bins), "y1": axes.y_of(first / bins)}
    marks = [tag("line", **low, x2=axes.x_of(1), y2=axes.y_of(1), class_="diagonal")]
    described = []
    for i in range(first, bins):
        edges = (axes.x_of(i / bins), axes.x_of((i + 1) / bins))
        marks += _rows_bar(edges, rows[i], max(rows))
        if rows[i]:
            marks.append(_accuracy_point(axes, reliability, i))
            confidence, accuracy = reliability.confidence[i], reliability.accuracy[i]
            described.append(f"{confidence:.0%} predicted, {accuracy:.0%} correct of {rows[i]} rows")
    return axes.draw(*marks, label=f"Reliability diagram: {'; '.join(described)}")


def _accuracy_point(axes: Axes, reliability: Reliability, i: int) -> Markup:
    """The accuracy of bin `i` and its interval; faint if it has few rows."""
    confidence, accuracy = float(reliability.confidence[i]), float(reliability.accuracy[i])
    rows = int(reliability.rows[i])
    interval = intervals.proportion(accuracy, rows)
    x, low, high = axes.x_of(confidence), axes.y_of(interval.low), axes.y_of(interval.high)
    tooltip = (
        f"{rows:,} rows: mean probability {confidence:.1%}, accuracy {accuracy:.1%} "
        f"(95% interval {interval.text()})"
    )
    return tag(
        "g",
        tag("title", tooltip),
        tag("path", d=f"M{x} {low}V{high}M{x - 4:g} {low}h8M{x - 4:g} {high}h8", class_="interval"),
        tag("circle", cx=x, cy=axes.y_of(accuracy), r=4, class_="dot"),
        class_="point faint" if rows < FEW_ROWS else "point",
    )


def _rows_bar(edges: tuple[float, float], rows: int, most: int) -> list[Markup]:
    """A bar below the plot with the number of rows of a bin above it."""
    (left, right), bottom = edges, HEIGHT - BOTTOM
    height = round(max(_BAR * rows / most, 1 if rows else 0), 1)
    bar = {"x": left + 1, "width": round(right - left - 2, 1), "y": bottom - height, "height": height}
    label = {"x": (left + right) / 2, "y": bottom - _BAR - 3, "text_anchor": "middle", "class_": "count"}
    return [
        tag("rect", tag("title", f"{rows:,} rows"), **bar, class_="bar"),
        tag("text", compact(rows), **label),
    ]
