"""Who computes a pass.

By name, a function that takes a case and its layers, and gives what can be asked of the engine: an answer to
verify, and passes to time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
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

    `answer` gives for an input what a pass computes: one array, the outputs; or several, the gradients of
    each layer's W and b, or what CHECKED_STEPS steps on that input change them by. `run` makes a pass for
    each of several inputs; where `together`, that is one call for all of them.
    """

    answer: Callable[[Array], list[Array]]
    run: Callable[[Sequence[Array]], object]
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
        return Engine(lambda x: [forward(x)], lambda turn: [forward(x) for x in turn])
    if case.mode == "backward":

        def gradients(x: Array) -> list[Array]:
            _, pairs = network.loss_and_gradients(
                np.atleast_2d(x), target, loss="squared_error", n_threads=case.threads
            )
            return flat(pairs)

        return Engine(gradients, lambda turn: [gradients(x) for x in turn])

    def fit(network: tinyrs.Network, optimizer: tinyrs.Optimizer, turn: Sequence[Array]) -> None:
        network.fit(
            np.vstack(turn),
            np.tile(target, (len(turn), 1)),
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
        fit(other, tinyrs.Optimizer("adam"), [x] * CHECKED_STEPS)
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

        return Engine(lambda x: [forward(x)], lambda turn: [forward(x) for x in turn])
    if case.mode == "backward":
        gradients = partial(oracle_gradients, case, layers, target)
        return Engine(gradients, lambda turn: [gradients(x) for x in turn])
    trained, optimizer = [(W.copy(), b.copy()) for W, b in layers], oracle.Optimizer("adam")

    def fit(turn: Sequence[Array]) -> None:
        oracle_fit(case, trained, optimizer, turn, target)

    return Engine(partial(oracle_changes, case, layers, target), fit, together=True)


def oracle_gradients(case: Case, layers: Sequence[Layer], target: Array, x: Array) -> list[Array]:
    """The gradients of the squared error by each W and b, in the dtype of the layers."""
    options = network_options(case) | {"epsilon_square": case.epsilon_square}
    _, pairs = oracle.loss_and_gradients(np.atleast_2d(x), target, layers, loss="squared_error", **options)
    return flat(pairs)


def oracle_changes(case: Case, layers: Sequence[Layer], target: Array, x: Array) -> list[Array]:
    """By how much CHECKED_STEPS steps on x change each W and b."""
    trained = [(W.copy(), b.copy()) for W, b in layers]
    oracle_fit(case, trained, oracle.Optimizer("adam"), [x] * CHECKED_STEPS, target)
    return [after - before for after, before in zip(flat(trained), flat(layers), strict=True)]


def oracle_fit(
    case: Case, layers: list[Layer], optimizer: oracle.Optimizer, turn: Sequence[Array], target: Array
) -> None:
    """A step for each input of the turn; changes the layers in place."""
    oracle.fit(
        np.vstack(turn),
        np.tile(target, (len(turn), 1)),
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
