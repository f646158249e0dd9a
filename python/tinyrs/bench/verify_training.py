"""Whether gradients, or what training changed, are right: compared with the oracle in f64, array by array.

A bound for each element, as `verify` has for outputs, would say little here: an element may be the difference
of large numbers. What must be right is the array as a whole, so its 2-norm decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrs.bench import engines
from tinyrs.bench.config import Case
from tinyrs.bench.verify import Agreement, Floats, WrongAnswerError
from tinyrs.oracle import Array, Layer

# Above it a bound would let a wrong answer pass.
_TOO_WIDE = 0.3


@dataclass(frozen=True)
class TrainingReference:
    """The right arrays, W and b of each layer, and how far from each one may be, relative to its norm."""

    arrays: list[Floats]
    allowed: float


def reference(case: Case, layers: Iterable[Layer], x: Array, target: Array) -> TrainingReference:
    """The oracle's gradients at x, or what its steps change, in f64.

    Raises WrongAnswerError where the engine's precision cannot hold the gradients, or rounding may change too
    much.
    """
    dtype: np.dtype[np.floating[Any]] = np.dtype(np.float32 if case.precision == "f32" else np.float64)
    wide = [(W.astype(np.float64), b.astype(np.float64)) for W, b in layers]
    gradients = engines.oracle_gradients(case, wide, target.astype(np.float64), x.astype(np.float64))
    # Deltas below this count as 0 in the core, so that nothing is denormal.
    least = float(np.finfo(dtype).tiny / np.finfo(dtype).eps)
    sizes = [float(np.sqrt(np.mean(gradient * gradient))) for gradient in gradients]
    if min(sizes) < 1e6 * least:
        raise WrongAnswerError(
            f"cannot be verified: gradients of about {min(sizes):.1e} vanish in {case.precision}; "
            "try f64 or fewer layers"
        )
    # Each of 3 products a layer rounds sums of `dimension` or `batch` terms, whose roundings add up like a
    # random walk; 16 is a margin for what the layers pass on.
    longest = max(case.dimension, case.batch)
    allowed = 16 * 3 * case.layers * float(np.finfo(dtype).eps) * float(np.sqrt(longest))
    arrays: Sequence[Array] = gradients
    if case.mode == "train":
        arrays = engines.oracle_changes(case, wide, target.astype(np.float64), x.astype(np.float64))
        # Adam moves each weight by about the learning rate, however small its gradient: where that is no more
        # than its own rounding, in either direction. About a share `allowed` of the weights is so, and each
        # is off by twice its change: 2 sqrt(allowed) of the norm.
        allowed = 2 * float(np.sqrt(allowed))
    if allowed > _TOO_WIDE:
        raise WrongAnswerError(
            f"cannot be verified: rounding may change {allowed:.0%} of it; try f64 or fewer layers"
        )
    return TrainingReference([np.asarray(array, dtype=np.float64) for array in arrays], allowed)


def check(reference: TrainingReference, answer: Sequence[Array]) -> Agreement:
    """Compares an engine's arrays with the oracle's.

    Raises WrongAnswerError, which says which array is off and by how much.
    """
    if [array.shape for array in answer] != [array.shape for array in reference.arrays]:
        raise WrongAnswerError("expected an array for each W and b, got other shapes")
    worst = 0.0
    for number, (array, want) in enumerate(zip(answer, reference.arrays, strict=True)):
        error = float(np.linalg.norm(array.astype(np.float64) - want) / np.linalg.norm(want))
        if not error <= reference.allowed:
            name = f"{'Wb'[number % 2]} of layer {number // 2}"
            raise WrongAnswerError(
                f"{name} is off by {error:.3e} of its norm where {reference.allowed:.3e} is allowed"
            )
        worst = max(worst, error)
    return Agreement(worst, reference.allowed)
