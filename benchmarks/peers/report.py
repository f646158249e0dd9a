"""The results as tables on a terminal, as Markdown, as JSON and as a plot."""

from __future__ import annotations

import importlib.metadata
import json as json_format
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyrs.bench import environment
from tinyrs.bench.report import columns, duration

from peers.engines import ENGINES
from peers.low_precision import report as low_precision_report
from peers.processes import Processes
from peers.running import Outcome, Timing
from peers.targets import TARGETS, Measured, Target, thread_ratio
from peers.training import report as training_report
from peers.training.running import Comparison

# Increased when a field changes its meaning or is removed.
SCHEMA = 1
_PACKAGES = ("onnxruntime", "openvino", "nncf", "scikit-learn", "jax", "torch")


@dataclass(frozen=True)
class Table:
    """A table whose first row holds the names of the columns, and notes to print below it."""

    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def text(self) -> str:
        return "\n".join([columns(self.rows), *self.notes]) + "\n"

    def markdown(self) -> str:
        header, *rows = self.rows
        lines = [header, ["---"] * len(header), *rows]
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), *notes]) + "\n"


def threads(n: int) -> str:
    """The number with its unit."""
    return "1 thread" if n == 1 else f"{n} threads"


def outcome_table(outcome: Outcome) -> Table:
    """The engines of a workload: tinyrs, then its peers, fastest first.

    The table has the median at each number of threads; the other columns belong to the faster one.
    """
    workload = outcome.workload
    is_row = workload.batch == 1
    share = "of read bandwidth" if is_row else "of FMA peak"
    counts = sorted({timing.threads for timing in outcome.timings})
    rows = [[workload.name, *map(threads, counts), "p99", "time / tinyrs'", "error", "GFLOP/s", share]]
    ours = outcome.best("tinyrs")

    def cells(timing: Timing) -> list[str]:
        reached = outcome.read_share(timing) if is_row else outcome.fma_share(timing)
        return [
            timing.engine,
            *(duration(t.median_ms) if t else "" for t in (outcome.best(timing.engine, n) for n in counts)),
            duration(timing.p99_ms),
            f"{timing.median_ms / ours.median_ms:.2f}" if ours else "",
            f"{timing.error:.1e}",
            f"{workload.flops / timing.median_ms / 1e6:.1f}",
            f"{reached:.0%}",
        ]

    rows += [cells(timing) for timing in ([ours] if ours else []) + outcome.peers()]
    return Table(rows, _untimed(outcome))


def low_precision_table(outcome: Outcome) -> Table:
    """The engines of a workload in low precision, fastest first."""
    counts = sorted({timing.threads for timing in outcome.timings})
    header = [f"low precision: {outcome.workload.name}", *map(threads, counts), *low_precision_report.HEADER]
    return Table([header, *low_precision_report.rows(outcome, counts)], _untimed(outcome))


def _untimed(outcome: Outcome) -> list[str]:
    """A line for each engine without a time."""
    notes = [f"{name}: not timed, {why}" for name, why in outcome.failures.items()]
    return notes + [f"{name}: not installed" for name in outcome.absent]


def training_table(comparison: Comparison) -> Table:
    """The engines of a training workload, each at its faster number of threads."""
    header = [f"train {comparison.workload.name}", *training_report.HEADER]
    return Table([header, *training_report.rows(comparison)])


def process_table(processes: Processes) -> Table:
    """Cold starts, the import time and the processor time of idle threads."""
    ours = processes.cold_s.get("tinyrs")
    rows = [["a process: import, load 64-128-128-10, predict once", "wall time", "time / tinyrs'"]]
    for name, seconds in processes.cold_s.items():
        rows.append([name, duration(seconds * 1e3), f"{seconds / ours:.2f}" if ours else ""])
    notes = [f"{name}: not timed, {why}" for name, why in processes.failures.items()]
    notes += [f"{name}: not installed" for name in processes.absent]
    notes += [
        f"import tinyrs takes {processes.import_s * 1e3:.1f} ms more than import numpy",
        f"a second's sleep after passes with all threads takes {processes.idle_s * 1e3:.1f} ms of CPU time",
    ]
    return Table(rows, notes)


