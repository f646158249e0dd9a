"""The latency of single calls, on a clock that the calls move."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
from tinyrs.bench import latency
from tinyrs.bench.harness import Clock


class FakeTime:
    """A clock that moves only when a call takes time."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.clock = Clock(wall_ns=lambda: self.now_ns)

    def call(self, microseconds: Callable[[object], float]) -> Callable[[object], None]:
        """A call that takes the given time for its input."""

        def run(x: object) -> None:
            self.now_ns += int(1000 * microseconds(x))

        return run


def test_percentiles_are_those_of_the_calls() -> None:
    fake = FakeTime()
    # 98 of 100 calls take 10 us, the others 50 us.
    call = fake.call(lambda x: 50 if x in (7, 60) else 10)
    found = latency.measure(call, range(100), seconds=0.108, clock=fake.clock)
    assert (found.p50_us, found.p90_us, found.p99_us) == (10, 10, 50)
    assert found.calls == pytest.approx(10_000, rel=0.02)


def test_slow_calls_are_repeated_until_the_99th_percentile_means_something() -> None:
    fake = FakeTime()
    found = latency.measure(fake.call(lambda x: 1e6), [0], seconds=0.5, clock=fake.clock)
    assert found.calls == latency.MIN_CALLS
    assert latency.measure(fake.call(lambda x: 1e6), [0], min_calls=3, clock=fake.clock).calls == 3


def test_the_first_calls_are_not_measured() -> None:
    fake, seen = FakeTime(), list[object]()

    def slow_at_first(x: object) -> None:
        fake.now_ns += 1_000_000 if len(seen) < 5 else 1_000
        seen.append(x)

    found = latency.measure(slow_at_first, [0], seconds=0.05, clock=fake.clock)
    assert found.p99_us == 1


def test_the_garbage_collector_waits() -> None:
    assert gc.isenabled()
    states = set[bool]()
    latency.measure(lambda x: states.add(gc.isenabled()), [0], seconds=0.0, min_calls=2)
    # On in the warm-up, off while calls are timed.
    assert states == {True, False}
    assert gc.isenabled()


def test_no_inputs() -> None:
    with pytest.raises(ValueError, match="expected at least one input to warm up with, got none"):
        latency.measure(lambda x: None, [])


def test_of_a_sequence_of_times() -> None:
    found = latency.Latency.of(np.arange(1, 101).tolist())
    assert found.calls == 100
    assert found.p50_us == pytest.approx(0.0505)
