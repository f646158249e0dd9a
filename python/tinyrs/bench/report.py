"""Results as text for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyrs.bench.config import Case, Cost
from tinyrs.bench.results import Measurement, Results, cost_fields

LIMIT_MEANING = {
    "memory": "moving the parameters from and to beyond the private caches",
    "cache": "moving the parameters from and to the private caches",
    "arithmetic": "multiplying and adding",
}


# Why a pass of training has no percentiles.
MEANS = "One call of `fit` makes many passes: their mean is known, but not the time of each."


def headline(results: Results) -> str:
    """The first line of the output: the time of all runs of the first engine."""
    plan, ms = results.plan, results.total_ms
    if plan.name is None:
        return f"Total time for {plan.nepochs} run(s) was {ms:.6f} ms"
    return f'Completed "{plan.name}" in {ms:.6f} ms'


def details(measurements: Sequence[Measurement], cost: Cost | None = None) -> str:
    """The results of one case: a table with one column per engine, the limit, the peak memory, the price."""
    first = measurements[0]
    case, limit = first.case, first.limit
    unit = "Gop/s in int8" if case.precision == "int8" else "GFLOP/s"
    times = ("mean",) if first.percentiles is None else ("median", "p90", "p99")
    lines: list[tuple[str, Callable[[Measurement, dict[str, Any]], str]]] = [
        *((name, _milliseconds(f"{name}_ms")) for name in times),
        ("first run", _milliseconds("first_ms")),
        ("passes a second", lambda m, r: f"{r['passes_per_s']:,.1f}"),
        ("samples a second", lambda m, r: f"{r['samples_per_s']:,.0f}"),
        ("GFLOP/s", lambda m, r: f"{r['gflops']:.2f}"),
        ("GB/s of parameters", lambda m, r: f"{r['gbytes_per_s']:.2f}"),
        ("share of the limit", lambda m, r: f"{m.limit_share:.0%}"),
        ("largest error", lambda m, r: f"{m.error:.1e}"),
        ("  allowed error", lambda m, r: f"{m.allowed_error:.1e}"),
    ]
    if first.numpy_ratio is not None:
        lines.append(("time / numpy's", lambda m, r: f"{r['numpy_ratio']:.3f}"))
    if cost is not None:
        lines += _cost_lines(case, cost)
    note = f"{MEANS}\n" if first.percentiles is None else ""
    rows = [m.row() for m in measurements]
    table = [["", *(m.engine for m in measurements)]]
    table += [
        [name, *(show(m, row) for m, row in zip(measurements, rows, strict=True))] for name, show in lines
    ]
    return (
        f"{describe(case)}: {megabytes(case.weight_bytes)} of weights, "
        f"{case.flops / 1e9:.3g} GFLOP a pass\n\n"
        f"{columns(table)}\n\n{note}"
        f"The limit is {limit.name}, {LIMIT_MEANING[limit.name]}: {duration(limit.seconds * 1e3)} a pass\n"
        f"  (measured: {limit.read_bandwidth / 1e9:.1f} GB/s read, {limit.flops / 1e9:.0f} {unit})\n"
        f"Peak memory {peak(first)}" + ("" if cost is None else f"\n{price(cost)}")
    )


def _cost_lines(case: Case, cost: Cost) -> list[tuple[str, Callable[[Measurement, dict[str, Any]], str]]]:
    """The rows of the table that say what a million samples cost, fully used and at the given utilisation."""
    shown = [(f"{cost.price.currency} per million {samples(case)}", "per_million")]
    if cost.utilisation < 1:
        shown.append((f"  at {cost.utilisation:.3g} utilisation", "per_million_utilised"))
    return [
        (name, lambda m, row, field=field: money(cost_fields(m, cost)[field]))  # type: ignore[misc]
        for name, field in shown
    ]


def samples(case: Case) -> str:
    """What a sample is in a pass of this kind."""
    return "predictions" if case.mode == "forward" else "samples"


def money(amount: float) -> str:
    """An amount with three digits, never as a power of ten."""
    return np.format_float_positional(amount, precision=3, fractional=False, trim="k")


def price(cost: Cost) -> str:
    """The price that costs are computed from, with its date if it is from prices.csv."""
    price = cost.price
    text = f"Price {money(price.per_hour)} {price.currency} an hour"
    if price.machine is None:
        return f"{text}, for this machine with one such process"
    return (
        f"{text}: {price.machine}, {price.vcpu} vCPU, {price.provider} {price.region}, {price.date}\n"
        f"  (costs are those of {price.machine} only if it is as fast as this machine)"
    )


def _milliseconds(field: str) -> Callable[[Measurement, dict[str, Any]], str]:
    """Shows a field of the row that holds milliseconds."""
    return lambda m, row: duration(row[field])


def peak(measurement: Measurement) -> str:
    """The peak memory, and its ratio to the weights."""
    if measurement.peak_memory is None:
        return "is unknown on this system"
    ratio = measurement.peak_memory / measurement.case.weight_bytes
    return megabytes(measurement.peak_memory) + (f", {ratio:.2f} x the weights" if ratio < 10 else "")


def environment(fields: Mapping[str, Any]) -> str:
    """The environment, one line per field."""
    return columns([[name.replace("_", " "), _plain(value)] for name, value in fields.items()], right=False)


def describe(case: Case) -> str:
    """A short description of the case."""
    samples = "1 sample" if case.batch == 1 else f"{case.batch} samples"
    threads = "1 thread" if case.threads == 1 else f"{case.threads or 'all'} threads"
    shape = f"{case.layers} layer{'s' if case.layers > 1 else ''} of {case.dimension} x {case.dimension}"
    mode = "" if case.mode == "forward" else f"{case.mode} pass, "
    inputs = "" if case.inputs == "uniform" else f", {case.inputs} inputs"
    return f"{mode}{shape}, {case.activation}, {case.precision}, {samples} a pass{inputs}, {threads}"


def sweep_header(swept: Sequence[str], cost: Cost | None = None) -> list[str]:
    """The column names of a sweep's table: the swept fields, then the results."""
    header = [*swept, "engine", "time", "p90", "GFLOP/s", "GB/s", "limit", "share", "error", "/ numpy"]
    return header if cost is None else [*header, f"{cost.price.currency} / M"]


