"""The charts of the report, as SVG without a library: axes, lines, bars.

Colours and fonts are the page's, by class; each mark has a <title>, which browsers show under the pointer.
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

WIDTH, HEIGHT = 460, 300
WHOLE = "{:.0f}"
LEFT, RIGHT, TOP, BOTTOM = 68, 22, 12, 44


@dataclass(frozen=True)
class Series:
    name: str
    style: str  # a class of the page
    values: Floats


@dataclass(frozen=True)
class Axes:
    """From the data's coordinates to the picture's."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_name: str
    y_name: str

    def at_x(self, value: float) -> float:
        low, high = self.x
        return round(LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT), 1)

    def at_y(self, value: float) -> float:
        low, high = self.y
        return round(HEIGHT - BOTTOM - (value - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM), 1)

    def draw(self, *marks: Markup, label: str, x_form: str, y_form: str) -> Markup:
        """The picture: grid, names, and these marks on it. The forms are those of the numbers on the axes."""
        parts = []
        for value in ticks(*self.y):
            y = self.at_y(value)
            parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", y_form.format(value), x=LEFT - 7, y=y + 4, text_anchor="end"))
        for value in dict.fromkeys(round(v) if x_form == WHOLE else v for v in ticks(*self.x)):
            parts.append(
                tag(
                    "text",
                    x_form.format(value),
                    x=self.at_x(value),
                    y=HEIGHT - BOTTOM + 17,
                    text_anchor="middle",
                )
            )
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts += [
            tag(
                "text",
                self.x_name,
                x=(LEFT + WIDTH - RIGHT) / 2,
                y=HEIGHT - 8,
                text_anchor="middle",
                class_="name",
            ),
            tag(
                "text",
                self.y_name,
                transform=f"translate(13 {middle}) rotate(-90)",
                text_anchor="middle",
                class_="name",
            ),
        ]
        return _svg(HEIGHT, label, *parts, *marks)


def _svg(height: float, label: str, *parts: Markup) -> Markup:
    return tag("svg", tag("title", label), *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers in [low, high], about so many."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10 ** math.floor(math.log10(span / about))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda step: abs(span / step - about))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def lines(series: Sequence[Series], y_name: str, best: int, label: str, *, percent: bool = False) -> Markup:
    """A line a series over the epochs, with a mark at the epoch that was kept."""
    finite = np.concatenate([s.values[np.isfinite(s.values)] for s in series])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    count = max(len(s.values) for s in series)
    low, high = low - margin, high + margin
    axes = Axes((1, max(count, 2)), (low, min(high, 1.0) if percent else high), "epoch", y_name)
    x = axes.at_x(best + 1)
    marks = [
        tag(
            "line",
            tag("title", f"kept: epoch {best + 1}"),
            x1=x,
            x2=x,
            y1=TOP,
            y2=HEIGHT - BOTTOM,
            class_="best",
        )
    ]
    for i, s in enumerate(series):
        points = " ".join(
            f"{axes.at_x(epoch)},{axes.at_y(value)}"
            for epoch, value in enumerate(s.values, 1)
            if math.isfinite(value)
        )
        marks.append(tag("polyline", tag("title", s.name), points=points, class_=f"line {s.style}"))
        if len(s.values) == 1 and math.isfinite(s.values[0]):
            x, y = axes.at_x(1), axes.at_y(s.values[0])
            marks.append(tag("circle", cx=x, cy=y, r=4, class_=f"line {s.style}"))
        if len(series) > 1:
            place = WIDTH - RIGHT - 8
            marks.append(
                tag("text", s.name, x=place, y=TOP + 14 + 17 * i, text_anchor="end", class_=f"key {s.style}")
            )
    # Steps of less than a percent need a digit more.
    share = "{:.0%}" if high - low > 0.05 else "{:.1%}"
    return axes.draw(*marks, label=label, x_form=WHOLE, y_form=share if percent else "{:g}")


def reliability(found: Reliability) -> Markup:
    """How often it was right by how sure it was; the diagonal is where both agree."""
    axes = Axes((0, 1), (0, 1), "how sure it was", "how often it was right")
    ends = {"x1": axes.at_x(0), "x2": axes.at_x(1), "y1": axes.at_y(0), "y2": axes.at_y(1)}
    marks = []
    bins, most = len(found.rows), max(1, int(found.rows.max()))
    for i, (confidence, accuracy, rows) in enumerate(
        zip(found.confidence.tolist(), found.accuracy.tolist(), found.rows.tolist(), strict=True)
    ):
        if rows == 0:
            continue
        left, right, top = axes.at_x(i / bins), axes.at_x((i + 1) / bins), axes.at_y(accuracy)
        said = f"{rows:,} rows: {confidence:.1%} sure, {accuracy:.1%} right"
        marks.append(
            tag(
                "rect",
                tag("title", said),
                x=left + 1.5,
                width=round(right - left - 3, 1),
                y=top,
                height=round(axes.at_y(0) - top, 1),
                class_="bar",
                # Bars of few rows are pale: they prove little.
                fill_opacity=round(0.25 + 0.75 * math.sqrt(rows / most), 2),
            )
        )
        marks.append(tag("circle", tag("title", said), cx=axes.at_x(confidence), cy=top, r=4, class_="dot"))
    # Over the bars.
    marks.append(tag("line", **ends, class_="diagonal"))
    return axes.draw(*marks, label="Reliability diagram", x_form="{:.0%}", y_form="{:.0%}")


def bars(names: Sequence[str], values: Floats, label: str) -> Markup:
    """Horizontal bars, one a name."""
    row, name_width, number_width = 24, 150, 64
    most = max(float(values.max(initial=0.0)), 1e-12)
    room = WIDTH - name_width - number_width
    parts = []
    for i, (name, value) in enumerate(zip(names, values.tolist(), strict=True)):
        width = round(max(value, 0.0) / most * room, 1)
        y = i * row
        short = name if len(name) <= 22 else name[:21] + "\u2026"
        parts += [
            tag(
                "text",
                tag("title", name),
                short,
                x=name_width - 8,
                y=y + 16,
                text_anchor="end",
                class_="name",
            ),
            tag(
                "rect",
                tag("title", f"{name}: {value:.4f}"),
                x=name_width,
                y=y + 4,
                width=width,
                height=row - 8,
                class_="bar",
            ),
            tag("text", f"{value:.4f}", x=name_width + width + 6, y=y + 16),
        ]
    return _svg(row * len(names) + 4, label, *parts)
