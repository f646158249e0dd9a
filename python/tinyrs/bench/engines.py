"""Who computes a pass.

By name, a function that takes a case and its layers, and gives what can be asked of the engine: an answer to
verify, and passes to time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

import tinyrs
from tinyrs import oracle
from tinyrs.bench.config import Case, UsageError
from tinyrs.oracle import Array, Layer

# Steps of training after which the parameters are compared with the oracle's.
CHECKED_STEPS = 3
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Engine:
    """An engine at work on a case.

    `answer` gives for an input what a pass computes: one array, the outputs; or several, the loss and its
    gradients by each layer's W and b, or what CHECKED_STEPS steps, each on its part of that input, change
    them by. `run` makes a pass, with nothing around it that would count; where `together`, one for each of
    several batches that lie one below the other.
    """

    answer: Callable[[Array], list[Array]]
    run: Callable[[Array], object]
    together: bool = False


def network_options(case: Case) -> dict[str, Any]:
    """What the network of the benchmark computes, for the oracle and for tinyrs alike."""
    return {"activation": case.activation, "output_activation": "same", "epsilon_exp": case.epsilon_exp}


def tinyrs_engine(case: Case, layers: Iterable[Layer], target: Array) -> Engine:
    """The Rust core."""
    options = network_options(case) | {"epsilon_square": case.epsilon_square, "precision": case.precision}
    network = tinyrs.Network.from_parameters(layers, **options)
    if case.mode == "forward":
        forward = partial(network.forward, n_threads=case.threads)
        return Engine(lambda x: [forward(x)], forward)
    if case.mode == "backward":
        backward = partial(network.loss_and_gradients, y=target, loss="squared_error", n_threads=case.threads)
        return Engine(lambda x: loss_first(*backward(x)), backward)
    tiled = cache(lambda batches: np.tile(target, (batches, 1)))

    def fit(network: tinyrs.Network, optimizer: tinyrs.Optimizer, x: Array) -> None:
        network.fit(
            x,
            tiled(len(x) // case.batch),
            loss="squared_error",
            optimizer=optimizer,
            learning_rate=LEARNING_RATE,
            batch_size=case.batch,
            epochs=1,
            shuffle=False,
            n_threads=case.threads,
        )

    def changes(x: Array) -> list[Array]:
        start = flat(network.parameters())
        other = tinyrs.Network.from_parameters(network.parameters(), **options)
        fit(other, tinyrs.Optimizer("adam"), x)
        return [after - before for after, before in zip(flat(other.parameters()), start, strict=True)]

    trained = tinyrs.Network.from_parameters(network.parameters(), **options)
    optimizer = tinyrs.Optimizer("adam")
    return Engine(changes, partial(fit, trained, optimizer), together=True)


def numpy_engine(case: Case, layers: Iterable[Layer], target: Array) -> Engine:
    """NumPy and its BLAS, by way of the oracle."""
    layers, options = list(layers), network_options(case)
    if case.mode == "forward":

        def forward(x: Array) -> Array:
            return oracle.forward(x, layers, **options)

        return Engine(lambda x: [forward(x)], forward)
    if case.mode == "backward":
        gradients = partial(oracle_gradients, case, layers, target)
        return Engine(gradients, gradients)
    trained, optimizer = [(W.copy(), b.copy()) for W, b in layers], oracle.Optimizer("adam")
    tiled = cache(lambda batches: np.tile(target, (batches, 1)))

    def fit(x: Array) -> None:
        oracle_fit(case, trained, optimizer, x, tiled(len(x) // case.batch))

    return Engine(partial(oracle_changes, case, layers, target), fit, together=True)


def oracle_gradients(case: Case, layers: Sequence[Layer], target: Array, x: Array) -> list[Array]:
    """The squared error, and its gradients by each W and b in the dtype of the layers."""
    options = network_options(case) | {"epsilon_square": case.epsilon_square}
    return loss_first(*oracle.loss_and_gradients(x, target, layers, loss="squared_error", **options))


def oracle_changes(case: Case, layers: Sequence[Layer], target: Array, x: Array) -> list[Array]:
    """By how much CHECKED_STEPS steps, each on its part of x, change each W and b."""
    trained = [(W.copy(), b.copy()) for W, b in layers]
    oracle_fit(case, trained, oracle.Optimizer("adam"), x, np.tile(target, (CHECKED_STEPS, 1)))
    return [after - before for after, before in zip(flat(trained), flat(layers), strict=True)]


def oracle_fit(case: Case, layers: list[Layer], optimizer: oracle.Optimizer, x: Array, y: Array) -> None:
    """A step for each batch of x; changes the layers in place."""
    oracle.fit(
        x,
        y,
        layers,
        loss="squared_error",
        **network_options(case),
        epsilon_square=case.epsilon_square,
        optimizer=optimizer,
        learning_rate=LEARNING_RATE,
        batch_size=case.batch,
        epochs=1,
        shuffle=False,
    )


def loss_first(loss: float, pairs: Iterable[Layer]) -> list[Array]:
    """The loss and the gradients of each layer's W and b, one after the other."""
    return [np.array(loss), *flat(pairs)]


def flat(pairs: Iterable[Layer]) -> list[Array]:
    """W and b of each layer, one after the other."""
    return [array for pair in pairs for array in pair]


ENGINES: dict[str, Callable[[Case, Iterable[Layer], Array], Engine]] = {
    "tinyrs": tinyrs_engine,
    "numpy": numpy_engine,
}


def blas_threads(threads: int, *, must: bool) -> AbstractContextManager[object]:
    """Within it NumPy's BLAS uses that many threads.

    Nothing but threadpoolctl reaches the BLAS of a running process. Where it is not installed, BLAS goes on
    with what it has; raises UsageError instead if `must`.
    """
    try:
        import threadpoolctl
    except ModuleNotFoundError:
        if not must:
            return nullcontext()
        raise UsageError(
            "threads of the numpy engine need threadpoolctl: pip install 'tinyrs[bench]'"
        ) from None
    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(threads, user_api="blas")
    return limits
