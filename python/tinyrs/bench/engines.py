"""Who computes a pass.

By name, a function that takes a case and its layers, and gives the pass ready to be called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import tinyrs
from tinyrs import oracle
from tinyrs.bench.config import Case, UsageError
from tinyrs.oracle import Array, Layer

Forward = Callable[[Array], Array]


def tinyrs_engine(case: Case, layers: Iterable[Layer]) -> Forward:
    """The Rust core."""
    network = tinyrs.Network.from_parameters(
        layers,
        activation=case.activation,
        output_activation="same",
        precision=case.precision,
        epsilon_exp=case.epsilon_exp,
        epsilon_square=case.epsilon_square,
    )
    return partial(network.forward, n_threads=case.threads)


def numpy_engine(case: Case, layers: Iterable[Layer]) -> Forward:
    """NumPy and its BLAS, by way of the oracle."""
    return partial(
        oracle.forward,
        layers=list(layers),
        activation=case.activation,
        output_activation="same",
        epsilon_exp=case.epsilon_exp,
    )


ENGINES: dict[str, Callable[[Case, Iterable[Layer]], Forward]] = {
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
