#!/usr/bin/env python3
"""A soak test: changing shapes, threads, models, files and failures, with flat resources: `make soak`.

    python tests/soak.py [SECONDS]

Python threads repeat random operations for SECONDS. Resident memory, threads and open files are sampled
between rounds, when no operation runs; their level in the last third must be that of the middle third. The
first third warms up allocators and caches. A summary is printed; the exit status is 1 if anything grew.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gc
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tinyrs

THREADS = 4
# Operations of each thread between two samples.
ROUND = 8
# Three for each third of a run, also of a short run on a busy machine.
MIN_SAMPLES = 9
# What may grow from the middle third to the last one: memory of fragmented allocators, and nothing else.
MAX_GROWTH_KIB = 8 << 10
M_MMAP_THRESHOLD = -3


class Sample(NamedTuple):
    """The resources of this process."""

    kib: int
    threads: int
    files: int


def return_large_blocks() -> None:
    """Makes glibc give each block of at least 128 KiB back to the system when it is freed.

    By default, glibc raises this threshold to 32 MiB while a program runs. Then the blocks that tinyrs keeps
    for reuse, 64 MiB in all, lie scattered in heaps, between free memory that still counts as resident, and
    more of it the longer the program runs.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 << 10)


def sample() -> Sample:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's: gives free memory back, so that only memory in use counts
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Sample(
        int(status["VmRSS"].split()[0]), int(status["Threads"]), len(list(Path("/proc/self/fd").iterdir()))
    )


def random_network(rng: np.random.Generator) -> tinyrs.Network:
    sizes = [int(size) for size in rng.integers(1, 300, rng.integers(2, 6))]
    return tinyrs.Network(
        sizes,
        activation=str(rng.choice(["tanh", "relu", "selu", "gelu"])),
        output_activation=str(rng.choice(["identity", "softmax", "sigmoid", "same"])),
        precision=str(rng.choice(["f32", "f64"])),
        seed=int(rng.integers(1000)),
    )


def rows(network: tinyrs.Network, rng: np.random.Generator, most: int = 400) -> Any:
    dtype = np.float32 if network.precision == "f32" else np.float64
    return rng.random((rng.integers(1, most), network.layer_sizes[0]), dtype=dtype)


# Operations. Each makes what it needs, so that everything is freed at its end.


def predict(rng: np.random.Generator, folder: Path) -> None:
    network = random_network(rng)
    network.forward(rows(network, rng), n_threads=int(rng.integers(1, 4)))
    network.forward_one([0.5] * network.layer_sizes[0])


def predict_sparse(rng: np.random.Generator, folder: Path) -> None:
    from scipy import sparse

    network = random_network(rng)
    network.forward(sparse.csr_matrix(rows(network, rng) > 0.9, dtype=np.float32))


def train(rng: np.random.Generator, folder: Path) -> None:
    network = random_network(rng)
    x = rows(network, rng)
    y = rng.random((len(x), network.layer_sizes[-1]))
    network.fit(
        x, y, loss="squared_error", epochs=2, n_threads=int(rng.integers(1, 4)), callback=lambda _: None
    )


