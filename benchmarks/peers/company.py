"""Single calls timed beside other busy code: each engine in a separate process, with companions around it.

A company is what else runs: nothing, a product of another library just before each call, busy processes,
copies of the same engine, other threads of the same process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tinyrs
from tinyrs.bench.harness import Percentiles, no_garbage_collection
from tinyrs.bench.isolated import Channel, Worker, WorkerError
from tinyrs.bench.serving.companions import busy_processes

from peers.engines import ENGINES
from peers.workloads import HEADLINE_F32, LARGE_F32, MEDIUM_32, MEDIUM_256, SMALL_TANH, Workload

# A product of this size keeps the threads of a BLAS busy for a few milliseconds, and spinning afterwards.
_PRODUCT = 700
# A worker that sends nothing for so long has failed.
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Company:
    """What runs beside the engine. `before` is called before each timed call; see `_BEFORE`."""

    name: str
    busy: int = 0
    nice: int = 0
    copies: int = 1
    threads: int = 1
    before: str = ""


COMPANIES = (
    Company("alone"),
    Company("after a NumPy product", before="numpy"),
    Company("after an ONNX Runtime call", before="onnxruntime"),
    Company("one busy process", busy=1),
    Company("two busy processes", busy=2),
    Company("one busy process, nice 19", busy=1, nice=19),
    Company("two busy processes, nice 19", busy=2, nice=19),
    Company("2 copies", copies=2),
    Company("4 copies", copies=4),
    Company("2 Python threads", threads=2),
    Company("4 Python threads", threads=4),
    Company("8 Python threads", threads=8),
)


@dataclass(frozen=True)
class Fit:
    """A call of `Network.fit` on random rows: `rows` rows in batches of `batch`, for `epochs` epochs."""

    sizes: tuple[int, ...]
    batch: int
    rows: int
    epochs: int

    @property
    def name(self) -> str:
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"fit {'-'.join(map(str, self.sizes))}, batch {self.batch}, {epochs}"


AnyWorkload = Workload | Fit
PASSES = (SMALL_TANH, MEDIUM_32, MEDIUM_256, LARGE_F32, HEADLINE_F32)
FITS = (
    Fit((784, 256, 128, 10), 200, 10_000, 1),
    Fit((784, 256, 128, 10), 200, 10_000, 8),
    Fit((784, 64, 64, 10), 32, 10_000, 1),
    Fit((784, 64, 64, 10), 32, 10_000, 8),
)
# (name, engine, threads; 0 for the engine's default)
CONTENDERS = (
    ("tinyrs", "tinyrs", 0),
    ("tinyrs, 1 thread", "tinyrs", 1),
    ("onnxruntime", "onnxruntime", 0),
    ("onnxruntime, 1 thread", "onnxruntime", 1),
    ("numpy", "numpy", 0),
    ("numpy, 1 thread", "numpy", 1),
)


def workload_of(name: str) -> AnyWorkload:
    """The workload of that name."""
    return next(workload for workload in (*PASSES, *FITS) if workload.name == name)


def run(workload: AnyWorkload, company: Company, contender: str, seconds: float) -> Percentiles | None:
    """The times of single calls. None if the engine is not installed or, in training, if it is not tinyrs.

    Raises WorkerError if the engine fails or answers wrong.
    """
    _, engine, threads = next(c for c in CONTENDERS if c[0] == contender)
    if isinstance(workload, Fit) and engine != "tinyrs":
        return None
    arguments = (engine, threads, workload.name, company.threads, company.before, seconds)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker("peers.company:measure", *arguments)) for _ in range(company.copies)
        ]
        for worker in workers:
            if worker.receive(_TIMEOUT_S) != "ready":
                return None
        stack.enter_context(busy_processes(company.busy, company.nice))
        for worker in workers:
            worker.send("start")
        times = [worker.receive(_TIMEOUT_S) for worker in workers]
    return Percentiles.of([ns for of_one in times for ns in of_one])


def measure(
    channel: Channel, engine: str, threads: int, name: str, n_callers: int, before: str, seconds: float
) -> list[int] | str:
    """Times calls for `seconds`, in the child; returns nanoseconds."""
    try:
        with _call(engine, threads, workload_of(name)) as call:
            prepare = _BEFORE[before]()
            for _ in range(3):
                prepare()
                call()
            channel.send("ready")
            channel.receive()
            return _time(call, prepare, n_callers, seconds)
    except ImportError:
        return "absent"


def _time(
    call: Callable[[], object], prepare: Callable[[], object], n_callers: int, seconds: float
) -> list[int]:
    """Nanoseconds of each call of `n_callers` threads that call at the same time for `seconds`."""
    times: list[int] = []
    now = time.perf_counter_ns
    start_together = threading.Barrier(n_callers)

    def calls() -> None:
        mine: list[int] = []
        start_together.wait()
        end = now() + int(seconds * 1e9)
        # The first tenth lets caches, clocks and whatever an engine learns settle.
        settled = now() + int(seconds * 1e8)
        while now() < end or len(mine) < 5:
            prepare()
            start = now()
            call()
            stop = now()
            if start >= settled:
                mine.append(stop - start)
        times.extend(mine)

    with no_garbage_collection():
        callers = [threading.Thread(target=calls) for _ in range(n_callers - 1)]
        for caller in callers:
            caller.start()
        calls()
        for caller in callers:
            caller.join()
    return times


@contextmanager
def _call(engine: str, threads: int, workload: AnyWorkload) -> Iterator[Callable[[], object]]:
    """A function that makes one call, after its first answer has been checked."""
    if isinstance(workload, Fit):
        yield _fit(workload, threads or None)
        return
    layers = workload.parameters()
    if engine == "tinyrs" and not threads:
        network = tinyrs.Network.from_parameters(
            layers, activation=workload.activation, output_activation=workload.output_activation
        )
        run: Callable[[Any], Any] = network.forward
        active: Callable[[], Any] = ExitStack
    else:
        built = ENGINES[engine](workload, layers)(threads or len(os.sched_getaffinity(0)))
        run, active = built.run, built.active
    x = workload.inputs()[0]
    with active():
        _check(run(x), workload, x)
        yield lambda: run(x)


def _fit(fit: Fit, n_threads: int | None) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    X = rng.random((fit.rows, fit.sizes[0]), np.float32)
    y = rng.integers(0, fit.sizes[-1], fit.rows)
    network = tinyrs.Network(fit.sizes, activation="tanh", output_activation="softmax", seed=0)
    return lambda: network.fit(X, y, batch_size=fit.batch, epochs=fit.epochs, seed=0, n_threads=n_threads)


def _check(answer: Any, workload: Workload, x: Any) -> None:
    from tinyrs import oracle

    layers = [(W.astype(np.float64), b.astype(np.float64)) for W, b in workload.parameters()]
    right = oracle.forward(
        x.astype(np.float64),
        layers,
        activation=workload.activation,
        output_activation=workload.output_activation,
    )
    error = np.abs(np.asarray(answer) - right).max() / np.abs(right).max()
    if not error < 1e-3:
        raise WorkerError(f"wrong answer: expected a relative error below 1e-3, got {error:g}")


def _numpy_product() -> Callable[[], object]:
    a = np.random.default_rng(1).random((_PRODUCT, _PRODUCT))
    out = np.empty_like(a)
    return lambda: np.matmul(a, a, out=out)


def _onnxruntime_call() -> Callable[[], object]:
    other = ENGINES["onnxruntime"](MEDIUM_256, MEDIUM_256.parameters())(len(os.sched_getaffinity(0)))
    x = MEDIUM_256.inputs()[0]
    return lambda: other.run(x)


_BEFORE: dict[str, Callable[[], Callable[[], object]]] = {
    "": lambda: lambda: None,
    "numpy": _numpy_product,
    "onnxruntime": _onnxruntime_call,
}
