"""All-or-nothing training: an estimator changes at once, after everything has succeeded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from sklearn.base import BaseEstimator

Estimator = TypeVar("Estimator", bound=BaseEstimator)


@contextmanager
def draft_of(estimator: Estimator) -> Iterator[Estimator]:
    """Yields a shallow copy of `estimator` to fit; if the block succeeds, `estimator` takes over its state.

    If the block raises an exception, KeyboardInterrupt included, the estimator stays as it was, and so does a
    `RandomState` in `random_state`. The block must not change in place what the copy shares with the
    estimator, such as its network.
    """
    draft = object.__new__(type(estimator))
    draft.__dict__.update(estimator.__dict__)
    rng = estimator.get_params(deep=False)["random_state"]
    rng_state = rng.get_state() if isinstance(rng, np.random.RandomState) else None
    try:
        yield draft
    except BaseException:
        if rng_state is not None:
            rng.set_state(rng_state)
        raise
    # Parameters that a callback set on the estimator stay set. One assignment: no interrupt can split it.
    estimator.__dict__ = draft.__dict__ | estimator.get_params(deep=False)