def fail(rng: np.random.Generator, folder: Path) -> None:
    """Errors before, during and after the work, from Rust and from Python."""
    network = random_network(rng)
    x = rows(network, rng)
    y = rng.random((len(x), network.layer_sizes[-1]))
    expect(ValueError, lambda: network.forward(np.full_like(x, np.nan)))
    expect(ValueError, lambda: network.forward(x[:, :0]))
    expect(ValueError, lambda: network.fit(x, y[:-1], loss="squared_error"))
    expect(ZeroDivisionError, lambda: network.fit(x, y, loss="squared_error", callback=lambda _: 1 / 0))
    expect(FloatingPointError, lambda: network.fit(x, y * 1e30, loss="squared_error", learning_rate=1e30))
    expect(OSError, lambda: network.save(folder / "missing" / "model"))
    expect(OSError, lambda: tinyrs.load(folder / "missing"))
    damaged = bytearray(pickle.dumps(network))
    damaged[len(damaged) // 2] ^= 1
    expect(Exception, lambda: pickle.loads(bytes(damaged)))


def expect(error: type[BaseException], work: Callable[[], object]) -> None:
    try:
        work()
    except error:
        return
    except FloatingPointError:
        return  # random data may diverge first
    # An error that depends on the data, such as divergence, may not happen.
    assert error in (FloatingPointError, Exception), f"expected {error.__name__}"


def save_and_load(rng: np.random.Generator, folder: Path) -> None:
    network, path = random_network(rng), folder / f"model-{rng.integers(10)}"
    network.save(path)
    loaded = tinyrs.load(path)
    assert isinstance(loaded, tinyrs.Network)
    loaded.forward(rows(loaded, rng))  # another thread may have replaced the file
    pickle.loads(pickle.dumps(network))
    network.set_parameters(network.parameters())


def checkpoint(rng: np.random.Generator, folder: Path) -> None:
    network, path = random_network(rng), folder / f"checkpoint-{os.getpid()}-{rng.integers(1 << 30)}"
    x = rows(network, rng, 50)
    y = rng.random((len(x), network.layer_sizes[-1]))
    settings: dict[str, Any] = {"loss": "squared_error", "seed": 0, "batch_size": 64}
    network.fit(x, y, epochs=1, checkpoint=path, **settings)
    path.unlink()


def classify(rng: np.random.Generator, folder: Path) -> None:
    import pandas as pd

    n = int(rng.integers(60, 120))
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y", "z"], n)})
    y = rng.choice(["no", "yes"], n)
    classifier = tinyrs.TinyClassifier(hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(table, y)
    predictor = pickle.loads(pickle.dumps(classifier)).predictor()
    predictor.predict(table)
    predictor.predict_one({"a": 1.0, "b": "x"})


OPERATIONS = (predict, predict_sparse, train, fail, save_and_load, checkpoint, classify)


def soak(seconds: float) -> tuple[list[Sample], collections.Counter[str]]:
    """Runs random operations for `seconds`. Returns a sample a round, and the number of each operation."""
    return_large_blocks()
    samples, counts = [sample()], collections.Counter[str]()
    stop = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(THREADS) as executor:

        def work(seed: int) -> list[str]:
            rng = np.random.default_rng(seed)
            chosen = [OPERATIONS[i] for i in rng.integers(len(OPERATIONS), size=ROUND)]
            for operation in chosen:
                operation(rng, Path(name))
            return [operation.__name__ for operation in chosen]

        while time.monotonic() < stop or len(samples) < MIN_SAMPLES:
            seeds = range(len(samples) * THREADS, (len(samples) + 1) * THREADS)
            for done in executor.map(work, seeds):
                counts.update(done)
            samples.append(sample())
    return samples, counts


def growth(samples: list[Sample]) -> dict[str, float]:
    """How much the median of each resource grew from the middle third of the samples to the last third."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    return {
        field: statistics.median(getattr(s, field) for s in last)
        - statistics.median(getattr(s, field) for s in middle)
        for field in Sample._fields
    }


def grew(samples: list[Sample]) -> list[str]:
    """What is wrong with the samples of a run; empty if the resources are flat."""
    found = growth(samples)
    limits = {"kib": MAX_GROWTH_KIB, "threads": 0, "files": 0}
    return [f"{name} grew by {found[name]:g}" for name, limit in limits.items() if found[name] > limit]


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800.0
    samples, counts = soak(seconds)
    print(f"{sum(counts.values())} operations in {seconds:.0f} s: {dict(sorted(counts.items()))}")
    for place in sorted({0, len(samples) // 3, 2 * len(samples) // 3, len(samples) - 1}):
        print(f"after {place} rounds: {samples[place]}")
    wrong = grew(samples)
    print(f"soak: {int(not wrong)} passed, {int(bool(wrong))} failed", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
