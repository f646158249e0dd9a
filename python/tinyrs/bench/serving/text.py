"""The results as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyrs.bench import report
from tinyrs.bench.config import Cost
from tinyrs.bench.serving import outcomes, settings
from tinyrs.bench.serving.outcomes import Outcome, Served

NOT_READABLE = "not readable"
FRONT = "On the front: no other model is at least as good in every column."
# What a scenario measures, for the notes below a table.
MEANING = {
    settings.OFFLINE: "one large job after the other, with all threads",
    settings.SINGLE: "one row after the other",
    settings.MULTI: "queries of {streams} rows, one after the other",
    settings.SERVER: "requests that arrive at random; the time in the queue counts",
}


def table(served: Served) -> list[list[str]]:
    """A row for each model and scenario; the first row holds the names of the columns."""
    cost, labelled = served.cost, any(result.accuracy for result in served.results)
    header = ["model", "scenario", "", "rows / s", "median", "p90", "p99", "p99, 99 % sure"]
    header += ["error", "log loss"] if labelled else []
    header += cost_header(cost) if cost else []
    header += ["J / M"] if _energy_known(served) else []
    found = [header]
    for result in served.results:
        for row in result.rows(cost):
            cells = [result.model, row["scenario"], row["verdict"], f"{row['rows_per_s']:,.0f}"]
            cells += [report.duration(row[f"{name}_us"] / 1e3) for name in ("median", "p90", "p99")]
            bound = row["p99_bound_us"]
            cells.append("-" if bound is None else report.duration(bound / 1e3))
            cells += [_number(row["error"]), _number(row["log_loss"])] if labelled else []
            cells += cost_cells(row, cost) if cost else []
            joules = row["joules_per_million"]
            cells += [_energy(joules)] if _energy_known(served) else []
            found.append(cells)
    return found


def _energy_known(served: Served) -> bool:
    return any(outcome.joules is not None for result in served.results for outcome in result.outcomes)


def _energy(joules_per_million: float | None) -> str:
    return NOT_READABLE if joules_per_million is None else f"{joules_per_million:.3g}"


def cost_header(cost: Cost) -> list[str]:
    """The names of the columns of `cost_cells`, with the date of the price."""
    utilised = [f"at {cost.utilisation:.3g}"] if cost.utilisation < 1 else []
    return [f"{cost.price.currency} / M, {dated(cost)}", *utilised, f"{cost.price.currency} for training"]


def dated(cost: Cost) -> str:
    """The date of the price, which never stands without it."""
    return f"price {cost.price.date or 'as given'}"


def cost_cells(row: dict[str, Any], cost: Cost) -> list[str]:
    """What a million rows cost, at full and at the given utilisation, and what the training cost."""
    utilised = [report.money(row["per_million_utilised"])] if cost.utilisation < 1 else []
    training = row["training_cost"]
    return [
        report.money(row["per_million"]),
        *utilised,
        "not known" if training is None else report.money(training),
    ]


def progress(model: str, outcome: Outcome) -> str:
    """A line after a scenario has been measured."""
    rate = f" at {outcome.qps:,.0f} requests a second" if outcome.qps else ""
    reasons = "".join(f"\n    {reason}" for reason in outcome.reasons)
    return f"{model}: {outcome.scenario}{rate}: {outcome.verdict}{reasons}"


def notes(served: Served) -> list[str]:
    """What the reader of the table must know."""
    chosen = served.settings
    found = [
        f"{scenario}: {MEANING[scenario].format(streams=chosen.streams)}." for scenario in chosen.scenarios
    ]
    found.append(f"Rows: {served.rows_origin}.")
    if not chosen.company.alone:
        found.append(f"Company: {chosen.company}.")
    if _energy_known(served):
        found.append("J / M: energy of the whole machine for a million rows, from its own counter.")
    else:
        found.append(f"Energy: {NOT_READABLE} on this machine.")
    if served.cost is not None:
        found += report.price(served.cost).split("\n")
    return found


def pareto(served: Served) -> list[list[str]]:
    """A row for each model with all that a buyer compares; the last column says if no other beats it."""
    candidates = outcomes.points(served)
    best = outcomes.front(candidates)
    names = [("error", "error"), ("p99_us", "p99 of one row")]
    names += [("cost", f"{served.cost.price.currency} / M, {dated(served.cost)}")] if served.cost else []
    shown = [
        (key, name) for key, name in [*names, ("size", "size")] if any(key in c.known for c in candidates)
    ]
    found = [["model", *(name for _, name in shown), ""]]
    for point in candidates:
        cells = [_pareto_cell(key, point.known.get(key)) for key, _ in shown]
        found.append([point.model, *cells, "on the front" if point in best else ""])
    return found


def _pareto_cell(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key == "p99_us":
        return report.duration(value / 1e3)
    if key == "size":
        return report.megabytes(int(value))
    return report.money(value) if key == "cost" else _number(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def text(served: Served) -> str:
    """All tables with their notes."""
    lines: list[str] = []
    if served.results:
        lines += [report.columns(table(served)), "", *notes(served)]
    if len(served.results) > 1:
        lines += [
            "",
            report.columns(pareto(served)),
            FRONT,
        ]
    lines += [f"Not measured: {failure}" for failure in served.failures]
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown; its first row holds the names of the columns."""
    header, *body = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *body])
