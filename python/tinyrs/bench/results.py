"""The schema of the results of all tools: measurements, derived values, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from tinyrs.bench.config import Case, Cost, Plan
from tinyrs.bench.harness import Percentiles

# Increased when a field changes its meaning or is removed, or when a tool needs a new one, as 3 for `turns`.
SCHEMA = 3


@dataclass(frozen=True)
class Limit:
    """The least time in which this machine could do a pass, from its measured bandwidth and arithmetic peak.

    `name` is the bottleneck: "memory" if the weights do not fit in the private caches, "cache" if they do,
    "arithmetic" if computing takes longer than reading.
    """

    name: str
    seconds: float
    read_bandwidth: float  # bytes per second
    flops: float  # operations per second on numbers of the precision


@dataclass(frozen=True)
class Measurement:
    """The times of one engine on one case, with the error of its verified answer.

    `times_ns` has the time of each timed call, `passes` the number of passes that the call computed: 1,
    except in training, where one call of `fit` makes many steps. `turns` has the number of calls of each
    turn.
    """

    case: Case
    engine: str
    first_ns: int
    times_ns: tuple[int, ...]
    passes: tuple[int, ...]
    turns: tuple[int, ...]
    error: float
    allowed_error: float
    limit: Limit
    peak_memory: int | None
    numpy_ratio: float | None = None

    @property
    def total_ms(self) -> float:
        return sum(self.times_ns) / 1e6

    @property
    def mean_ms(self) -> float:
        """The mean time of a pass."""
        return self.total_ms / sum(self.passes)

    @cached_property
    def percentiles(self) -> Percentiles | None:
        """The percentiles of the passes; None if not every pass was timed by itself."""
        return Percentiles.of(self.times_ns) if set(self.passes) == {1} else None

    @property
    def pass_ms(self) -> float:
        """The typical time of a pass: the median, or the mean if not every pass was timed by itself."""
        return self.mean_ms if self.percentiles is None else self.percentiles.median_ms

    @property
    def limit_share(self) -> float:
        """The limit of the machine divided by the typical time of a pass: 1 is the best possible."""
        return self.limit.seconds * 1e3 / self.pass_ms

    def row(self) -> dict[str, Any]:
        """The fields of a result, in the order of the columns. Rates are computed from `pass_ms`."""
        passes, percentiles = 1e3 / self.pass_ms, self.percentiles
        return {
            **asdict(self.case),
            "engine": self.engine,
            "runs": sum(self.passes),
            "total_ms": self.total_ms,
            "mean_ms": self.mean_ms,
            "median_ms": percentiles and percentiles.median_ms,
            "p90_ms": percentiles and percentiles.p90_ms,
            "p99_ms": percentiles and percentiles.p99_ms,
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
    """The results of a run; filled while it runs."""

    plan: Plan
    environment: Mapping[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def total_ms(self) -> float:
        """The total time of all passes of the plan's first engine."""
        return sum(m.total_ms for m in self.measurements if m.engine == self.plan.engines[0])

    def rows(self) -> list[dict[str, Any]]:
        """The fields of each result; with a price also what a million samples cost."""
        return [m.row() | cost_fields(m, self.plan.cost) for m in self.measurements]

    def to_json(self) -> str:
        """The results as JSON, with the time of each timed call and its number of passes."""
        plan, cost = self.plan, self.plan.cost
        document = {
            "schema": SCHEMA,
            "name": plan.name,
            "nepochs": plan.nepochs,
            "repeats": plan.repeats,
            "warmup": plan.warmup,
            "seed": plan.seed,
            "environment": dict(self.environment),
            "price": cost and vars(cost.price),
            "utilisation": cost and cost.utilisation,
            "failures": self.failures,
            "results": [
                row
                | {
                    "times_ms": [t / 1e6 for t in m.times_ns],
                    "passes": list(m.passes),
                    "turns": list(m.turns),
                }
                for m, row in zip(self.measurements, self.rows(), strict=True)
            ],
        }
        return json.dumps(document, indent=1) + "\n"

    def to_csv(self) -> str:
        """The results as CSV, one row per measurement, each with the fields of the environment."""
        rows = [{"schema": SCHEMA, **row, **self.environment} for row in self.rows()]
        return to_csv(rows)


def cost_fields(measurement: Measurement, cost: Cost | None) -> dict[str, Any]:
    """What a million samples cost on a machine that is always busy, and at the given utilisation."""
    if cost is None:
        return {}
    busy = cost.per_million(measurement.case.batch * 1e3 / measurement.pass_ms)
    return {
        "currency": cost.price.currency,
        "per_million": busy,
        "per_million_utilised": busy / cost.utilisation,
    }


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows` as CSV with a header; all rows have the same keys."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
