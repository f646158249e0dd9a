"""Threads, processes and the limits that others set on them."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkProcess
from typing import Any

import numpy as np
import pytest
import threadpoolctl
import tinyrs

# Large enough for a pass to use all threads.
NETWORK = tinyrs.Network([1024] * 4, activation="sigmoid", seed=1)
X = np.random.default_rng(1).random((40, 1024), dtype=np.float32)


def in_a_new_process(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return result.stdout.strip()


@pytest.mark.parametrize("batch", [1, 2, 40])
def test_the_bits_do_not_depend_on_threads(batch: int) -> None:
    alone = NETWORK.forward(X[:batch], n_threads=1)
    for n_threads in (2, 3, 8, None):
        assert (NETWORK.forward(X[:batch], n_threads=n_threads) == alone).all()


@pytest.mark.parametrize("isa", tinyrs.build_info()["isa_available"])
def test_every_instruction_set_computes_the_same_within_rounding(isa: str) -> None:
    code = """
import sys, numpy as np, tinyrs
network = tinyrs.Network([67, 129, 33, 5], precision="f64", output_activation="softmax", seed=1)
print(tinyrs.build_info()["isa"], *map(repr, map(float, network.forward(np.linspace(-1, 1, 67)))))
"""
    name, *values = in_a_new_process(code, TINYRS_ISA=isa).split()
    network = tinyrs.Network([67, 129, 33, 5], precision="f64", output_activation="softmax", seed=1)
    expected = network.forward(np.linspace(-1, 1, 67))
    assert name == isa
    assert np.abs(np.array(values, dtype=float) - expected).max() < 1e-14


def run_to_its_end(process: ForkProcess) -> None:
    process.start()
    process.join(60)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()


def test_a_forked_child_makes_its_own_pool() -> None:
    expected = NETWORK.forward(X)

    def child() -> None:
        sys.exit(not (NETWORK.forward(X) == expected).all())

    run_to_its_end(multiprocessing.get_context("fork").Process(target=child))
    assert (NETWORK.forward(X) == expected).all()


def test_a_child_forked_during_a_pass_does_not_hang() -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            NETWORK.forward(X)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(10):
            run_to_its_end(multiprocessing.get_context("fork").Process(target=NETWORK.forward, args=(X,)))
    finally:
        stop.set()
        worker.join()


def test_a_child_forked_during_fit_can_use_and_train_the_network() -> None:
    network = tinyrs.Network([1024, 64, 4], output_activation="softmax", seed=1)
    y = np.arange(len(X)) % 4
    forked = []

    def child() -> None:
        network.fit(X, y, epochs=1)
        network.set_parameters(network.parameters())
        sys.exit(not np.isfinite(network.forward(X)).all())

    # From another thread, as the thread of a web server would; epochs go on until it has happened.
    def fork() -> None:
        run_to_its_end(multiprocessing.get_context("fork").Process(target=child))
        forked.append(True)

    forking = threading.Thread(target=fork)

    def callback(record: tinyrs.history.Record) -> bool:
        if record["epoch"] == 0:
            forking.start()
        return bool(forked) or not forking.is_alive()

    network.fit(X, y, epochs=1_000_000, callback=callback)
    forking.join()
    assert forked


def test_a_child_forked_during_fit_can_use_the_optimizer() -> None:
    network, optimizer = tinyrs.Network([1024, 8], seed=1), tinyrs.Optimizer()
    targets = np.zeros((len(X), 8), dtype=np.float32)

    def child() -> None:
        network.fit(X, targets, epochs=1, optimizer=optimizer)
        sys.exit(optimizer.steps != 1)

    def callback(record: tinyrs.history.Record) -> None:
        run_to_its_end(multiprocessing.get_context("fork").Process(target=child))

    network.fit(X, targets, epochs=1, optimizer=optimizer, callback=callback)
    assert optimizer.steps == 1


def test_the_end_of_fit_does_not_wait_for_readers_of_the_optimizer() -> None:
    network, optimizer = tinyrs.Network([1024, 8], seed=1), tinyrs.Optimizer()
    targets = np.zeros((len(X), 8), dtype=np.float32)
    network.fit(X, targets, epochs=1, optimizer=optimizer)
    state = optimizer.__reduce__()[2]
    reading, trained = threading.Event(), threading.Event()

    def slowly(moments: list[Any]) -> Iterator[Any]:
        reading.set()
        trained.wait(60)
        yield from moments

    setting = threading.Thread(
        target=optimizer.__setstate__, args=({**state, "first": slowly(state["first"])},)
    )

    def callback(record: tinyrs.history.Record) -> None:
        setting.start()
        reading.wait(60)

    before = network.forward(X)
    network.fit(X, targets, epochs=1, optimizer=optimizer, callback=callback)
    assert optimizer.steps == 2
    assert (network.forward(X) != before).any()
    trained.set()
    setting.join()
    assert optimizer.steps == 1


def test_set_parameters_does_not_change_a_network_that_a_fit_trains() -> None:
    """Evaluating the parameters takes long enough for a `fit` to begin."""
    network, targets = tinyrs.Network([1024, 8], seed=1), np.zeros((len(X), 8), dtype=np.float32)
    begun, refused = threading.Event(), threading.Event()

    def callback(record: tinyrs.history.Record) -> None:
        begun.set()
        assert refused.wait(60)

    training = threading.Thread(target=lambda: network.fit(X, targets, epochs=1, callback=callback))

    def parameters() -> Iterator[Any]:
        training.start()
        assert begun.wait(60)
        yield from tinyrs.Network([1024, 8], seed=2).parameters()

    with pytest.raises(RuntimeError, match="the network is being trained by another thread"):
        network.set_parameters(parameters())
    refused.set()
    training.join()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PID namespaces")
def test_a_child_with_the_pid_of_its_parent_makes_its_own_pool() -> None:
    """The first process of a PID namespace has the number 1, also inside another one."""
    code = """