def thread_table(measured: Measured) -> Table:
    """tinyrs with one thread and with all threads, on each workload."""
    counts = measured.settings.threads
    ends = (min(counts), max(counts))
    rows = [["tinyrs", *map(threads, ends), "all / one"]]
    for outcome in measured.outcomes:
        one, every = (outcome.best("tinyrs", n) for n in ends)
        ratio = thread_ratio(outcome, counts)
        if one and every and ratio:
            rows.append(
                [outcome.workload.name, duration(one.median_ms), duration(every.median_ms), f"{ratio:.2f}"]
            )
    return Table(rows)


def target_table(measured: Measured) -> Table:
    """The targets, the measured values, and whether they were reached."""
    rows = [["target (relative to a peer: its time / tinyrs')", "wanted", "measured", "reached"]]
    for target in TARGETS:
        value = target.value(measured)
        bound = f"{'at most' if target.at_most else 'at least'} {target.bound:g}{target.unit}"
        found = ["not measured", ""]
        if value is not None:
            found = [f"{value:.2f}{target.unit}", "yes" if target.reached(value) else "NO"]
        rows.append([target.text, bound, *found])
    return Table(rows)


def tables(measured: Measured) -> list[Table]:
    """All tables of a run."""
    return [
        *([process_table(measured.processes)] if measured.processes else []),
        *map(outcome_table, measured.outcomes),
        *map(low_precision_table, measured.low_precision),
        *map(training_table, measured.trainings),
        *summary(measured),
    ]


def summary(measured: Measured) -> list[Table]:
    """The tables over all workloads."""
    return [thread_table(measured), target_table(measured)]


def describe(folder: Path) -> dict[str, Any]:
    """The machine, the date, and the versions of the libraries."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"date": time.strftime("%Y-%m-%d")} | environment.describe(folder) | versions


def markdown(measured: Measured, about: dict[str, Any]) -> str:
    """The results as a Markdown document."""
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in about.items()]
    return "\n".join(
        ["# tinyrs beside other libraries\n", *lines, "", *(t.markdown() for t in tables(measured))]
    )


def json(measured: Measured, about: dict[str, Any]) -> str:
    """The results as JSON, including the time of each pass."""

    def outcome_fields(outcome: Outcome) -> dict[str, Any]:
        return {
            "work": asdict(outcome.workload),
            "timings": [asdict(t) | {"median_ms": t.median_ms, "p99_ms": t.p99_ms} for t in outcome.timings],
            "failures": outcome.failures,
            "absent": outcome.absent,
            "read_bandwidth": outcome.read_bandwidth,
            "fma_peak": outcome.fma_peak,
            "name": outcome.workload.name,
        }

    def training_fields(comparison: Comparison) -> dict[str, Any]:
        return {
            "work": asdict(comparison.workload),
            "trained": [asdict(trained) for trained in comparison.trained],
            "other_work": comparison.wrong_losses,
            "absent": comparison.absent,
        }

    def target_fields(target: Target) -> dict[str, Any]:
        value = target.value(measured)
        return {
            "text": target.text,
            "bound": target.bound,
            "at_most": target.at_most,
            "value": value,
            "reached": None if value is None else target.reached(value),
        }

    document = {
        "schema": SCHEMA,
        "environment": about,
        "settings": asdict(measured.settings),
        "forward": [outcome_fields(outcome) for outcome in measured.outcomes],
        "low_precision": [outcome_fields(outcome) for outcome in measured.low_precision],
        "training": [training_fields(comparison) for comparison in measured.trainings],
        "processes": asdict(measured.processes) if measured.processes else None,
        "targets": [target_fields(target) for target in TARGETS],
    }
    return json_format.dumps(document, indent=1) + "\n"


def plot(measured: Measured, path: Path) -> None:
    """Draws the median of each engine on each workload, at its faster number of threads, on a log scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.5 + 0.5 * len(measured.outcomes)), layout="constrained")
    axes = figure.subplots()
    names = [outcome.workload.name for outcome in measured.outcomes]
    for engine, marker in zip(ENGINES, "osD^vPX", strict=True):
        found = [(i, o.best(engine)) for i, o in enumerate(measured.outcomes)]
        points = [(t.median_ms, i) for i, t in found if t]
        if points:
            axes.plot(*zip(*points, strict=True), marker, label=engine, alpha=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("median time of a pass in ms, at the faster number of threads")
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(path)


def show(found: Iterable[Table]) -> None:
    """Prints the tables."""
    for table in found:
        print(table.text(), flush=True)
