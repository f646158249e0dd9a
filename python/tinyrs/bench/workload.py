"""The network that is timed and what it is fed: seeded random numbers, the same on every machine.

Weights are (U(0,1) - 0.5) * s and biases U(0,1) - 0.5 * s with s = 1 / ln(1 + dimension), as in the project
that tinyrs grew out of. No input is zero, no two epochs share one: neither a branch predictor nor a
shortcut for zeros shall flatter anybody.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from tinyrs.bench.config import ITEM_SIZES, Case
from tinyrs.oracle import Array, Layer

# Bytes of inputs to hold at once: as many as stay small against any network worth a lot of epochs.
_INPUT_BYTES = 4_000_000
# A turn of training is one call, which copies parameters and moments and back: so many passes make up for it,
# if their inputs take no more than so many bytes. Larger batches have enough to compute that fewer will do.
TRAIN_PASSES = 20
_TURN_BYTES = 64_000_000
_DTYPES: dict[str, type[np.float32] | type[np.float64]] = {"f32": np.float32, "f64": np.float64}


def parameters(case: Case, seed: int) -> Iterator[Layer]:
    """The layers, each made when it is asked for: W (dimension, dimension), b (dimension,).

    A layer depends on the seed and its number alone. So whoever takes one at a time, as the verifier does,
    needs no second copy of the network.
    """
    dtype, d = _DTYPES[case.precision], case.dimension
    scale = dtype(1 / math.log(1 + d))
    for layer in range(case.layers):
        rng = np.random.default_rng([seed, layer])
        weight, bias = rng.random((d, d), dtype), rng.random(d, dtype)
        # In place: at the largest sizes a temporary of the weights would not fit.
        weight -= dtype(0.5)
        weight *= scale
        bias -= dtype(0.5) * scale
        yield weight, bias


def inputs(case: Case, seed: int) -> Iterator[Array]:
    """Endless samples (dimension,), or batches (batch, dimension) if batch > 1, from U(-1, 1) without 0.

    What is learned from is always a batch, if of one. With inputs "denormal" every second number of a sample
    is an eighth of the smallest normal one, times that. They are made many at a time, so that what happens
    between two timed passes is next to nothing.
    """
    dtype, count = _DTYPES[case.precision], held_at_once(case)
    one = case.batch == 1 and case.mode == "forward"
    shape = (case.dimension,) if one else (case.batch, case.dimension)
    # A different stream from that of any layer, whose seeds have two numbers.
    rng = np.random.default_rng([seed, 0, 1])
    while True:
        chunk = rng.random((count, *shape), dtype)
        chunk *= dtype(2)
        chunk -= dtype(1)
        chunk[chunk == 0] = 1
        if case.inputs == "denormal":
            chunk[..., ::2] *= np.finfo(dtype).tiny / 8
        yield from chunk


def targets(case: Case, seed: int) -> Array:
    """What the outputs for every batch should be: (batch, dimension) from U(0, 1), where sigmoid puts
    them, without 0."""
    rng, dtype = np.random.default_rng([seed, 0, 2]), _DTYPES[case.precision]
    return dtype(1) - rng.random((case.batch, case.dimension), dtype)


def longest_turn(case: Case) -> int:
    """How many consecutive passes may have their inputs in memory at a time."""
    if case.mode != "train":
        return held_at_once(case)
    batch_bytes = case.batch * case.dimension * ITEM_SIZES[case.precision]
    return max(held_at_once(case), min(TRAIN_PASSES, _TURN_BYTES // batch_bytes))


def to_check(case: Case, seed: int, steps: int) -> Array:
    """What the answer to is checked: an input; for training as many batches as there are `steps`, so that an
    engine that takes the same rows twice is found out."""
    first = islice(inputs(case, seed), steps if case.mode == "train" else 1)
    return np.vstack(list(first)) if case.mode == "train" else next(first)


def held_at_once(case: Case) -> int:
    """How many inputs are made at a time."""
    return max(1, _INPUT_BYTES // (case.batch * case.dimension * ITEM_SIZES[case.precision]))
