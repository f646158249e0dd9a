"""How the time of a training step grows with the batch and with the number of parameters, as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tinyrs.bench.harness import Clock, Percentiles, time_calls

from peers.training.engines import tinyrs_engine
from peers.training.workloads import TrainingWorkload

_BATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_WIDTHS = (64, 96, 128, 192, 256, 384, 512, 768)
_EPOCHS = 7


def plot(path: Path, threads: int) -> None:
    """Writes the plot to `path` and prints its numbers. A dashed line shows linear growth."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    batches = [TrainingWorkload((128, 128, 128, 10), batch, "relu") for batch in _BATCHES]
    widths = [TrainingWorkload((width, width, width, 10), 256, "relu") for width in _WIDTHS]
    series = {
        "rows in a batch": ([w.batch for w in batches], batches),
        "parameters": ([w.network().n_parameters for w in widths], widths),
    }
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (label, (sizes, workloads)) in zip(axes, series.items(), strict=True):
        times = _step_seconds(workloads, threads)
        slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        axis.loglog(sizes, np.array(times) * 1e6, "o-", label=f"measured, slope {slope:.2f}")
        axis.loglog(sizes, times[-1] * 1e6 * np.array(sizes) / sizes[-1], "--", label="slope 1")
        axis.set(xlabel=label, ylabel="us per step")
        axis.legend()
        print(f"time of a step against {label}: slope {slope:.2f}")
        for n, seconds in zip(sizes, times, strict=True):
            print(f"  {n:>9,} {seconds * 1e6:>9.1f} us")
    figure.savefig(path)


def _step_seconds(workloads: Sequence[TrainingWorkload], threads: int) -> list[float]:
    """Median seconds of a step of tinyrs on each workload."""
    medians = []
    for workload in workloads:
        epoch = tinyrs_engine(workload, *workload.data(), threads)
        times_ns = time_calls(lambda _, epoch=epoch: epoch(), range(_EPOCHS), Clock())  # type: ignore[misc]
        medians.append(Percentiles.of(times_ns).median_ms / 1e3 / workload.steps)
    return medians
