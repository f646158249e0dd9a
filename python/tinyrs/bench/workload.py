"""The network that is timed and its inputs: seeded random numbers, the same on every machine.

Weights are (U(0,1) - 0.5) * s and biases U(0,1) - 0.5 * s with s = 1 / ln(1 + dimension), as in the
project that tinyrs grew out of. No input contains a zero and none is used twice, so that neither branch
prediction nor a shortcut for zeros makes an engine look faster than it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from tinyrs.bench.config import Case
from tinyrs.oracle import Array, Layer

# Bytes of inputs that are made at once: little compared with the weights of a network that takes long to
# time.
_INPUT_BYTES = 4_000_000
# A turn of training is one call of `fit`, which copies the parameters and moments. This many passes make the
# copies negligible; large batches take so long that fewer passes do, which bounds the memory of their inputs.
TRAIN_PASSES = 20
_TURN_BYTES = 64_000_000


def parameters(case: Case, seed: int) -> Iterator[Layer]:
    """Yields W (dimension, dimension) and b (dimension,) of each layer, before any quantization.

    A layer depends only on the seed and its number. The verifier takes one at a time and so needs no second
    copy of the network.
    """
    dtype, d = _dtype(case), case.dimension
    scale = dtype(1 / math.log(1 + d))
    for layer in range(case.layers):
        rng = np.random.default_rng([seed, layer])
        weight, bias = rng.random((d, d), dtype), rng.random(d, dtype)
        # In place: at the largest sizes there is no memory for a temporary.
        weight -= dtype(0.5)
        weight *= scale
        bias -= dtype(0.5) * scale
        yield weight, bias


def inputs(case: Case, seed: int) -> Iterator[Array]:
    """Yields inputs from U(-1, 1) without 0, endlessly.

    An input is a batch (batch, dimension); for a forward pass of one sample it is (dimension,). With inputs
    "denormal", every second number is multiplied by an eighth of the smallest normal number. Inputs are made
    in chunks, so that hardly anything happens between two timed passes.
    """
    dtype, count = _dtype(case), inputs_per_chunk(case)
    one = case.batch == 1 and case.mode == "forward"
    shape = (case.dimension,) if one else (case.batch, case.dimension)
    # Differs from the stream of every layer: their seeds have two numbers.
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
    """The targets of every batch, (batch, dimension), from U(0, 1) without 0: the range of sigmoid."""
    rng, dtype = np.random.default_rng([seed, 0, 2]), _dtype(case)
    return dtype(1) - rng.random((case.batch, case.dimension), dtype)


def longest_turn(case: Case) -> int:
    """The most passes of a turn: their inputs are in memory at the same time."""
    if case.mode != "train":
        return inputs_per_chunk(case)
    batch_bytes = case.batch * case.dimension * case.value_bytes
    return max(inputs_per_chunk(case), min(TRAIN_PASSES, _TURN_BYTES // batch_bytes))


def verification_input(case: Case, seed: int, steps: int) -> Array:
    """The input whose answer is verified.

    For training it has a batch for each of `steps` steps, so that an engine that uses the same rows twice
    gives a wrong answer.
    """
    first = islice(inputs(case, seed), steps if case.mode == "train" else 1)
    return np.vstack(list(first)) if case.mode == "train" else next(first)


def inputs_per_chunk(case: Case) -> int:
    """The number of inputs that are made at once."""
    return max(1, _INPUT_BYTES // (case.batch * case.dimension * case.value_bytes))


def _dtype(case: Case) -> type[np.float32] | type[np.float64]:
    return np.float64 if case.precision == "f64" else np.float32
