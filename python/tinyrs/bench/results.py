"""One schema for results, whichever tool made them: what was measured, what follows from it, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinyrs.bench.config import Case, Plan

# Goes up when a field changes its meaning or goes away, not when one comes.
SCHEMA = 1


@dataclass(frozen=True)
class Limit:
    """The least time in which this machine could do a pass, from what it reached when it did nothing else.

    `name` is what bounds it: "memory" if the weights must come from beyond the private caches, "cache" if
    they fit in them, "arithmetic" if multiplying and adding takes longer than reading.
    """

    name: str
    seconds: float
    read_bandwidth: float  # bytes a second
    flops: float  # operations a second


@dataclass(frozen=True)
class Measurement:
    """One engine on one case. Its answer was checked before any of `times_ns` was taken."""

    case: Case
    engine: str
    first_ns: int
    times_ns: tuple[int, ...]
    error: float
    allowed_error: float
    limit: Limit
    peak_memory: int | None
    numpy_ratio: float | None = None

    @property
    def total_ms(self) -> float:
        return sum(self.times_ns) / 1e6

    @cached_property
    def _percentiles_ms(self) -> list[float]:
        return [float(p) / 1e6 for p in np.percentile(self.times_ns, (50, 90, 99))]

    @property
    def median_ms(self) -> float:
        return self._percentiles_ms[0]

    @property
    def limit_share(self) -> float:
        """How much of what the machine can do was reached: 1 is all."""
        return self.limit.seconds * 1e3 / self.median_ms

    def row(self) -> dict[str, Any]:
        """Flat, in the order in which the columns of a table stand. Rates follow from the median."""
        _, p90, p99 = self._percentiles_ms
        passes = 1e3 / self.median_ms
        return {
            **asdict(self.case),
            "engine": self.engine,
            "runs": len(self.times_ns),
            "total_ms": self.total_ms,
            "median_ms": self.median_ms,
            "p90_ms": p90,
            "p99_ms": p99,
            "first_ms": self.first_ns / 1e6,
            "passes_per_s": passes,
            "gflops": self.case.flops * passes / 1e9,
            "samples_per_s": self.case.batch * passes,
            "gbytes_per_s": self.case.traffic_bytes * passes / 1e9,
            "weight_bytes": self.case.weight_bytes,
            "limit": self.limit.name,
            "limit_ms": self.limit.seconds * 1e3,
            "limit_share": self.limit_share,
            "limit_gbytes_per_s": self.limit.read_bandwidth / 1e9,
            "limit_gflops": self.limit.flops / 1e9,
            "error": self.error,
            "allowed_error": self.allowed_error,
            "numpy_ratio": self.numpy_ratio,
            "peak_memory": self.peak_memory,
        }


@dataclass
class Results:
    """What a tool has to tell: filled while it runs."""

    plan: Plan
    environment: Mapping[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def total_ms(self) -> float:
        """The time of all runs of the plan's first engine."""
        return sum(m.total_ms for m in self.measurements if m.engine == self.plan.engines[0])

    def to_json(self) -> str:
        plan = self.plan
        document = {
            "schema": SCHEMA,
            "name": plan.name,
            "nepochs": plan.nepochs,
            "repeats": plan.repeats,
            "warmup": plan.warmup,
            "seed": plan.seed,
            "environment": dict(self.environment),
            "failures": self.failures,
            "results": [m.row() | {"times_ms": [t / 1e6 for t in m.times_ns]} for m in self.measurements],
        }
        return json.dumps(document, indent=1) + "\n"

    def to_csv(self) -> str:
        """The rows, without the single times; the fields of the environment are the same in each of them."""
        rows = [{"schema": SCHEMA, **m.row(), **self.environment} for m in self.measurements]
        return to_csv(rows)


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows`, which all have the same keys, as CSV with a header."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
