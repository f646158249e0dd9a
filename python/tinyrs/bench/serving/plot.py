"""The plot of several models: error against cost, with the front drawn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from tinyrs.bench.config import UsageError
from tinyrs.bench.serving import outcomes, text
from tinyrs.bench.serving.outcomes import Point, Served
from tinyrs.files import atomic

T = TypeVar("T")


def plane(served: Served) -> tuple[str, list[tuple[Point, float, float]]]:
    """The name of the x axis, and each model that has both coordinates with x and its error.

    x is the cost of a million rows; without a price, the 99th percentile of one row in microseconds.
    """
    points = outcomes.points(served)
    if served.cost is not None:
        name = f"{served.cost.price.currency} per million rows, {text.dated(served.cost)}"
        placed = [(p, p.cost, p.error) for p in points]
    else:
        name = "99th percentile of one row in us"
        placed = [(p, p.p99_us, p.error) for p in points]
    return name, [(p, x, y) for p, x, y in placed if x is not None and y is not None]


def front_of(placed: Iterable[tuple[T, float, float]]) -> list[tuple[T, float, float]]:
    """The points (what, x, y) that no other beats in this plane, from left to right."""
    found: list[tuple[T, float, float]] = []
    for point, x, y in sorted(placed, key=lambda p: p[1:]):
        if not found or y < found[-1][2]:
            found.append((point, x, y))
    return found


def require() -> None:
    """Raises UsageError if matplotlib is not installed. Called before the run."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("the plot needs matplotlib: pip install 'tinyrs[plot]'") from None


def draw(served: Served, path: Path) -> None:
    """Writes the plot to `path`, in the format of its suffix."""
    from matplotlib.figure import Figure

    name, placed = plane(served)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    line = front_of(placed)
    axes.step([x for _, x, _ in line], [y for _, _, y in line], where="post", color="grey", label="front")
    for point, x, y in placed:
        axes.plot(x, y, "o", label=point.model)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel(name)
    axes.set_ylabel("error")
    axes.set_title(served.name or "tinyrs benchmark")
    axes.grid(True, alpha=0.3)
    if placed:
        axes.legend()
    with atomic.writing(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix(".") or None)
