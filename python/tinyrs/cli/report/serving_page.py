"""Assembles the report of `tinyrs bench --html`: scenarios first, the machine and how to repeat it last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from tinyrs.bench import report
from tinyrs.bench.serving import outcomes, text
from tinyrs.bench.serving.outcomes import Served
from tinyrs.cli.output import open_output
from tinyrs.cli.report import serving_charts
from tinyrs.cli.report.document import document, facts, file, header
from tinyrs.cli.report.elements import card, cell, head, legend, row, row_head, table
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.report.provenance import ServingProvenance

_DEADLINE = ("best", "deadline")


def write(path: str, served: Served, provenance: ServingProvenance) -> None:
    """Writes the report to a file."""
    with open_output(path) as output:
        output.write(page(served, provenance).encode())


def page(served: Served, provenance: ServingProvenance) -> Markup:
    """The report about `served` as one HTML document."""
    subject = served.name or ", ".join(result.model for result in served.results)
    company = "" if served.settings.company.alone else f" \u00b7 company: {served.settings.company}"
    measured = f" \u00b7 {served.rows_origin} \u00b7 {served.environment['cpu']}{company}"
    styles = {result.model: serving_charts.style(i) for i, result in enumerate(served.results)}
    sections = [
        header(subject, provenance.time, measured),
        _scenarios(served),
        _invalid(served),
        *_latencies(served, styles),
        _plane(served, styles),
        _models(served),
        _machine(served),
        _repeat(served, provenance),
    ]
    return document(subject, sections)


def _invalid(served: Served) -> Markup | None:
    """Which measurements are invalid, and why."""
    items = [
        tag("li", tag("b", f"{result.model}, {outcome.scenario}"), f": {'; '.join(outcome.reasons)}")
        for result in served.results
        for outcome in result.outcomes
        if outcome.reasons
    ]
    items += [tag("li", f"Not measured: {failure}") for failure in served.failures]
    if not items:
        return None
    title = "Invalid measurements" if len(items) > 1 else "An invalid measurement"
    return card(title, "Do not rely on these figures.", tag("ul", *items), class_="wide warning")


def _scenarios(served: Served) -> Markup:
    header_cells, *body = text.table(served)
    heads = [head(name, is_text=i < 3) for i, name in enumerate(header_cells)]
    rows = [
        row(
            row_head(cells[0]),
            cell(cells[1], is_text=True),
            cell(tag("span", cells[2], class_=f"verdict {cells[2].lower()}"), is_text=True),
            *map(cell, cells[3:]),
        )
        for cells in body
    ]
    explained = " ".join(text.notes(served))
    return card("Scenarios", explained, table("Scenarios", heads, rows, class_="full dense"))


def _latencies(served: Served, styles: dict[str, str]) -> list[Markup]:
    """A histogram for each scenario whose queries say something about latency."""
    cards = []
    for scenario in served.settings.scenarios:
        found = {result.model: result.outcome(scenario) for result in served.results}
        measured = {model: outcome for model, outcome in found.items() if outcome is not None}
        if not measured:
            continue
        entries = [(f"line {styles[model]}", model) for model in measured]
        if any(outcome.deadline_us for outcome in measured.values()):
            entries.append(_DEADLINE)
        meaning = text.MEANING[scenario].format(streams=served.settings.streams)
        rates = [f"{outcome.qps:,.0f}" for outcome in measured.values() if outcome.qps]
        at = f" Requests a second: {', '.join(rates)}." if rates else ""
        chart = serving_charts.latencies(measured, styles)
        title = f"Latency, {scenario.replace('_', ' ')}"
        cards.append(
            card(title, f"{meaning[0].upper()}{meaning[1:]}.{at}", legend(*entries), chart, class_="third")
        )
    return cards


def _plane(served: Served, styles: dict[str, str]) -> Markup | None:
    """The chart of several models, if their error is known."""
    chart = serving_charts.cost_and_error(served, styles)
    if chart is None:
        return None
    entries = [(f"dot {styles[point.model]}", point.model) for point in outcomes.points(served)]
    explained = "Farther down and to the left is better; no model is below the line."
    return card("Cost and error", explained, legend(*entries, ("front", "front")), chart, class_="third")


def _models(served: Served) -> Markup | None:
    """The comparison of several models."""
    if len(served.results) < 2:
        return None
    header_cells, *body = text.pareto(served)
    heads = [head(name, is_text=i == 0) for i, name in enumerate(header_cells)]
    rows = [row(row_head(cells[0]), *map(cell, cells[1:])) for cells in body]
    return card("Models", text.FRONT, table("Models", heads, rows))


def _machine(served: Served) -> Markup:
    entries = [(_words(name), _shown(value, "none known")) for name, value in served.environment.items()]
    explained = (
        "Where the times come from. A prediction cannot read its weights faster than the read bandwidth, nor "
        "multiply faster than the arithmetic limit, measured with all threads."
    )
    return card("Machine", explained, facts(entries), class_="third")


def _repeat(served: Served, provenance: ServingProvenance) -> Markup:
    entries: list[tuple[str, Markup | str]] = [("command", tag("code", provenance.command))]
    entries += [("model", file(model)) for model in provenance.models]
    if provenance.data is not None:
        entries.append(("data", file(provenance.data)))
    chosen = {**asdict(served.settings), "company": str(served.settings.company)}
    entries += [(_words(name), _shown(value, "default")) for name, value in chosen.items()]
    if served.cost is not None:
        entries.append(("price", report.price(served.cost)))
        entries.append(("utilisation", f"{served.cost.utilisation:g}"))
    return card("Settings", "What is needed to repeat the benchmark.", facts(entries), class_="third")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: object, missing: str) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return missing if value is None else str(value)