def sweep_cells(swept: Sequence[str], m: Measurement, cost: Cost | None = None) -> list[str]:
    """The row of one measurement, in the columns of `sweep_header`."""
    row = m.row()
    return [
        *(str(row[name]) for name in swept),
        m.engine,
        duration(m.pass_ms),
        "-" if m.percentiles is None else duration(m.percentiles.p90_ms),
        f"{row['gflops']:.2f}",
        f"{row['gbytes_per_s']:.2f}",
        m.limit.name,
        f"{m.limit_share:.0%}",
        f"{m.error:.1e}",
        "" if m.numpy_ratio is None else f"{m.numpy_ratio:.3f}",
        *([] if cost is None else [money(cost_fields(m, cost)["per_million_utilised"])]),
    ]


def sweep_note(measurements: Sequence[Measurement]) -> str:
    """The meaning of the column "time" of a sweep's table."""
    means = [m.percentiles is None for m in measurements]
    if all(means):
        return f"time: mean of a pass. {MEANS}"
    return "time: median of a pass" + (f"; in training, the mean. {MEANS}" if any(means) else ".")


def cost_note(cost: Cost) -> str:
    """The meaning of the last column of a sweep's table with a price."""
    utilised = "" if cost.utilisation == 1 else f" at {cost.utilisation:.3g} utilisation"
    return f"{cost.price.currency} / M: cost of a million samples{utilised}.\n{price(cost)}"


def fixed_columns(cells: Sequence[str]) -> str:
    """One line of a table that is printed row by row."""
    return " ".join(cell.rjust(10) for cell in cells)


def markdown(results: Results) -> str:
    """Results and environment as a Markdown document."""
    swept, cost = results.plan.swept, results.plan.cost
    lines = [f"# {results.plan.name or 'tinyrs benchmark'}", ""]
    if results.measurements:
        lines += [f"The first network: {describe(results.measurements[0].case)}.", ""]
    header = sweep_header(swept, cost)
    lines += [_pipes(header), _pipes(["---"] * len(header))]
    lines += [_pipes(sweep_cells(swept, m, cost)) for m in results.measurements]
    lines += [f"\n{sweep_note(results.measurements)}"] if results.measurements else []
    lines += [] if cost is None else [f"\n{cost_note(cost)}"]
    lines += [f"\nNot timed: {failure}" for failure in results.failures]
    lines += ["", *(f"- {name.replace('_', ' ')}: {_plain(v)}" for name, v in results.environment.items())]
    return "\n".join(lines) + "\n"


def duration(ms: float) -> str:
    """A time with four digits and a suitable unit."""
    for unit, factor in (("s", 1e-3), ("ms", 1.0), ("us", 1e3)):
        if ms * factor >= 1:
            return f"{ms * factor:#.4g} {unit}"
    return f"{ms * 1e6:.0f} ns"


def megabytes(number: int) -> str:
    """Bytes in MB or kB; powers of ten, as for bandwidths."""
    return f"{number / 1e6:,.1f} MB" if number >= 100_000 else f"{number / 1e3:,.1f} kB"


def columns(rows: Sequence[Sequence[str]], right: bool = True) -> str:
    """Rows of cells in aligned columns; the first column, or all, are left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(
            cell.rjust(width) if right and i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _plain(value: object) -> str:
    return "none known" if value is None else str(value)


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
