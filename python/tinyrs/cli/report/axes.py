"""The axes of a chart: round ticks with exact labels, and the place of a value in the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from tinyrs.cli.report.markup import Markup, tag

# The size of a chart in its own units, which are about pixels, and the margins of the plot area.
WIDTH, HEIGHT = 320, 240
RIGHT, TOP, BOTTOM = 18, 10, 40
# The room for a character of a label.
CHARACTER = 8
# Ticks are these multiples of a power of ten.
_MULTIPLES = (1, 2, 5)


class Unit(Enum):
    """How the ticks of an axis are labelled."""

    NUMBER = "number"
    INTEGER = "integer"
    PERCENT = "percent"


@dataclass(frozen=True)
class Axis:
    """A named range of values."""

    name: str
    low: float
    high: float
    unit: Unit = Unit.PERCENT

    def fraction(self, value: float) -> float:
        """Where a value lies on the axis: 0 at `low`, 1 at `high`."""
        return (value - self.low) / ((self.high - self.low) or 1)

    def ticks(self) -> list[tuple[float, str]]:
        """About five round values of the axis with their labels, which say exactly these values."""
        step = _step(self.high - self.low, 1 if self.unit is Unit.INTEGER else 0)
        if step == 0:
            return [(self.low, f"{self.low:g}")]
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(k * step, self._label(k * step, step)) for k in range(first, last + 1)]

    def _label(self, value: float, step: float) -> str:
        """`value`, a multiple of `step`, with the digits that `step` needs."""
        if self.unit is Unit.PERCENT:
            value, step = 100 * value, 100 * step
        # `step` is 1, 2 or 5 times this power of ten.
        power = math.floor(math.log10(step) + 1e-9)
        sign = "%" if self.unit is Unit.PERCENT else ""
        if abs(value) < 1e6 and power > -6:
            return f"{value:,.{max(0, -power)}f}{sign}"
        digits = math.floor(math.log10(abs(value)) + 1e-9) - power + 1 if value else 1
        return f"{value:.{max(1, digits)}g}{sign}"


@dataclass(frozen=True)
class LogAxis(Axis):
    """A named range of positive values, with equal room for each power of ten."""

    text: Callable[[float], str] = str  # the label of a value

    @classmethod
    def around(cls, name: str, values: Iterable[float], text: Callable[[float], str]) -> LogAxis:
        """An axis from a tick below all values to one above them."""
        found = list(values)
        low, high = min(found) / 1.05, max(found) * 1.05
        below, above = (10.0 ** math.floor(math.log10(value)) for value in (low, high))
        return cls(
            name,
            max(m * below for m in _MULTIPLES if m * below <= low),
            min(m * above for m in (*_MULTIPLES, 10) if m * above >= high),
            text=text,
        )

    def fraction(self, value: float) -> float:
        """Where a value lies on the axis: 0 at `low`, 1 at `high`."""
        return math.log(value / self.low) / (math.log(self.high / self.low) or 1)

    def ticks(self) -> list[tuple[float, str]]:
        """At most six powers of ten with their labels; on a short axis, also 2 and 5 times these."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if self.high / self.low > 25:
            values = [10.0**power for power in range(first, last + 1, (last - first) // 5 + 1)]
        else:
            values = [m * 10.0**power for power in range(first - 1, last + 1) for m in _MULTIPLES]
        low, high = self.low * (1 - 1e-9), self.high * (1 + 1e-9)
        return [(value, self.text(value)) for value in values if low <= value <= high]


def _step(span: float, smallest: float, count: int = 5) -> float:
    """1, 2 or 5 times a power of ten, so that about `count` steps make the span; 0 if the span is empty."""
    if not span > 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = min((m * power for m in (*_MULTIPLES, 10)), key=lambda step: abs(span / step - count))
    return max(step, smallest)


class Axes:
    """Converts values to places in the picture, and draws the grid and the labels."""

    def __init__(self, x: Axis, y: Axis, bottom: float = BOTTOM) -> None:
        self.x, self.y = x, y
        self.left = 28 + CHARACTER * max(len(label) for _, label in y.ticks())
        self.bottom = HEIGHT - bottom

    def x_of(self, value: float) -> float:
        return round(self.left + self.x.fraction(value) * (WIDTH - self.left - RIGHT), 1)

    def y_of(self, value: float) -> float:
        return round(self.bottom - self.y.fraction(value) * (self.bottom - TOP), 1)

    def draw(self, *marks: Markup, label: str) -> Markup:
        """The chart: grid, ticks, axis names, then `marks` on top. `label` describes it to screen readers."""
        parts = []
        for value, text in self.y.ticks():
            y = self.y_of(value)
            parts.append(tag("line", x1=self.left, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", text, x=self.left - 6, y=y + 4, text_anchor="end", class_="y-tick"))
        for value, text in self.x.ticks():
            # The label of the last tick may not leave the picture.
            place = min(self.x_of(value), WIDTH - CHARACTER * len(text) / 2)
            parts.append(tag("text", text, x=place, y=HEIGHT - 22, text_anchor="middle", class_="x-tick"))
        name = {"text_anchor": "middle", "class_": "name"}
        middle = f"translate(11 {(TOP + self.bottom) / 2:g}) rotate(-90)"
        parts += [
            tag("text", self.x.name, x=(self.left + WIDTH - RIGHT) / 2, y=HEIGHT - 5, **name),
            tag("text", self.y.name, transform=middle, **name),
        ]
        box = f"0 0 {WIDTH} {HEIGHT}"
        return tag("svg", *parts, *marks, viewBox=box, role="img", aria_label=label, class_="chart")
