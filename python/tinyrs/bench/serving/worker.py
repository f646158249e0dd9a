"""What runs in the processes of the workers: loads a model, says that it is ready, measures when it is told.

The last message is a dictionary; see `Report`. Only `scenarios` starts these functions.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinyrs.bench.harness import Clock, no_garbage_collection, warm_up
from tinyrs.bench.isolated import Channel
from tinyrs.bench.serving import settings, verdict
from tinyrs.bench.serving.loads import Queue, Shift, answer_requests, one_after_the_other
from tinyrs.bench.serving.models import Loaded
from tinyrs.bench.serving.rows import repeated
from tinyrs.tuning import basic_metrics

READY = "ready"
_WARM_UP_S = 0.2
# More rows than these would only fill the memory; accuracy is measured on all.
_TIMED_ROWS = 4096
_RUN_DELAY = Path("/proc/thread-self/schedstat")


@dataclass
class Report:
    """What a worker has measured.

    Attributes
    ----------
    due, begun, done : list of int
        For each query, nanoseconds since the start. Without arrival times, a query is due when it begins.
    seconds : float
        The length of the measurement.
    rows : int
        The rows of a query.
    waiting_share : float or None
        The share of the time that a worker waited for a core; None if the system does not tell.
    """

    due: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    seconds: float = 0.0
    rows: int = 1
    waiting_share: float | None = None


def measure_streams(
    channel: Channel, subject: Sequence[Any], scenario: str, options: dict[str, Any]
) -> object:
    """Measures offline, single_stream or multi_stream; returns the fields of a `Report`."""
    model, clock = _load(subject), Clock()
    timed = model.rows[:_TIMED_ROWS]
    if scenario == settings.SINGLE:
        call, inputs, rows = model.one, timed, 1
    else:
        threads = options["threads"]
        if scenario == settings.OFFLINE:
            chosen = repeated(timed, verdict.MIN_ROWS)
            inputs, rows = [model.table(chosen)], len(chosen)
        else:
            rows = options["streams"]
            chosen = repeated(timed, rows + len(timed))
            starts = range(0, len(timed), rows)
            inputs = [model.table(chosen[start : start + rows]) for start in starts]

        def call(table: Any) -> object:
            return model.many(table, threads)

    warm_up(call, inputs, _WARM_UP_S, clock)
    channel.send(READY)
    channel.receive()
    with no_garbage_collection():
        waited, start = _run_delay_ns(), clock.wall_ns()
        times = one_after_the_other(call, inputs, options["seconds"], options["queries"], clock)
        elapsed = clock.wall_ns() - start
        share = _share(waited, elapsed)
    done = np.cumsum(times).tolist()
    begun = [end - time for end, time in zip(done, times, strict=True)]
    return asdict(Report(begun, begun, done, elapsed / 1e9, rows, share))


def measure_server(
    channel: Channel, subject: Sequence[Any], file: int, n_threads: int, first_row: int
) -> object:
    """Answers requests of the open `file` with `n_threads` threads; returns the fields of a `Report`.

    The start signal is a `Shift`, by the clock of `time.perf_counter_ns`, which all processes share.
    """
    model, clock, queue = _load(subject), Clock(), Queue(file)
    # Each worker starts with another row.
    rows = model.rows[:_TIMED_ROWS]
    rows = [*rows[first_row % len(rows) :], *rows[: first_row % len(rows)]]
    warm_up(model.one, rows, _WARM_UP_S, clock)
    channel.send(READY)
    shift = Shift(*channel.receive())
    report, lock, shares = Report(), threading.Lock(), list[float | None]()

    def answer() -> None:
        waited, begin = _run_delay_ns(), clock.wall_ns()
        answers = answer_requests(model.one, rows, queue, shift, clock)
        share = _share(waited, clock.wall_ns() - begin)
        with lock:
            report.due += answers.due
            report.begun += answers.begun
            report.done += answers.done
            shares.append(share)

    with no_garbage_collection():
        others = [threading.Thread(target=answer) for _ in range(n_threads - 1)]
        for thread in others:
            thread.start()
        answer()
        for thread in others:
            thread.join()
    report.seconds = max(report.done, default=0) / 1e9
    # Threads of one process wait for its lock, not for a core.
    report.waiting_share = shares[0] if n_threads == 1 else None
    return asdict(report)


def measure_accuracy(channel: Channel, subject: Sequence[Any]) -> object:
    """Error and log loss of the model on its rows, which have labels."""
    model = _load(subject)
    p, targets = np.asarray(model.many(model.table(model.rows), None)), np.asarray(model.targets)
    accuracy = basic_metrics.accuracy(targets, p)
    return {"error": 1 - accuracy, "log_loss": basic_metrics.log_loss(targets, p), "rows": len(targets)}


def _load(subject: Sequence[Any]) -> Loaded:
    loader, arguments = subject
    module, _, function = loader.partition(":")
    loaded: Loaded = getattr(importlib.import_module(module), function)(*arguments)
    return loaded


def _run_delay_ns() -> int | None:
    """How long this thread has waited for a core while it could run; None if the system does not tell."""
    try:
        return int(_RUN_DELAY.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _share(waited_before: int | None, elapsed_ns: int) -> float | None:
    waited = _run_delay_ns()
    if waited is None or waited_before is None or elapsed_ns <= 0:
        return None
    return (waited - waited_before) / elapsed_ns
