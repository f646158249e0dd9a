"""The engines that compute a pass: tinyrs, and NumPy by way of the oracle.

ENGINES maps a name to a function of a case, its layers and its targets. It returns an `Engine`, which
gives an answer to verify and passes to time.
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
    """An engine that is ready to compute the passes of one case.

    `answer` returns what a pass computes from an input. For a forward pass that is the outputs; for a
    backward pass, the loss and the gradients of each W and b; for training, the change of each W and b
    after CHECKED_STEPS steps, each on its part of the input.

    `run` makes one pass and is what is timed. If `together`, its input is several batches stacked in one
    array, and it makes a pass for each of them.
    """

    answer: Callable[[Array], list[Array]]
    run: Callable[[Array], object]
    together: bool = False


def network_options(case: Case) -> dict[str, Any]:
    """The network's options that the oracle and tinyrs have in common."""
    return {"activation": case.activation, "output_activation": "same", "epsilon_exp": case.epsilon_exp}


def tinyrs_engine(case: Case, layers: Iterable[Layer], target: Array) -> Engine:
    """The Rust core."""
    options = network_options(case) | {
        "epsilon_square": case.epsilon_square,
        "precision": "f32" if case.low_precision else case.precision,
    }
    network = tinyrs.Network.from_parameters(layers, **options)
    if case.low_precision:
        network = network.quantize(case.precision)
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
    """NumPy and its BLAS: the oracle."""
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
    """The squared error and its gradients with respect to each W and b, in the dtype of the layers."""
    options = network_options(case) | {"epsilon_square": case.epsilon_square}
    return loss_first(*oracle.loss_and_gradients(x, target, layers, loss="squared_error", **options))


def oracle_changes(case: Case, layers: Sequence[Layer], target: Array, x: Array) -> list[Array]:
    """The change of each W and b after CHECKED_STEPS steps, each on its part of x."""
    trained = [(W.copy(), b.copy()) for W, b in layers]
    oracle_fit(case, trained, oracle.Optimizer("adam"), x, np.tile(target, (CHECKED_STEPS, 1)))
    return [after - before for after, before in zip(flat(trained), flat(layers), strict=True)]


def oracle_fit(case: Case, layers: list[Layer], optimizer: oracle.Optimizer, x: Array, y: Array) -> None:
    """Makes a step for each batch of x; changes the layers in place."""
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
    """The loss, then the gradients of W and b of each layer, as one list."""
    return [np.array(loss), *flat(pairs)]


def flat(pairs: Iterable[Layer]) -> list[Array]:
    """W and b of each layer, as one list."""
    return [array for pair in pairs for array in pair]


ENGINES: dict[str, Callable[[Case, Iterable[Layer], Array], Engine]] = {
    "tinyrs": tinyrs_engine,
    "numpy": numpy_engine,
}


def blas_threads(threads: int, *, required: bool) -> AbstractContextManager[object]:
    """A context in which NumPy's BLAS uses `threads` threads.

    Only threadpoolctl can set this in a running process. If it is not installed, nothing is set, or
    UsageError is raised if `required`.
    """
    try:
        import threadpoolctl
    except ModuleNotFoundError:
        if not required:
            return nullcontext()
        raise UsageError(
            "setting the threads of the numpy engine needs threadpoolctl: pip install 'tinyrs[bench]'"
        ) from None
    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(threads, user_api="blas")
    return limits
