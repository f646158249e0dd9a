"""The table of one workload in low precision."""

from __future__ import annotations

from collections.abc import Sequence

from tinyrs.bench.report import duration

from peers.low_precision.engines import OURS
from peers.low_precision.running import contenders, fastest, is_ours
from peers.running import Outcome, Timing

HEADER = (
    "error",
    f"{OURS} f32 / time",
    "fastest with no larger error",
    "best peer with no larger error",
    f"its time / {OURS}'",
)


def rows(outcome: Outcome, threads: Sequence[int]) -> list[list[str]]:
    """The engines, fastest first: the median at each number of threads, then the columns of HEADER.

    The other columns belong to the faster number of threads.
    """
    f32 = outcome.best(f"{OURS} f32")

    def cells(timing: Timing) -> list[str]:
        best = fastest(outcome, timing)
        peer = fastest(outcome, timing, peer=True) if is_ours(timing.engine) else None
        return [
            timing.engine,
            *(duration(t.median_ms) if t else "" for t in (outcome.best(timing.engine, n) for n in threads)),
            f"{timing.error:.1e}",
            f"{f32.median_ms / timing.median_ms:.2f}" if f32 else "",
            best.engine if best and best is not timing else "this one",
            peer.engine if peer else "",
            f"{peer.median_ms / timing.median_ms:.2f}" if peer else "",
        ]

    return [cells(timing) for timing in contenders(outcome)]
