"""The charts of a benchmark as SVG: histograms of latencies, and the plane of cost and error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from tinyrs.bench.report import duration, money
from tinyrs.bench.serving import plot
from tinyrs.bench.serving.outcomes import Outcome, Served, histogram
from tinyrs.cli.report.axes import TOP, Axes, Axis, LogAxis
from tinyrs.cli.report.markup import Markup, tag

# The classes of report.css for the lines of several models, in this order.
STYLES = ("one", "two", "three", "four", "five", "six")


def style(number: int) -> str:
    """The style of the model with this number."""
    return STYLES[number % len(STYLES)]


def latencies(outcomes: Mapping[str, Outcome], styles: Mapping[str, str]) -> Markup:
    """The share of the queries by their latency, on a logarithmic axis: an outline for each model.

    A dashed line shows the deadline, if there is one.
    """
    histograms = {model: histogram(outcome.latency_us) for model, outcome in outcomes.items()}
    deadline = next((o.deadline_us for o in outcomes.values() if o.deadline_us), None)
    shown = [edge for found in histograms.values() for edge in (found["edges_us"][0], found["edges_us"][-1])]
    shown += [] if deadline is None else [deadline]
    shares = {
        model: [count / sum(found["counts"]) for count in found["counts"]]
        for model, found in histograms.items()
    }
    most = max(max(values) for values in shares.values())
    axes = Axes(LogAxis.around("latency", shown, time), Axis("share of queries", 0, most))
    marks = []
    if deadline is not None:
        x = axes.x_of(deadline)
        title = tag("title", f"deadline: {duration(deadline / 1e3)}")
        marks.append(tag("line", title, x1=x, x2=x, y1=TOP, y2=axes.bottom, class_="best"))
    for model, found in histograms.items():
        points = _outline(axes, found["edges_us"], shares[model])
        marks.append(tag("polyline", tag("title", model), points=points, class_=f"line {styles[model]}"))
    described = [
        f"{model}: from {duration(o.latency_us.min() / 1e3)} to {duration(o.latency_us.max() / 1e3)}"
        for model, o in outcomes.items()
    ]
    return axes.draw(*marks, label=f"Histogram of latencies: {'; '.join(described)}")


def _outline(axes: Axes, edges: Sequence[float], shares: Sequence[float]) -> str:
    points = [(edges[0], 0.0)]
    for (left, right), share in zip(pairwise(edges), shares, strict=True):
        points += [(left, share), (right, share)]
    points.append((edges[-1], 0.0))
    return " ".join(f"{axes.x_of(x)},{axes.y_of(y)}" for x, y in points)


def time(microseconds: float) -> str:
    """The label of a round time."""
    for unit, factor in (("s", 1e-6), ("ms", 1e-3), ("\u00b5s", 1.0)):
        if microseconds * factor > 0.99:
            return f"{microseconds * factor:g} {unit}"
    return f"{microseconds * 1e3:g} ns"


def front_line(axes: Axes, placed: Sequence[tuple[object, float, float]]) -> Markup:
    """The front of the points (what, x, y) as a line of steps."""
    front = plot.front_of(placed)
    steps = []
    for number, (_, x, y) in enumerate(front):
        if number:
            steps.append(f"{axes.x_of(x)},{axes.y_of(front[number - 1][2])}")
        steps.append(f"{axes.x_of(x)},{axes.y_of(y)}")
    return tag("polyline", tag("title", "front"), points=" ".join(steps), class_="front")


def cost_and_error(served: Served, styles: Mapping[str, str]) -> Markup | None:
    """Each model as a point: the error above the cost, or above the latency. The front is a line.

    None if fewer than two models have both.
    """
    name, placed = plot.plane(served)
    if len(placed) < 2:
        return None
    xs, ys = [x for _, x, _ in placed], [y for _, _, y in placed]
    margin = 0.15 * (max(ys) - min(ys)) or 0.05
    y_axis = Axis("error", max(0.0, min(ys) - margin), max(ys) + margin)
    axes = Axes(LogAxis.around(name, xs, money if served.cost else time), y_axis)
    marks = [front_line(axes, placed)]
    for point, x, y in placed:
        title = tag("title", f"{point.model}: {name}: {money(x)}, error {y:.4f}")
        dot = tag("circle", title, cx=axes.x_of(x), cy=axes.y_of(y), r=5, class_=f"dot {styles[point.model]}")
        marks.append(dot)
    described = "; ".join(f"{point.model}: error {y:.4f}, {money(x)}" for point, x, y in placed)
    return axes.draw(*marks, label=f"Plane of cost and error: {described}")
