"""The latency of one model in this process: the percentiles of single calls, one after the other.

measure(predictor.predict_one, rows)         # rows as lists or dicts
measure(predictor.predict_proba, batches)    # arrays or data frames of some rows each
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from tinyrs.bench.harness import Clock, no_garbage_collection, time_calls, warm_up

# With fewer calls, fewer than seven would lie above the 99th percentile.
MIN_CALLS = 700
_WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Latency:
    """Percentiles of the time of a call in microseconds, from `calls` calls.

    The time of reading the clock once, about 0.04 us, is part of each.
    """

    calls: int
    p50_us: float
    p90_us: float
    p99_us: float

    @classmethod
    def of(cls, times_ns: Sequence[int]) -> Latency:
        """The percentiles of `times_ns`, linearly interpolated."""
        return cls(len(times_ns), *(float(p) / 1e3 for p in np.percentile(times_ns, (50, 90, 99))))


def measure(
    call: Callable[[Any], object],
    inputs: Sequence[Any],
    *,
    seconds: float = 0.5,
    min_calls: int = MIN_CALLS,
    clock: Clock | None = None,
) -> Latency:
    """Times calls of `call` with one of `inputs` after the other, from the first again after the last.

    Parameters
    ----------
    call : callable
        A method of a model, such as `Predictor.predict_one`. Check its answers first.
    inputs : sequence
        What `call` takes; at least one.
    seconds : float
        How long to measure. Before that, `call` runs unmeasured for a tenth of this time.
    min_calls : int
        Measures at least this many calls, even if they take longer than `seconds`.
    clock : Clock, optional
        For tests.

    Raises
    ------
    ValueError
        If there are no inputs.
    """
    clock = clock or Clock()
    mean = warm_up(call, inputs, _WARM_UP_SHARE * seconds, clock)
    count = max(min_calls, int(seconds / mean) if mean > 0 else 0)
    with no_garbage_collection():
        return Latency.of(time_calls(call, islice(cycle(inputs), count), clock))
