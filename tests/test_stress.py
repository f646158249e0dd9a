"""Eight threads use one Network, one Optimizer and one Predictor in every way at once.

The default run is short; `make stress` runs it longer, and CI does so on free-threaded Python.
"""

from __future__ import annotations

import collections
import copy
import os
import pickle
import threading
import time
from collections.abc import Callable

import numpy as np
import tinyrs

THREADS = 8
SECONDS = float(os.environ.get("TINYRS_STRESS_SECONDS", "2"))

X = np.random.default_rng(0).random((64, 20), dtype=np.float32)
Y = np.arange(len(X)) % 3
# RuntimeErrors of a thread that comes at the wrong time. The last is PyO3's, for a class with mutable state.
BUSY = ("another thread", "another call of fit", "borrowed")


class Shared:
    """The objects that all threads use, and what each thread may do with them."""

    def __init__(self) -> None:
        self.network = tinyrs.Network([20, 40, 3], output_activation="softmax", seed=1)
        self.optimizer = tinyrs.Optimizer("adam")
        fixed = tinyrs.Network([20, 40, 3], output_activation="softmax", seed=2)
        self.predictor = tinyrs.Predictor(fixed, None, np.arange(3))
        self.expected = self.predictor.predict_proba(X).tobytes()
        self.expected_one = self.predictor.predict_one(X[0].tolist())
        self.parameters = [tinyrs.Network([20, 40, 3], seed=seed).parameters() for seed in (3, 4)]
        # The predictions of the two sets of parameters, for a network that is never trained.
        self.replaced = copy.copy(self.network)
        self.allowed = set()
        for parameters in self.parameters:
            self.replaced.set_parameters(parameters)
            self.allowed.add(self.replaced.forward(X).tobytes())

    def operations(self) -> dict[str, Callable[[int], None]]:
        return {
            "fit": lambda i: self.fit(),
            "forward": lambda i: self.check(self.network),
            "pickle": lambda i: self.check(pickle.loads(pickle.dumps(self.network))),
            "copy": lambda i: self.check(copy.copy(self.network)),
            "set_parameters": lambda i: self.network.set_parameters(self.parameters[i % 2]),
            "optimizer": lambda i: self.read_the_optimizer(),
            "predict": lambda i: self.predict(),
            "replace": lambda i: self.replace(i),
        }

    def fit(self) -> None:
        options = {"epochs": 2, "batch_size": 16, "optimizer": self.optimizer}
        self.network.fit(X, Y, callback=lambda record: None, **options)  # type: ignore[arg-type]

    def check(self, network: tinyrs.Network) -> None:
        y = network.forward(X)
        assert np.isfinite(y).all()
        assert np.allclose(y.sum(axis=1), 1, atol=1e-5)
        assert len(network.forward_one(X[0].tolist())) == 3

    def read_the_optimizer(self) -> None:
        assert self.optimizer.steps >= 0
        assert repr(copy.copy(self.optimizer)).startswith("Optimizer(")
        restored = pickle.loads(pickle.dumps(self.optimizer))
        assert restored.steps >= 0

    def predict(self) -> None:
        assert self.predictor.predict_proba(X).tobytes() == self.expected
        assert self.predictor.predict_one(X[0].tolist()) == self.expected_one

    def replace(self, i: int) -> None:
        """All old or all new, never a mixture."""
        self.replaced.set_parameters(self.parameters[i % 2])
        assert self.replaced.forward(X).tobytes() in self.allowed


def stress(shared: Shared, seconds: float) -> tuple[collections.Counter[str], list[BaseException]]:
    """Random operations on all threads for `seconds`: how many of each succeeded, and unexpected errors."""
    counts = collections.Counter[str]()
    failures: list[BaseException] = []
    start = threading.Barrier(THREADS)
    stop = time.monotonic() + seconds

    def work(seed: int) -> None:
        rng, operations = np.random.default_rng(seed), shared.operations()
        mine = collections.Counter[str]()
        start.wait()
        while time.monotonic() < stop and not failures:
            name = str(rng.choice(list(operations)))
            try:
                operations[name](int(rng.integers(2)))
                mine[name] += 1
            except RuntimeError as error:
                if not any(text in str(error) for text in BUSY):
                    failures.append(error)
            except BaseException as error:  # also PanicException
                failures.append(error)
        with lock:
            counts.update(mine)

    lock = threading.Lock()
    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
        assert not thread.is_alive(), "a thread hangs"
    return counts, failures


def test_eight_threads_on_the_same_objects() -> None:
    shared = Shared()
    counts, failures = stress(shared, SECONDS)
    if failures:
        raise failures[0]
    assert set(counts) == set(shared.operations()), counts
    # Nothing stays in use.
    shared.fit()
    shared.network.set_parameters(shared.parameters[0])
    assert shared.network.forward(X).shape == (64, 3)


def test_a_planted_race_is_seen() -> None:
    shared = Shared()

    def race(i: int) -> None:
        shared.expected = b""  # somebody else's prediction

    operations = shared.operations()
    shared.operations = lambda: operations | {"race": race}  # type: ignore[method-assign]
    _, failures = stress(shared, 5)
    assert failures
