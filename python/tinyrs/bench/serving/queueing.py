"""Arrival times of a Poisson process, and the time that requests wait in an M/D/c queue.

M/D/c: Poisson arrivals, one service time for all requests, c servers, first come, first served.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Nanoseconds = npt.NDArray[np.int64]

# The number of requests in the system is followed up to where its distribution is this small.
_TAIL = 1e-10


def poisson_arrivals(rate: float, seconds: float, seed: int) -> Nanoseconds:
    """Arrival times in nanoseconds, sorted, of requests that come `rate` a second for `seconds`."""
    rng = np.random.default_rng(seed)
    # Six standard deviations more than are expected.
    count = int(rate * seconds + 6 * math.sqrt(rate * seconds) + 10)
    times = np.cumsum(rng.exponential(1 / rate, count))
    return (times[times < seconds] * 1e9).astype(np.int64)


def latencies(arrivals: Sequence[float], services: Sequence[float], servers: int) -> Floats:
    """The time of each request from its arrival to its answer, if `servers` servers work without a pause.

    `services` has the service time of each request, in the unit of `arrivals`, which are sorted.
    """
    free = [-math.inf] * servers
    found = np.empty(len(arrivals))
    for i, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        done = max(free[0], arrival) + service
        heapq.heapreplace(free, done)
        found[i] = done - arrival
    return found


def waiting_time(share: float, rate: float, service: float, servers: int) -> float:
    """The quantile `share` of the waiting time in an M/D/c queue, in the unit of `service`.

    `rate` is per that unit. Uses the distribution of Franx, "A simple solution for the M/D/c waiting time
    distribution", Operations Research Letters 29 (2001).

    Raises
    ------
    ValueError
        If the load, `rate * service / servers`, is not below 1.
    """
    if not 0 < rate * service < servers:
        raise ValueError(f"load: expected above 0 and below 1, got {rate * service / servers:g}")
    queued = np.cumsum(_in_system(rate * service, servers))[servers:]
    if queued[0] >= share and _distribution(0.0, rate, service, servers, queued) >= share:
        return 0.0
    low, high = 0.0, service
    while _distribution(high, rate, service, servers, queued) < share:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if _distribution(middle, rate, service, servers, queued) < share:
            low = middle
        else:
            high = middle
    return high


def _distribution(x: float, rate: float, service: float, servers: int, queued: Floats) -> float:
    """The probability of waiting at most `x`; `queued[j]` is that of a queue of at most j requests."""
    periods = math.floor(x / service) + 1
    mean = rate * (periods * service - x)
    counts = np.arange(periods * servers)
    weights = np.exp(counts * math.log(mean) - mean - _log_factorials(len(counts))) if mean > 0 else None
    probabilities = queued[np.minimum(counts[::-1], len(queued) - 1)]
    return float(probabilities[0] if weights is None else weights @ probabilities)


def _in_system(load: float, servers: int) -> Floats:
    """The probability of each number of requests in the system, where `load` arrive in a service time.

    Whatever is in service leaves within a service time, and what has arrived since is still there: from one
    service time to the next, n becomes max(n - servers, 0) plus a Poisson number.
    """
    size = _system_size(load, servers)
    counts = np.arange(size)
    arrived = np.exp(counts * math.log(load) - load - _log_factorials(size))
    step = np.zeros((size, size))
    for n in range(size):
        left = max(n - servers, 0)
        step[n, left:] = arrived[: size - left]
    # What the truncation cuts off stays in the last state.
    step[:, -1] += 1 - step.sum(axis=1)
    # The distribution that a step does not change, and whose sum is 1.
    equations = np.vstack([step.T - np.eye(size), np.ones(size)])
    right = np.zeros(size + 1)
    right[-1] = 1
    found, *_ = np.linalg.lstsq(equations, right, rcond=None)
    return np.maximum(np.asarray(found, np.float64), 0)


def _system_size(load: float, servers: int) -> int:
    """So many states that the rest has a probability of about _TAIL: the queue's tail is geometric."""
    # Kingman's bound for heavy traffic: waiting is exponential with mean load / (2 (1 - rho)) service times.
    rho = load / servers
    return int(servers + load + 10 * math.sqrt(load) + 20 - math.log(_TAIL) * rho / (2 * (1 - rho)))


def _log_factorials(count: int) -> Floats:
    """The logarithms of 0!, 1!, ... (count - 1)!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, max(count, 1))))])[:count]
