"""The charts of the report as SVG: lines, the reliability diagram, horizontal bars.

Colours and fonts come from report.css by class. Marks have a <title>, which browsers show as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyrs.cli.metrics import Reliability
from tinyrs.cli.report.markup import Markup, tag

Floats = npt.NDArray[np.float64]

# The size of a chart, and its margins around the plot area.
WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 68, 22, 12, 44
INTEGER, PERCENT = "{:.0f}", "{:.0%}"


@dataclass(frozen=True)
class Series:
    """A line of a chart."""

    name: str
    style: str  # a class of report.css
    values: Floats  # (epochs,)


@dataclass(frozen=True)
class Axis:
    name: str
    low: float
    high: float
    number_format: str = PERCENT

    def fraction(self, value: float) -> float:
        """Where a value lies on the axis: 0 at `low`, 1 at `high`."""
        return (value - self.low) / ((self.high - self.low) or 1)

    def ticks(self) -> list[float]:
        values = ticks(self.low, self.high)
        return list(dict.fromkeys(map(round, values))) if self.number_format == INTEGER else values


@dataclass(frozen=True)
class Axes:
    """Converts data coordinates to picture coordinates, and draws the grid and the labels."""

    x: Axis
    y: Axis

    def x_of(self, value: float) -> float:
        return round(LEFT + self.x.fraction(value) * (WIDTH - LEFT - RIGHT), 1)

    def y_of(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - self.y.fraction(value) * (HEIGHT - TOP - BOTTOM), 1)

    def draw(self, *marks: Markup, title: str) -> Markup:
        """The chart: grid, tick labels, axis names, then `marks` on top."""
        parts = []
        for value in self.y.ticks():
            y = self.y_of(value)
            parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            label = self.y.number_format.format(value)
            parts.append(tag("text", label, x=LEFT - 7, y=y + 4, text_anchor="end"))
        for value in self.x.ticks():
            label, x = self.x.number_format.format(value), self.x_of(value)
            parts.append(tag("text", label, x=x, y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
        name = {"text_anchor": "middle", "class_": "name"}
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts += [
            tag("text", self.x.name, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, **name),
            tag("text", self.y.name, transform=f"translate(13 {middle}) rotate(-90)", **name),
        ]
        return _svg(HEIGHT, title, *parts, *marks)


def _svg(height: float, title: str, *parts: Markup) -> Markup:
    return tag("svg", tag("title", title), *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers in [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10 ** math.floor(math.log10(span / count))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda step: abs(span / step - count))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def epoch_lines(
    series: Sequence[Series], y_name: str, best_epoch: int, title: str, *, percent: bool = False
) -> Markup:
    """A line for each series over the epochs, and a vertical line at the best epoch (from 0)."""
    axes = _epoch_axes(series, y_name, percent)
    x = axes.x_of(best_epoch + 1)
    best = tag("title", f"best epoch: {best_epoch + 1}")
    marks = [tag("line", best, x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="best")]
    for i, s in enumerate(series):
        points = " ".join(
            f"{axes.x_of(epoch)},{axes.y_of(value)}"
            for epoch, value in enumerate(s.values, 1)
            if math.isfinite(value)
        )
        marks.append(tag("polyline", tag("title", s.name), points=points, class_=f"line {s.style}"))
        if len(s.values) == 1 and math.isfinite(s.values[0]):
            # A line of one point would be invisible.
            x, y = axes.x_of(1), axes.y_of(s.values[0])
            marks.append(tag("circle", cx=x, cy=y, r=4, class_=f"line {s.style}"))
        if len(series) > 1:
            place = {"x": WIDTH - RIGHT - 8, "y": TOP + 14 + 17 * i}
            marks.append(tag("text", s.name, **place, text_anchor="end", class_=f"key {s.style}"))
    return axes.draw(*marks, title=title)


def _epoch_axes(series: Sequence[Series], y_name: str, percent: bool) -> Axes:
    """Axes that contain all finite values, with a margin of 5 % above and below."""
    finite = np.concatenate([s.values[np.isfinite(s.values)] for s in series])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - margin, high + margin
    epochs = max(2, *(len(s.values) for s in series))
    x = Axis("epoch", 1, epochs, INTEGER)
    if not percent:
        return Axes(x, Axis(y_name, low, high, "{:g}"))
    # A narrow range needs a decimal, or neighbouring tick labels would be equal.
    number_format = PERCENT if high - low > 0.05 else "{:.1%}"
    return Axes(x, Axis(y_name, low, min(high, 1.0), number_format))


def reliability_diagram(reliability: Reliability) -> Markup:
    """Bars of the accuracy by predicted probability, and the diagonal of perfect calibration."""
    axes = Axes(Axis("predicted probability", 0, 1), Axis("accuracy", 0, 1))
    bins, most_rows = len(reliability.rows), max(1, int(reliability.rows.max()))
    values = zip(
        reliability.confidence.tolist(),
        reliability.accuracy.tolist(),
        reliability.rows.tolist(),
        strict=True,
    )
    marks = []
    for i, (confidence, accuracy, rows) in enumerate(values):
        if rows == 0:
            continue
        left, right, top = axes.x_of(i / bins), axes.x_of((i + 1) / bins), axes.y_of(accuracy)
        tooltip = f"{rows:,} rows: mean probability {confidence:.1%}, accuracy {accuracy:.1%}"
        marks.append(
            tag(
                "rect",
                tag("title", tooltip),
                x=left + 1.5,
                width=round(right - left - 3, 1),
                y=top,
                height=round(axes.y_of(0) - top, 1),
                class_="bar",
                # Bars of few rows are pale, because their accuracy is uncertain.
                fill_opacity=round(0.25 + 0.75 * math.sqrt(rows / most_rows), 2),
            )
        )
        marks.append(
            tag("circle", tag("title", tooltip), cx=axes.x_of(confidence), cy=top, r=4, class_="dot")
        )
    # Last, to lie above the bars.
    ends = {"x1": axes.x_of(0), "x2": axes.x_of(1), "y1": axes.y_of(0), "y2": axes.y_of(1)}
    marks.append(tag("line", **ends, class_="diagonal"))
    return axes.draw(*marks, title="Reliability diagram")


def horizontal_bars(names: Sequence[str], values: Floats, title: str) -> Markup:
    """A bar with its name and value for each entry."""
    row_height, name_width, number_width, max_name = 24, 150, 64, 22
    largest = max(float(values.max(initial=0.0)), 1e-12)
    bar_width = WIDTH - name_width - number_width
    parts = []
    for i, (name, value) in enumerate(zip(names, values.tolist(), strict=True)):
        width = round(max(value, 0.0) / largest * bar_width, 1)
        y = i * row_height
        short = name if len(name) <= max_name else name[: max_name - 1] + "\u2026"
        label = {"x": name_width - 8, "y": y + 16, "text_anchor": "end", "class_": "name"}
        bar = {"x": name_width, "y": y + 4, "width": width, "height": row_height - 8, "class_": "bar"}
        parts += [
            tag("text", tag("title", name), short, **label),
            tag("rect", tag("title", f"{name}: {value:.4f}"), **bar),
            tag("text", f"{value:.4f}", x=name_width + width + 6, y=y + 16),
        ]
    return _svg(row_height * len(names) + 4, title, *parts)
