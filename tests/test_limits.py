"""Too little memory, no threads, no files, no NumPy: an ordinary exception, and everything as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tinyrs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the limits of Linux")

SETUP = """
import copy, os, pickle, resource, sys, threading
import numpy as np, tinyrs

network = tinyrs.Network([256, 1024, 256], output_activation="softmax", seed=1)
optimizer = tinyrs.Optimizer()
X = np.zeros((3000, 256), dtype=np.float32)
y = np.arange(300) % 256
path = sys.argv[1]
network.save(path)
network.fit(X[:300], y, epochs=1, optimizer=optimizer, seed=1)
"""


def in_a_new_process(code: str, *args: object) -> None:
    command = [sys.executable, "-c", SETUP + code, *map(str, args)]
    # Large blocks go back to the system when they are freed, and no heap is reserved: the limit applies.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "operation",
    [
        "network.forward(X)",
        "network.fit(X[:300], y, epochs=1, optimizer=optimizer)",
        "network.fit(X[:300], y, epochs=1, optimizer=optimizer, callback=lambda record: None)",
        "network.loss_and_gradients(X[:300], y)",
        "network.backward(X, np.zeros((3000, 256), dtype=np.float32))",
        "copy.copy(network)",
        "copy.copy(optimizer)",
        "network.parameters()",
        "network.set_parameters(network.parameters())",
        "pickle.dumps(network)",
        "pickle.dumps(optimizer)",
        "network.save(path)",
        "tinyrs.load(path)",
    ],
)
def test_too_little_memory(operation: str, tmp_path: Path) -> None:
    code = """
def state():
    moments = optimizer.__reduce__()[2]
    pairs = [*network.parameters(), *moments["first"], *moments["second"]]
    return b"".join(array.tobytes() for pair in pairs for array in pair), moments["steps"]

def attempt(room):
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
    try:
        OPERATION
        return True
    except MemoryError:
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

failures, before = 0, state()
while not attempt(room=(1 + failures) << 20):
    failures += 1
    # A callback's copy of the network is made after its epoch, which counts as finished.
    assert CALLBACK or state() == before, failures
assert failures > 0, failures
"""
    in_a_new_process(
        code.replace("OPERATION", operation).replace("CALLBACK", str("callback" in operation)),
        tmp_path / "model",
    )


def test_no_thread_can_be_started(tmp_path: Path) -> None:
    """Passes and training go on with the threads that there are, and end with the same bits."""
    code = """
expected = network.forward(X[:300], n_threads=1)
trained = copy.copy(network)
trained.fit(X[:300], y, epochs=2, seed=1)
if os.getuid() == 0:
    os.setuid(65534)  # the limit does not count for root
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=print).start()
    sys.exit(0)  # the limit does not count for this user either
except RuntimeError:
    pass
records = []
for n_threads in (2, 8):
    assert (network.forward(X[:300], n_threads=n_threads) == expected).all()
network.fit(X[:300], y, epochs=2, seed=1, callback=records.append)
assert len(records) == 2
assert pickle.dumps(network.parameters()) == pickle.dumps(trained.parameters())

def stop(record):
    raise KeyError("mine")

try:
    network.fit(X[:300], y, epochs=2, callback=stop)
except KeyError as error:
    assert error.args == ("mine",)
else:
    raise AssertionError
"""
    in_a_new_process(code, tmp_path / "model")


def test_no_file_can_be_opened(tmp_path: Path) -> None:
    code = """
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, most))
for operation in (lambda: network.save(path), lambda: tinyrs.load(path)):
    try:
        operation()
        raise AssertionError
    except OSError:
        pass
network.forward(X)
copy.copy(network).fit(X[:300], y, epochs=1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
assert (tinyrs.load(path).forward(X[:3]) != network.forward(X[:3])).any()
"""
    in_a_new_process(code, tmp_path / "model")


@pytest.mark.parametrize(
    "operation",
    [
        "network.forward([0.5] * 4)",
        "network.parameters()",
        "network.fit([[0.5] * 4], [[1.0] * 2])",
        "network.loss_and_gradients([[0.5] * 4], [[1.0] * 2])",
        "network.backward([[0.5] * 4], [[1.0] * 2])",
        "network.set_parameters([([[1.0] * 4] * 2, [1.0] * 2)])",
        "encoder.transform([0.5] * 4, precision='f32')",
        "encoder.forward(network, [0.5] * 4)",
    ],
)
def test_arrays_without_numpy(operation: str) -> None:
    code = f"""
import sys
sys.modules["numpy"] = None
import tinyrs
from tinyrs._tinyrs import FeatureEncoder
network = tinyrs.Network([4, 2], seed=1)
encoder = FeatureEncoder(4, [(i, 0.0, 1.0, False) for i in range(4)], [])
assert len(network.forward_one([0.5] * 4)) == 2
try:
    {operation}
except ImportError:
    sys.exit(7)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 7, result.stderr


def test_weights_whose_sum_overflows_count_like_any_others() -> None:
    X = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    losses = []
    for weight in (1e308, 1.0):
        network = tinyrs.Network([4, 3], output_activation="softmax", seed=1)
        network.fit(X, np.arange(30) % 3, sample_weight=np.full(30, weight), epochs=2, seed=1)
        losses.append(network.loss_and_gradients(X, np.arange(30) % 3, sample_weight=np.full(30, weight))[0])
    assert losses[0] == losses[1]
