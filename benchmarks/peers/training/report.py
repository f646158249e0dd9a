"""The table of one training workload."""

from __future__ import annotations

from peers.training.engines import ENGINES
from peers.training.running import Comparison

HEADER = ("samples/s", "slowest to fastest round", "loss", "threads", "time / tinyrs'")


def rows(comparison: Comparison) -> list[list[str]]:
    """One row per engine: its name, then the columns of HEADER."""
    return [[name, *_cells(comparison, name)] for name in ENGINES]


def _cells(comparison: Comparison, engine: str) -> list[str]:
    best = comparison.best(engine)
    if best:
        speed, ratio = comparison.speed, comparison.ratio(engine)
        return [
            f"{speed(best.median):,.0f}",
            f"{speed(max(best.seconds)):,.0f} to {speed(min(best.seconds)):,.0f}",
            f"{best.loss:.4f}",
            str(best.threads),
            f"{ratio:.2f}" if ratio else "",
        ]
    if engine in comparison.wrong_losses:
        return ["wrong loss: not timed", "", f"{comparison.wrong_losses[engine]:.4f}", "", ""]
    return ["not installed", "", "", "", ""]
