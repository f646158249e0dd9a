"""What makes a measurement valid, and percentiles at 99 % confidence.

The rules are those of MLPerf Inference's LoadGen, with a shorter least duration, and a test for noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

CONFIDENCE = 0.99
# MLPerf asks for 600 seconds; this is for a person who waits.
MIN_SECONDS = 10.0
# MLPerf's least number of rows of the job in offline.
MIN_ROWS = 24_576
# A measurement is cut into so many parts, whose medians may differ by no more than _DRIFT.
_PARTS, _DRIFT = 10, 0.25
# The share of its time that a worker may wait for a core while it could run.
_WAITING = 0.05


@dataclass(frozen=True)
class Measured:
    """What the verdict looks at.

    Attributes
    ----------
    seconds : float
        From the start of the first query to the end of the last.
    service_us : array, (queries,)
        The time in which each query was computed, in the order of their arrival.
    latency_us : array, (queries,)
        The time from when each query was due to its answer.
    waiting_share : float or None
        The share of its time that a worker waited for a core; None if the system does not tell.
    late_s : float
        In server, how long after the last arrival the last answer came.
    """

    seconds: float
    service_us: Times
    latency_us: Times
    waiting_share: float | None = None
    late_s: float = 0.0


@dataclass(frozen=True)
class Rules:
    """What a scenario asks of a measurement. `percentile` None stands for a rate without a percentile."""

    percentile: float | None
    min_seconds: float = MIN_SECONDS
    deadline_us: float | None = None
    rate: float | None = None
    # The noise of company that was asked for is no fault.
    company: bool = False


def reasons(measured: Measured, rules: Rules) -> list[str]:
    """Why a measurement is invalid; empty if it is valid."""
    found, count = [], len(measured.latency_us)
    # A job of given length may end a little early by the clock.
    if measured.seconds < 0.99 * rules.min_seconds:
        found.append(f"too short: {measured.seconds:.3g} s, expected at least {rules.min_seconds:g} s")
    if rules.percentile is not None and count < min_queries(rules.percentile):
        found.append(
            f"too few queries: {count}, expected at least {min_queries(rules.percentile)} for the "
            f"{ordinal(rules.percentile)} percentile"
        )
    elif rules.percentile is not None and rules.deadline_us is not None:
        bound = upper_percentile(measured.latency_us, rules.percentile)
        if bound > rules.deadline_us:
            found.append(
                f"deadline missed: {ordinal(rules.percentile)} percentile {_us(bound)}, expected at most "
                f"{_us(rules.deadline_us)}"
            )
    if rules.rate is not None and measured.late_s > 0.05 * measured.seconds:
        found.append(
            f"overloaded: the last answer came {measured.late_s:.3g} s after the last request: the workers "
            f"do not keep up with {rules.rate:,.0f} requests a second"
        )
    elif not rules.company:
        found += _noise(measured)
    return found


def _noise(measured: Measured) -> list[str]:
    """Why the machine was too noisy; at most one reason."""
    waiting, drift = measured.waiting_share, _drift(measured.service_us)
    if waiting is not None and waiting > _WAITING:
        return [
            f"noisy machine: a worker waited for a core {waiting:.0%} of the time, expected at most "
            f"{_WAITING:.0%}"
        ]
    if drift > _DRIFT:
        return [
            f"noisy machine: the median time of a query differed by {drift:.0%} between tenths of the "
            f"measurement, expected at most {_DRIFT:.0%}"
        ]
    return []


def _drift(times: Times) -> float:
    """How much the largest median of a tenth of the queries exceeds the smallest."""
    if len(times) < 3 * _PARTS:
        return 0.0
    medians = [float(np.median(part)) for part in np.array_split(times, _PARTS)]
    return max(medians) / min(medians) - 1 if min(medians) > 0 else 0.0


def upper_percentile(times: npt.ArrayLike, percentile: float) -> float:
    """A time that the true percentile (0 to 1) exceeds with a probability of at most 1 %.

    This is the early-stopping estimate of LoadGen: the largest times that may be ignored are so few that more
    would be above the percentile with a probability of 99 %. The plain percentile of few times is too low
    half of the time.

    Raises
    ------
    ValueError
        If there are fewer than `min_queries` times.
    """
    ordered = np.sort(np.asarray(times, float))
    ignored = _ignored(len(ordered), percentile)
    if ignored < 1:
        least = min_queries(percentile)
        raise ValueError(f"times: expected at least {least}, got {len(ordered)}")
    return float(ordered[-1 - ignored])


@cache
def min_queries(percentile: float) -> int:
    """The fewest queries of which the slowest may be ignored: 64 of the 90th percentile, 662 of the 99th."""
    count = 2
    while _ignored(count, percentile) < 1:
        count += 1
    return count


def _ignored(count: int, percentile: float) -> int:
    """The largest number of queries that is improbable (at most 1 %) to be above the percentile."""
    from scipy import special

    # The binomial distribution: P(at most k of `count` are above).
    ignored = int(special.bdtrik(1 - CONFIDENCE, count, 1 - percentile)) if count else -1
    while special.bdtr(ignored, count, 1 - percentile) > 1 - CONFIDENCE:
        ignored -= 1
    return ignored


def _us(microseconds: float) -> str:
    return f"{microseconds:,.0f} us" if microseconds >= 1000 else f"{microseconds:.4g} us"


def ordinal(percentile: float) -> str:
    """0.99 as "99th"."""
    return f"{100 * percentile:g}th"


def percentiles(times: Sequence[float] | Times) -> tuple[float, float, float]:
    """The median, the 90th and the 99th percentile."""
    median, p90, p99 = np.percentile(times, (50, 90, 99))
    return float(median), float(p90), float(p99)
