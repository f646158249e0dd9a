"""Makes queries: one after the other, or at given arrival times by several workers.

The workers share a queue, a file of arrival times: each reads the next one when it has answered the last, so
requests are answered first come, first served. A latency is counted from the arrival time in the file, not
from when a worker took the request: what waits in the queue counts.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tinyrs.bench.harness import Clock, time_calls
from tinyrs.bench.serving.queueing import Nanoseconds

Call = Callable[[Any], object]

# A worker sleeps until so long before an arrival, then polls the clock: Linux wakes it about 0.05 ms late.
_POLL_NS = 150_000
_NUMBER_BYTES = 8


def one_after_the_other(
    call: Call, inputs: Sequence[Any], seconds: float, min_queries: int, clock: Clock
) -> list[int]:
    """The nanoseconds of each call, for at least `seconds` and at least `min_queries` calls."""
    times = list[int]()
    queries, per_turn = cycle(inputs), 1
    start = clock.wall_ns()
    while len(times) < min_queries or clock.wall_ns() - start < seconds * 1e9:
        times += time_calls(call, islice(queries, per_turn), clock)
        # A turn is about a hundredth of the measurement: the clock is read rarely between turns.
        mean = (clock.wall_ns() - start) / len(times)
        per_turn = max(1, min(int(seconds * 1e7 / mean) if mean else 1, 2 * per_turn))
    return times


class Queue:
    """The arrival times that the workers share. Several processes use it through the same open file."""

    def __init__(self, file: int) -> None:
        self.file = file

    @classmethod
    def create(cls, path: Path, arrivals: Nanoseconds) -> Queue:
        """Writes the arrival times to a new file, and opens it."""
        path.write_bytes(arrivals.astype("<i8").tobytes())
        return cls(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))

    def next(self) -> int | None:
        """The next arrival time in nanoseconds; None after the last. The kernel hands out each once."""
        number = os.read(self.file, _NUMBER_BYTES)
        return int.from_bytes(number, "little", signed=True) if number else None

    def close(self) -> None:
        os.close(self.file)


@dataclass
class Answers:
    """When requests were due, and begun and done, in nanoseconds since the start; of one or more workers."""

    due: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Shift:
    """From when arrival times count, and when to stop even if requests are left, by the worker's clock."""

    start_ns: int
    end_ns: int


def answer_requests(call: Call, inputs: Sequence[Any], queue: Queue, shift: Shift, clock: Clock) -> Answers:
    """Answers the requests that a worker gets from the queue."""
    answers, now, rows, start_ns = Answers(), clock.wall_ns, cycle(inputs), shift.start_ns
    while (due := queue.next()) is not None:
        wait_until(start_ns + due, clock)
        begun = now()
        if begun >= shift.end_ns:
            break
        call(next(rows))
        done = now()
        answers.due.append(due)
        answers.begun.append(begun - start_ns)
        answers.done.append(done - start_ns)
    return answers


def wait_until(deadline_ns: int, clock: Clock) -> None:
    """Returns when the clock shows `deadline_ns`, at once if that is past."""
    while (left := deadline_ns - clock.wall_ns()) > 0:
        if left > _POLL_NS:
            clock.sleep((left - _POLL_NS) / 1e9)
        else:
            _let_other_threads_run()


def _let_other_threads_run() -> None:
    """Releases the GIL for an instant."""
    if os.name == "nt":
        time.sleep(0)
    else:
        # Not time.sleep(0): Python 3.11 makes it a timer of Linux, which returns 0.08 ms later.
        select.select((), (), (), 0)