import ctypes, os, sys, numpy as np, tinyrs
network = tinyrs.Network([1024] * 4, seed=1)
x = np.ones((40, 1024), dtype=np.float32)
def fork_into_a_namespace(then):
    if ctypes.CDLL(None, use_errno=True).unshare(0x20000000):
        print("not allowed"); sys.stdout.flush(); os._exit(0)
    child = os.fork()
    if child == 0:
        network.forward(x)
        then()
        os._exit(0)
    os.waitpid(child, 0)
def inner():
    assert os.getpid() == 1
    print("passed"); sys.stdout.flush()
fork_into_a_namespace(lambda: fork_into_a_namespace(inner))
"""
    output = in_a_new_process(code)
    if output == "not allowed":
        pytest.skip("creating a PID namespace needs privileges")
    assert output == "passed"


def test_several_python_threads_at_once() -> None:
    expected = [NETWORK.forward(x).tobytes() for x in X]
    with ThreadPoolExecutor(8) as executor:
        assert [y.tobytes() for y in executor.map(NETWORK.forward, X)] == expected


def test_other_threads_run_during_a_long_pass() -> None:
    started = threading.Event()
    ticks: list[int] = []

    def count() -> None:
        started.wait()
        while not finished:
            ticks.append(1)

    finished = False
    counter = threading.Thread(target=count)
    counter.start()
    started.set()
    large = np.repeat(X, 20, axis=0)
    before = len(ticks)
    NETWORK.forward(large, n_threads=1)
    during = len(ticks) - before
    finished = True
    counter.join()
    assert during > 0


def test_set_parameters_during_a_pass_is_refused_or_waits() -> None:
    """Never half old and half new: each result is that of one or of the other set of parameters."""
    network = tinyrs.Network([1024] * 3, seed=1)
    sets = [network.parameters(), tinyrs.Network([1024] * 3, seed=2).parameters()]
    expected = set()
    for parameters in sets:
        network.set_parameters(parameters)
        expected.add(network.forward(X).tobytes())
    results: list[bytes] = []
    worker = threading.Thread(target=lambda: results.extend(network.forward(X).tobytes() for _ in range(50)))
    worker.start()
    while worker.is_alive():
        for parameters in sets:
            try:
                network.set_parameters(parameters)
            except RuntimeError as error:
                assert "another thread" in str(error)
    worker.join()
    assert len(results) == 50
    assert set(results) <= expected


def test_set_num_threads() -> None:
    before = tinyrs.get_num_threads()
    try:
        tinyrs.set_num_threads(1)
        assert tinyrs.get_num_threads() == 1
        tinyrs.set_num_threads(10_000)
        assert tinyrs.get_num_threads() == before
    finally:
        tinyrs.set_num_threads(before)


def test_threadpoolctl_limits_our_pool() -> None:
    before = tinyrs.get_num_threads()
    with threadpoolctl.threadpool_limits(1):
        assert tinyrs.get_num_threads() == 1
    assert tinyrs.get_num_threads() == before
    ours = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "tinyrs"]
    assert [(info["num_threads"], info["version"]) for info in ours] == [(before, tinyrs.__version__)]


@pytest.mark.parametrize(
    "order",
    [
        "import tinyrs, threadpoolctl",
        "import threadpoolctl, tinyrs",
        "import tinyrs, importlib.util; importlib.util.find_spec('threadpoolctl'); import threadpoolctl",
    ],
)
def test_threadpoolctl_may_be_imported_before_or_after(order: str) -> None:
    code = f"""{order}
with threadpoolctl.threadpool_limits(1):
    print([info["user_api"] for info in threadpoolctl.threadpool_info()], tinyrs.get_num_threads())"""
    assert in_a_new_process(code) == "['tinyrs'] 1"


COUNT = "import tinyrs; print(tinyrs.get_num_threads())"


@pytest.mark.parametrize("name", ["TINYRS_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_environment_limits_threads(name: str) -> None:
    assert in_a_new_process(COUNT, **{name: "1"}) == "1"
    # More than the machine has, or nothing readable, changes nothing.
    free = in_a_new_process(COUNT)
    assert in_a_new_process(COUNT, **{name: "10000"}) == free
    assert in_a_new_process(COUNT, **{name: "many"}) == free


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="only Linux can be asked for an affinity mask"
)
def test_the_affinity_mask_limits_threads() -> None:
    cpu = min(os.sched_getaffinity(0))
    assert in_a_new_process(f"import os; os.sched_setaffinity(0, {{{cpu}}}); {COUNT}") == "1"


def test_no_thread_spins_while_idle() -> None:
    code = """
import time, resource, numpy as np, tinyrs
network = tinyrs.Network([1024] * 9, seed=1)
for _ in range(20): network.forward(np.ones(1024))
time.sleep(0.1)
usage = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
before = usage(); time.sleep(1); print(usage() - before)
"""
    assert float(in_a_new_process(code)) < 0.1
