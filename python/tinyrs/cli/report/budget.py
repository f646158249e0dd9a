"""The search of `tinyrs train --budget`: planes of latency or size and error, and the students it tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinyrs.bench.report import duration
from tinyrs.budget import BudgetSearch, Candidate
from tinyrs.budget.candidates import table_cells
from tinyrs.cli.report.axes import RIGHT, TOP, WIDTH, Axes, Axis, LogAxis
from tinyrs.cli.report.elements import card, cell, head, legend, row, table, unfoldable
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.report.serving_charts import STYLES, front_line, time
from tinyrs.cli.training_results import TrainingResults


@dataclass(frozen=True)
class _Cost:
    """What a student costs: the x axis of a plane."""

    title: str
    name: str
    of: Callable[[Candidate], float]
    limit: float
    tick: Callable[[float], str]
    text: Callable[[float], str]


def budget_search(results: TrainingResults) -> list[Markup]:
    """A plane for each limit of the budget, and the table of the students; nothing without --budget."""
    search = results.search
    if search is None or not search.candidates:
        return []
    explained = (
        f"Each point is a student, measured on the {search.held_out_rows:,} rows that chose between them. "
        "Farther down and to the left is better; no student is below the line."
    )
    formats = list(dict.fromkeys(c.weights for c in search.candidates))
    styles = dict(zip(formats, STYLES, strict=False))
    entries = [(f"dot {style}", name) for name, style in styles.items()]
    if not all(c.fits for c in search.candidates):
        entries.append(("dot faint", "outside the budget"))
    lines = [("front", "front"), ("best", "limit"), ("teacher", "teacher"), ("chosen", "chosen")]
    planes = [
        card(cost.title, explained, legend(*entries, *lines), _plane(search, cost, styles), class_="third")
        for cost in _costs(search)
    ]
    return [*planes, _students(search)]


def _costs(search: BudgetSearch) -> list[_Cost]:
    """The costs that the budget limits."""
    budget, costs = search.budget, []
    if budget.max_us is not None:
        call = "one row" if budget.batch_size == 1 else f"{budget.batch_size} rows"
        of_call = f"latency of {call} (p{budget.percentile})"
        costs.append(_Cost("Latency and error", of_call, budget.us, budget.max_us, time, _duration))
    if budget.max_bytes is not None:
        costs.append(
            _Cost("Size and error", "size of the file", lambda c: c.n_bytes, budget.max_bytes, _size, _bytes)
        )
    return costs


def _plane(search: BudgetSearch, cost: _Cost, styles: dict[str, str]) -> Markup:
    """The students as points, error above cost, with the front, the limit and the teacher as lines."""
    placed = [(c, cost.of(c), 1 - c.accuracy) for c in search.candidates]
    teacher = 1 - search.teacher_accuracy
    errors = [error for _, _, error in placed] + [teacher]
    margin = 0.1 * (max(errors) - min(errors)) or 0.05
    axes = Axes(
        LogAxis.around(cost.name, [cost.limit, *(x for _, x, _ in placed)], cost.tick),
        Axis("error", max(0.0, min(errors) - margin), min(1.0, max(errors) + margin)),
    )
    x, y = axes.x_of(cost.limit), axes.y_of(teacher)
    limit, title = tag("title", f"limit: {cost.text(cost.limit)}"), tag("title", f"teacher: {teacher:.2%}")
    marks = [
        tag("line", limit, x1=x, x2=x, y1=TOP, y2=axes.bottom, class_="best"),
        tag("line", title, x1=axes.left, x2=WIDTH - RIGHT, y1=y, y2=y, class_="teacher"),
        front_line(axes, placed),
    ]
    for candidate, x, error in placed:
        at = {"cx": axes.x_of(x), "cy": axes.y_of(error)}
        title = tag("title", f"{candidate}: {cost.text(x)}, error {error:.2%}")
        faint = "" if candidate.fits else " faint"
        marks.append(tag("circle", title, **at, r=4, class_=f"dot {styles[candidate.weights]}{faint}"))
    if search.best is not None:
        at = {"cx": axes.x_of(cost.of(search.best)), "cy": axes.y_of(1 - search.best.accuracy)}
        marks.append(tag("circle", tag("title", f"chosen: {search.best}"), **at, r=7, class_="chosen"))
    return axes.draw(*marks, label=f"Plane of {cost.name} and error: {_described(search, cost)}")


def _described(search: BudgetSearch, cost: _Cost) -> str:
    text = f"{len(search.candidates)} students"
    if search.best is not None:
        chosen = search.best
        text += f"; chosen: {chosen}, {cost.text(cost.of(chosen))}, error {1 - chosen.accuracy:.2%}"
    return f"{text}; limit: {cost.text(cost.limit)}; teacher: error {1 - search.teacher_accuracy:.2%}"


def _students(search: BudgetSearch) -> Markup:
    """The table of all students, unfoldable."""
    header, *body = table_cells(search.candidates)
    heads = [head(name, is_text=i < 3) for i, name in enumerate(header)]
    rows = [row(*(cell(text, is_text=i < 3) for i, text in enumerate(cells))) for cells in body]
    shown = unfoldable(f"all {len(body)} students", table("Students", heads, rows, class_="full dense"))
    text = f"Chosen: {search.verdict()}. None beats those on the front (*) in latency, size and accuracy."
    return card("Students", text, shown)


def _duration(microseconds: float) -> str:
    return duration(microseconds / 1e3)


def _size(count: float) -> str:
    """The label of a round number of bytes."""
    for unit, factor in (("MB", 1e-6), ("kB", 1e-3)):
        if count * factor > 0.99:
            return f"{count * factor:g} {unit}"
    return f"{count:g} B"


def _bytes(count: float) -> str:
    return f"{count:,.0f} bytes"
