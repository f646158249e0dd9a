"""The results: of a scenario, and of a model; costs, and the models that no other model beats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.bench.config import Cost
from tinyrs.bench.results import SCHEMA, to_csv
from tinyrs.bench.serving import settings, verdict
from tinyrs.bench.serving.settings import Settings

Times = npt.NDArray[np.float64]

VALID, INVALID = "VALID", "INVALID"
# The bins of a histogram of latencies, for each power of ten of a microsecond.
_BINS_PER_DECADE = 20


@dataclass(frozen=True)
class Outcome:
    """What a scenario has measured.

    Attributes
    ----------
    scenario : str
    reasons : tuple of str
        Why the measurement is invalid; empty if it is valid.
    seconds : float
    queries, rows : int
        How many queries, and how many rows in all.
    latency_us, service_us : array, (queries,)
        The time of each query from when it was due, and without waiting in the queue.
    qps, deadline_us : float or None
        The rate of requests and the deadline in server.
    workers : int
    joules : float or None
        The energy of the whole machine meanwhile; None if it cannot be read.
    """

    scenario: str
    reasons: tuple[str, ...]
    seconds: float
    queries: int
    rows: int
    latency_us: Times = field(repr=False, compare=False)
    service_us: Times = field(repr=False, compare=False)
    qps: float | None = None
    deadline_us: float | None = None
    workers: int = 1
    joules: float | None = None

    @property
    def verdict(self) -> str:
        return INVALID if self.reasons else VALID

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds

    def row(self) -> dict[str, Any]:
        """The fields as JSON values, without the time of each query."""
        p50, p90, p99 = verdict.percentiles(self.latency_us)
        enough = self.queries >= verdict.min_queries(0.99)
        return {
            "scenario": self.scenario,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "seconds": self.seconds,
            "queries": self.queries,
            "rows": self.rows,
            "rows_per_s": self.rows_per_s,
            "median_us": p50,
            "p90_us": p90,
            "p99_us": p99,
            "p99_bound_us": verdict.upper_percentile(self.latency_us, 0.99) if enough else None,
            "mean_service_us": float(self.service_us.mean()),
            "qps": self.qps,
            "deadline_us": self.deadline_us,
            "workers": self.workers,
            "joules_per_million": self.joules and self.joules / self.rows * 1e6,
        }


@dataclass(frozen=True)
class Result:
    """A model and its outcomes.

    `accuracy` has "error", "log_loss" and the number of "rows"; it is None without labels.
    """

    model: str
    size: int | None
    training_s: float | None
    outcomes: tuple[Outcome, ...]
    accuracy: Mapping[str, float] | None = None

    def outcome(self, scenario: str) -> Outcome | None:
        return next((outcome for outcome in self.outcomes if outcome.scenario == scenario), None)

    def rows(self, cost: Cost | None) -> list[dict[str, Any]]:
        """The fields of each outcome, with those of the model."""
        accuracy = self.accuracy or {}
        training = None if cost is None or self.training_s is None else cost.of_seconds(self.training_s)
        return [
            {
                "model": self.model,
                **outcome.row(),
                "error": accuracy.get("error"),
                "log_loss": accuracy.get("log_loss"),
                "size": self.size,
                "training_s": self.training_s,
                **costs(outcome, cost),
                **({} if cost is None else {"training_cost": training}),
            }
            for outcome in self.outcomes
        ]


def costs(outcome: Outcome, cost: Cost | None) -> dict[str, Any]:
    """What a million rows cost on a machine that is always busy with them, and at the given utilisation."""
    if cost is None:
        return {}
    busy = cost.per_million(outcome.rows_per_s)
    return {
        "currency": cost.price.currency,
        "price_date": cost.price.date,
        "per_million": busy,
        "per_million_utilised": busy / cost.utilisation,
    }


@dataclass
class Served:
    """The results of a run; filled while it runs."""

    settings: Settings
    environment: Mapping[str, Any]
    rows_origin: str = ""
    name: str | None = None
    cost: Cost | None = None
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        return [row for result in self.results for row in result.rows(self.cost)]

    def document(self) -> dict[str, Any]:
        """The results as JSON values; of the time of each query, a histogram."""
        histograms = [histogram(outcome.latency_us) for r in self.results for outcome in r.outcomes]
        return {
            "schema": SCHEMA,
            "kind": "serving",
            "name": self.name,
            "settings": {**asdict(self.settings), "company": str(self.settings.company)},
            "rows_origin": self.rows_origin,
            "environment": dict(self.environment),
            "price": self.cost and vars(self.cost.price),
            "utilisation": self.cost and self.cost.utilisation,
            "failures": self.failures,
            "results": [
                row | {"latency_histogram": counts}
                for row, counts in zip(self.rows(), histograms, strict=True)
            ],
        }

    def to_json(self) -> str:
        return json.dumps(self.document(), indent=1) + "\n"

    def to_csv(self) -> str:
        """One row for each outcome."""
        rows = [{**row, "reasons": "; ".join(row["reasons"])} for row in self.rows()]
        return to_csv([{"schema": SCHEMA, **row, **self.environment} for row in rows])


def histogram(latency_us: Times) -> dict[str, list[float]]:
    """Counts of latencies in bins of equal width on a logarithmic axis: "edges_us" has one more value."""
    low = np.floor(np.log10(latency_us.min()) * _BINS_PER_DECADE)
    high = max(np.ceil(np.log10(latency_us.max()) * _BINS_PER_DECADE), low + 1)
    edges = 10 ** (np.arange(low, high + 1) / _BINS_PER_DECADE)
    # The first and last value lie on an edge up to rounding.
    counts, _ = np.histogram(np.clip(latency_us, edges[0], edges[-1]), edges)
    return {"edges_us": edges.tolist(), "counts": counts.tolist()}


@dataclass(frozen=True)
class Point:
    """What a buyer compares; less is better in every field. None if it was not measured."""

    model: str
    error: float | None
    p99_us: float | None
    cost: float | None
    size: float | None

    @property
    def known(self) -> dict[str, float]:
        values = {name: value for name, value in vars(self).items() if name != "model"}
        return {name: value for name, value in values.items() if value is not None}

    def beats(self, other: Point) -> bool:
        """Whether this is nowhere worse, and somewhere better, in what both have measured."""
        both = [(value, other.known[name]) for name, value in self.known.items() if name in other.known]
        return all(mine <= its for mine, its in both) and any(mine < its for mine, its in both)


def points(served: Served) -> list[Point]:
    """The error, the 99th percentile of one row, the cost of a million rows offline and the size of each."""
    found = []
    for result in served.results:
        single, offline = result.outcome(settings.SINGLE), result.outcome(settings.OFFLINE)
        per_million = costs(offline, served.cost).get("per_million_utilised") if offline else None
        found.append(
            Point(
                result.model,
                result.accuracy["error"] if result.accuracy else None,
                verdict.percentiles(single.latency_us)[2] if single else None,
                per_million,
                result.size,
            )
        )
    return found


def front(candidates: Sequence[Point]) -> list[Point]:
    """The models that no other beats, in the given order."""
    return [point for point in candidates if not any(other.beats(point) for other in candidates)]
