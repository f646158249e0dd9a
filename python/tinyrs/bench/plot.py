"""A plot of a sweep: time against the swept axis, with the limit of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinyrs.bench.config import UsageError
from tinyrs.bench.results import Measurement, Results
from tinyrs.files import atomic

_NUMERIC = ("layers", "dimension", "batch", "threads")


def require() -> None:
    """Raises UsageError if matplotlib is not installed. Called before the run."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("output.plot needs matplotlib: pip install 'tinyrs[plot]'") from None


def axis(results: Results) -> str:
    """The x axis: the swept field with the most values, preferably a numeric one."""
    swept = results.plan.swept
    candidates = [name for name in swept if name in _NUMERIC] or list(swept)
    return max(candidates, key=lambda name: len({getattr(case, name) for case in results.plan.cases}))


def lines(results: Results) -> dict[str, list[Measurement]]:
    """The measurements of each line of the plot: one per engine and value of the other swept fields."""
    others = [name for name in results.plan.swept if name != axis(results)]
    grouped: dict[str, list[Measurement]] = {}
    for m in results.measurements:
        label = ", ".join([m.engine, *(f"{name} {getattr(m.case, name)}" for name in others)])
        grouped.setdefault(label, []).append(m)
    if axis(results) in _NUMERIC:
        for measurements in grouped.values():
            measurements.sort(key=lambda m: int(getattr(m.case, axis(results))))
    return grouped


def draw(results: Results, path: Path) -> None:
    """Writes the plot to `path`, in the format of its suffix."""
    from matplotlib.figure import Figure

    x_axis = axis(results)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()

    def xs(measurements: Sequence[Measurement]) -> list[int | str]:
        return [getattr(m.case, x_axis) for m in measurements]

    limits: set[tuple[float, ...]] = set()
    for label, measurements in lines(results).items():
        axes.plot(xs(measurements), [m.pass_ms for m in measurements], marker="o", label=label)
        limit = tuple(m.limit.seconds * 1e3 for m in measurements)
        # The engines of a case have the same limit, which is drawn once.
        if limit not in limits:
            name = "the machine's limit" if not limits else None
            axes.plot(xs(measurements), limit, linestyle="--", color="grey", label=name)
        limits.add(limit)
    if x_axis in _NUMERIC:
        axes.set_xscale("log", base=2)
        ticks = sorted({getattr(case, x_axis) for case in results.plan.cases})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
    axes.set_yscale("log")
    axes.set_xlabel(x_axis)
    some_means = any(m.percentiles is None for m in results.measurements)
    axes.set_ylabel(f"{'mean or median' if some_means else 'median'} time of a pass in ms")
    axes.set_title(results.plan.name or "tinyrs benchmark")
    axes.grid(True, alpha=0.3)
    axes.legend()
    with atomic.writing(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix(".") or None)
