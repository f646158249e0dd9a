"""The highest rate of requests at which the 99th percentile stays under a deadline.

As MLPerf does: bisection with short runs, then a run of full length at the rate found, at a slightly lower
one if that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinyrs.bench import environment
from tinyrs.bench.serving import verdict
from tinyrs.bench.serving.models import Subject
from tinyrs.bench.serving.outcomes import Outcome
from tinyrs.bench.serving.scenarios import run_server
from tinyrs.bench.serving.settings import Settings

_STEPS = 7
_PROBE_S = 1.0
# The rate of the first probe, which shows how long a request takes.
_FIRST_RATE = 800.0
_BACK_OFF, _ATTEMPTS = 0.93, 4


def highest_rate(meets: Callable[[float], bool], high: float, steps: int = _STEPS) -> float | None:
    """The highest rate below `high` that meets the deadline, to about high / 2**steps; None if none does."""
    low = None
    bottom = 0.0
    for _ in range(steps):
        middle = (bottom + high) / 2
        if meets(middle):
            low = bottom = middle
        else:
            high = middle
    return low


def run(subject: Subject, settings: Settings) -> Outcome:
    """Measures server at the highest rate that meets `settings.slo_us`. Raises WorkerError."""
    assert settings.slo_us is not None
    # Probes are short: only the deadline counts in them.
    deadline = settings.slo_us

    def probe(rate: float) -> Outcome:
        return run_server(subject, replace(settings, slo_us=None), rate, _PROBE_S)

    def meets(rate: float) -> bool:
        outcome = probe(rate)
        overloaded = any(reason.startswith("overloaded") for reason in outcome.reasons)
        enough = outcome.queries >= verdict.min_queries(0.99)
        return enough and not overloaded and verdict.upper_percentile(outcome.latency_us, 0.99) <= deadline

    service_s = float(probe(_FIRST_RATE).service_us.mean()) / 1e6
    workers = settings.workers or environment.usable_cores()
    rate = highest_rate(meets, workers / service_s)
    if rate is None:
        # No rate will do: shows by how much the deadline is missed with hardly any load.
        return run_server(subject, settings, workers / service_s / 2**_STEPS, settings.seconds)
    for _ in range(_ATTEMPTS):
        outcome = run_server(subject, settings, rate, settings.seconds)
        if not any(reason.startswith(("deadline", "overloaded")) for reason in outcome.reasons):
            break
        rate *= _BACK_OFF
    return outcome
