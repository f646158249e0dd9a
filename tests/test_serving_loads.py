"""Queries and requests on a clock that moves only when a call takes time or a worker sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tinyrs.bench.harness import Clock
from tinyrs.bench.serving import loads, queueing
from tinyrs.bench.serving.loads import Queue, Shift

MS = 1_000_000


class FakeTime:
    """A clock that calls and sleeps move."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.clock = Clock(wall_ns=self.read, sleep=self.sleep)

    def read(self) -> int:
        # Polling ends some time.
        self.now_ns += 10
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        # As late as a timer of Linux.
        self.now_ns += int(seconds * 1e9) + 80_000

    def call(self, milliseconds: Callable[[object], float]) -> Callable[[object], None]:
        def run(x: object) -> None:
            self.now_ns += int(MS * milliseconds(x))

        return run


@pytest.fixture
def queue_of(tmp_path: Path) -> Iterator[Callable[[list[float]], Queue]]:
    """Makes a queue of arrival times in milliseconds."""
    queues = list[Queue]()

    def create(arrivals_ms: list[float]) -> Queue:
        arrivals = (np.array(arrivals_ms) * MS).astype(np.int64)
        queues.append(Queue.create(tmp_path / f"queue{len(queues)}", arrivals))
        return queues[-1]

    yield create
    for queue in queues:
        queue.close()


def test_one_query_after_the_other_for_the_given_time() -> None:
    fake = FakeTime()
    times = loads.one_after_the_other(fake.call(lambda x: 1), range(3), 2.0, 5, fake.clock)
    assert sum(times) == pytest.approx(2e9, rel=0.02)
    assert set(times) == {MS + 10}


def test_slow_queries_go_on_until_there_are_enough() -> None:
    fake = FakeTime()
    assert len(loads.one_after_the_other(fake.call(lambda x: 100), [0], 0.01, 7, fake.clock)) == 7


def test_an_idle_worker_answers_a_request_as_soon_as_it_arrives(
    queue_of: Callable[[list[float]], Queue],
) -> None:
    fake = FakeTime()
    queue = queue_of([5.0 * i + 1 for i in range(5)])
    answers = loads.answer_requests(fake.call(lambda x: 1), [0], queue, Shift(0, 10**12), fake.clock)
    assert np.array(answers.begun) / MS == pytest.approx(np.array(answers.due) / MS, abs=0.001)


def test_what_waits_in_the_queue_counts(queue_of: Callable[[list[float]], Queue]) -> None:
    """A request that stalls for 100 ms delays those that arrive meanwhile: no coordinated omission."""
    fake = FakeTime()
    arrivals = [10.0 * i for i in range(20)]
    call = fake.call(lambda x: 100 if x == 3 else 1)
    answers = loads.answer_requests(call, range(20), queue_of(arrivals), Shift(0, 10**12), fake.clock)
    latencies = (np.array(answers.done) - answers.due) / MS
    services = (np.array(answers.done) - answers.begun) / MS
    assert services[:5] == pytest.approx([1, 1, 1, 100, 1], abs=0.01)
    expected = queueing.latencies(arrivals, [100.0 if i == 3 else 1.0 for i in range(20)], 1)
    assert latencies == pytest.approx(expected, abs=0.2)
    # Measured from when the worker was ready for them, nineteen of twenty would have taken 1 ms.
    assert (latencies > 10).sum() == 11


def test_workers_never_begin_before_a_request_arrives(queue_of: Callable[[list[float]], Queue]) -> None:
    fake = FakeTime()
    shift = Shift(5 * MS, 10**12)
    answers = loads.answer_requests(fake.call(lambda x: 1), [0], queue_of([0.0, 50.0]), shift, fake.clock)
    assert answers.due == [0, 50 * MS]
    begun = np.array(answers.begun) / MS
    assert (begun >= [0, 50]).all()
    assert begun == pytest.approx([0, 50], abs=0.01)


def test_workers_give_up_at_the_end(queue_of: Callable[[list[float]], Queue]) -> None:
    fake = FakeTime()
    shift = Shift(0, 95 * MS)
    answers = loads.answer_requests(fake.call(lambda x: 10), [0], queue_of([1.0] * 100), shift, fake.clock)
    assert len(answers.done) == 10


def test_workers_share_a_queue(queue_of: Callable[[list[float]], Queue]) -> None:
    """Each request is answered once, by whichever worker is free."""
    queue, found, lock = queue_of([float(i) for i in range(3000)]), list[int](), threading.Lock()

    def take() -> None:
        mine = list[int]()
        while (due := queue.next()) is not None:
            mine.append(due)
        assert mine == sorted(mine)
        with lock:
            found.extend(mine)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [i * MS for i in range(3000)]
