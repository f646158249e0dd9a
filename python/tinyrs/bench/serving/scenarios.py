"""Runs one scenario of one model, with its workers and companions, and judges it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyrs.bench import environment
from tinyrs.bench.isolated import Worker, run
from tinyrs.bench.serving import settings as names
from tinyrs.bench.serving import verdict, worker
from tinyrs.bench.serving.companions import busy_processes
from tinyrs.bench.serving.energy import Meter
from tinyrs.bench.serving.loads import Queue
from tinyrs.bench.serving.models import Subject
from tinyrs.bench.serving.outcomes import Outcome
from tinyrs.bench.serving.queueing import poisson_arrivals
from tinyrs.bench.serving.settings import Settings
from tinyrs.bench.serving.verdict import Measured, Rules
from tinyrs.bench.serving.worker import Report

# A worker that has not loaded its model after this time has failed.
_LOADING_S = 300.0
# The number of random arrivals in a given time may be a little lower than expected.
_MARGIN = 1.2
# From the start signal to the first arrival.
_START_S = 0.05


def run_streams(subject: Subject, scenario: str, settings: Settings) -> Outcome:
    """Measures offline, single_stream or multi_stream. Raises WorkerError."""
    percentile = None if scenario == names.OFFLINE else 0.99
    options = {
        "seconds": settings.seconds,
        "queries": 1 if percentile is None else verdict.min_queries(percentile),
        "streams": settings.streams,
        "threads": settings.threads,
    }
    arguments = (_spec(subject), scenario, options)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(f"{worker.__name__}:measure_streams", *arguments))
            for _ in range(settings.company.copies)
        ]
        meter = _begin(stack, workers, settings)
        for process in workers:
            process.send("start")
        reports = [Report(**process.receive(_LOADING_S + 3 * settings.seconds)) for process in workers]
        joules = meter.joules()
    rules = Rules(percentile, company=not settings.company.alone)
    return _outcome(scenario, reports, rules, replace(settings, workers=1), joules)


def run_server(subject: Subject, settings: Settings, qps: float, seconds: float) -> Outcome:
    """Measures server at the rate `qps`, for `seconds` or until there are enough requests for a p99.

    Raises WorkerError.
    """
    seconds = max(seconds, _MARGIN * verdict.min_queries(0.99) / qps)
    count = settings.workers or environment.usable_cores()
    threads = settings.kind == "threads"
    end_ns = int(2 * seconds * 1e9)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers, last_arrivals = list[Worker](), list[float]()
        for copy in range(settings.company.copies):
            arrivals = poisson_arrivals(qps, seconds, settings.seed + copy)
            queue = Queue.create(folder / f"arrivals{copy}", arrivals)
            stack.callback(queue.close)
            last_arrivals.append(arrivals[-1] / 1e9 if len(arrivals) else 0.0)
            for number in range(1 if threads else count):
                arguments = (_spec(subject), queue.file, count if threads else 1, number)
                target = f"{worker.__name__}:measure_server"
                workers.append(stack.enter_context(Worker(target, *arguments, files=[queue.file])))
        meter = _begin(stack, workers, settings)
        start_ns = time.perf_counter_ns() + int(_START_S * 1e9)
        for process in workers:
            process.send([start_ns, start_ns + end_ns])
        reports = [Report(**process.receive(_LOADING_S + 3 * seconds)) for process in workers]
        joules = meter.joules()
    rules = Rules(0.99, deadline_us=settings.slo_us, rate=qps, company=not settings.company.alone)
    outcome_settings = replace(settings, workers=count, qps=qps)
    return _outcome(names.SERVER, reports, rules, outcome_settings, joules, max(last_arrivals))


def measure_accuracy(subject: Subject) -> dict[str, float]:
    """Error and log loss on the subject's rows, which have labels. Raises WorkerError."""
    found: dict[str, float] = run(f"{worker.__name__}:measure_accuracy", _spec(subject), timeout_s=_LOADING_S)
    return found


def check(settings: Settings) -> str | None:
    """Why the settings cannot be used on this system; None if they can."""
    if names.SERVER in settings.scenarios and settings.kind == "processes" and sys.platform == "win32":
        return "worker processes cannot share a queue on Windows: use threads as workers"
    return names.problem(settings)


def _spec(subject: Subject) -> list[Any]:
    return [subject.loader, subject.arguments]


def _begin(stack: ExitStack, workers: Sequence[Worker], settings: Settings) -> Meter:
    """Waits until the workers are ready, starts the companions, and then the energy meter."""
    for process in workers:
        process.receive(_LOADING_S)
    stack.enter_context(busy_processes(settings.company.busy))
    return Meter()


def _outcome(
    scenario: str,
    reports: Sequence[Report],
    rules: Rules,
    settings: Settings,
    joules: float | None,
    last_arrival_s: float = 0.0,
) -> Outcome:
    """Joins the reports of all workers and judges them."""
    due, begun, done = (
        np.concatenate([np.array(getattr(report, name), float) for report in reports]) / 1e3
        for name in ("due", "begun", "done")
    )
    order = np.argsort(due, kind="stable")
    latency, service = (done - due)[order], (done - begun)[order]
    seconds = max(report.seconds for report in reports)
    shares = [report.waiting_share for report in reports]
    known = [share for share in shares if share is not None]
    measured = Measured(
        seconds,
        service,
        latency,
        max(known) if len(known) == len(shares) else None,
        max(0.0, seconds - last_arrival_s) if scenario == names.SERVER else 0.0,
    )
    return Outcome(
        scenario,
        tuple(verdict.reasons(measured, rules)),
        seconds,
        len(latency),
        len(latency) * reports[0].rows,
        latency,
        service,
        settings.qps if scenario == names.SERVER else None,
        rules.deadline_us,
        settings.workers or 1,
        joules,
    )
