"""What tinyrs has to reach on 2 cores, mostly relative to the fastest peer.

Each engine counts with its faster number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from peers.low_precision import running as low_precision
from peers.processes import Processes
from peers.running import Outcome, Settings
from peers.training.running import Comparison
from peers.training.workloads import TRAINING_WORKLOADS
from peers.workloads import (
    HEADLINE_F32,
    HEADLINE_F64,
    LARGE_F32,
    LARGE_F64,
    MEDIUM_32,
    MEDIUM_256,
    SMALL_TANH,
    Workload,
)

# The most that a pass with all threads may take, relative to one thread.
MAX_THREAD_RATIO = 1.05


@dataclass
class Measured:
    """All results of one run."""

    settings: Settings
    outcomes: list[Outcome] = field(default_factory=list)
    low_precision: list[Outcome] = field(default_factory=list)
    trainings: list[Comparison] = field(default_factory=list)
    processes: Processes | None = None

    def of(self, workload: Workload) -> Outcome | None:
        """The outcome of `workload`, if it was measured."""
        return next((outcome for outcome in self.outcomes if outcome.workload == workload), None)


@dataclass(frozen=True)
class Target:
    """A bound on a value: at least `bound`, or at most. `value` gives None if it was not measured."""

    text: str
    bound: float
    value: Callable[[Measured], float | None]
    at_most: bool = False
    unit: str = ""

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def thread_ratio(outcome: Outcome, threads: Sequence[int]) -> float | None:
    """The time of tinyrs with all threads over that with one."""
    one, every = (outcome.best("tinyrs", n) for n in (min(threads), max(threads)))
    return every.median_ms / one.median_ms if one and every else None


def _ratio(workload: Workload, threads: int | None = None) -> Callable[[Measured], float | None]:
    def value(measured: Measured) -> float | None:
        outcome = measured.of(workload)
        return outcome.ratio(threads) if outcome else None

    return value


def _share(
    workload: Workload, share: Callable[[Outcome], float | None]
) -> Callable[[Measured], float | None]:
    def value(measured: Measured) -> float | None:
        outcome = measured.of(workload)
        return share(outcome) if outcome else None

    return value


def _read_share(outcome: Outcome) -> float | None:
    """The share of the read bandwidth that tinyrs reaches with all threads."""
    timing = outcome.best("tinyrs", max(outcome.read_bandwidth, default=None))
    return outcome.read_share(timing) if timing else None


def _fma_share(outcome: Outcome) -> float | None:
    """The share of the FMA peak that tinyrs reaches with all threads."""
    timing = outcome.best("tinyrs", max(outcome.fma_peak, default=None))
    return outcome.fma_share(timing) if timing else None


def _trained(index: int, *engines: str) -> Callable[[Measured], float | None]:
    """The time of the fastest of `engines` over that of tinyrs on a training workload."""

    def value(measured: Measured) -> float | None:
        workload = TRAINING_WORKLOADS[index]
        return next((c.ratio(*engines) for c in measured.trainings if c.workload == workload), None)

    return value


def _training(index: int, frameworks: float, sklearn: float) -> tuple[Target, Target]:
    """The targets of a training workload: against PyTorch and jax, and against scikit-learn."""
    name = f"train {TRAINING_WORKLOADS[index].name}"
    return (
        Target(f"{name}: PyTorch or jax", frameworks, _trained(index, "PyTorch", "jax")),
        Target(f"{name}: scikit-learn", sklearn, _trained(index, "scikit-learn")),
    )


def _low_precision(workload: Workload, weights: str, f32: float, peer: float) -> tuple[Target, Target]:
    """The targets of a format of weights: against tinyrs in f32, and against peers with no larger error."""

    def value(of: Callable[[Outcome, str], float | None]) -> Callable[[Measured], float | None]:
        return lambda m: next((of(o, weights) for o in m.low_precision if o.workload == workload), None)

    shape = workload.name.rpartition(", ")[0]
    return (
        Target(f"{shape}, {weights}: tinyrs f32", f32, value(low_precision.gain)),
        Target(f"{shape}, {weights}: best peer with no larger error", peer, value(low_precision.ratio)),
    )


def _cold(measured: Measured) -> float | None:
    """The cold start of onnxruntime over that of tinyrs."""
    seconds = measured.processes.cold_s if measured.processes else {}
    both = {"tinyrs", "onnxruntime"} <= set(seconds)
    return seconds["onnxruntime"] / seconds["tinyrs"] if both else None


def _worst_thread_ratio(measured: Measured) -> float | None:
    ratios = [thread_ratio(outcome, measured.settings.threads) for outcome in measured.outcomes]
    return max((ratio for ratio in ratios if ratio), default=None)


TARGETS = (
    Target("headline f32, all threads: best peer", 1.5, _ratio(HEADLINE_F32)),
    Target("headline f32, one thread: best peer", 1.35, _ratio(HEADLINE_F32, 1)),
    Target("headline f64, all threads: best peer", 1.5, _ratio(HEADLINE_F64)),
    Target("headline f32, all threads: share of the read bandwidth", 0.9, _share(HEADLINE_F32, _read_share)),
    Target("64-128-128-10, one sample: best peer", 8, _ratio(SMALL_TANH)),
    Target("4 x 128, batch 256: best peer", 1.5, _ratio(MEDIUM_256)),
    Target("4 x 128, batch 32: best peer", 3, _ratio(MEDIUM_32)),
    Target("10 x 1024, batch 256, f32: best peer", 1.1, _ratio(LARGE_F32)),
    Target("10 x 1024, batch 256, f32: share of the FMA peak", 0.8, _share(LARGE_F32, _fma_share)),
    Target("10 x 1024, batch 256, f64: best peer", 1.1, _ratio(LARGE_F64)),
    Target("10 x 1024, batch 256, f64: share of the FMA peak", 0.8, _share(LARGE_F64, _fma_share)),
    *_low_precision(HEADLINE_F32, "f16", 1.85, 1.4),
    *_low_precision(HEADLINE_F32, "int8", 3.4, 1.8),
    *_low_precision(SMALL_TANH, "int8", 1.4, 8),
    *_low_precision(MEDIUM_256, "int8", 2, 2),
    *_low_precision(LARGE_F32, "int8", 3.3, 1.15),
    *_low_precision(LARGE_F32, "bf16", 1.85, 1),
    *_training(0, 1.5, 4),
    *_training(1, 2, 4),
    *_training(2, 6, 8),
    Target("cold start: onnxruntime", 5, _cold),
    Target(
        "import time on top of NumPy's",
        30,
        lambda m: m.processes.import_s * 1e3 if m.processes else None,
        at_most=True,
        unit=" ms",
    ),
    Target(
        "processor time in an idle second",
        # The processor time of a process advances in ticks of up to 10 ms, and waking up takes some too.
        5,
        lambda m: m.processes.idle_s * 1e3 if m.processes else None,
        at_most=True,
        unit=" ms",
    ),
    Target(
        "all threads over one thread, worst workload", MAX_THREAD_RATIO, _worst_thread_ratio, at_most=True
    ),
)
