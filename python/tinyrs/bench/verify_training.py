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
    """The right arrays and how far from each one may be, relative to its norm.

    The loss and its gradients by W and b of each layer; or what training changed those by.
    """

    arrays: list[Floats]
    allowed: list[float]


def reference(case: Case, layers: Iterable[Layer], x: Array, target: Array) -> TrainingReference:
    """The oracle's gradients at x, or what its steps change, in f64.

    Raises WrongAnswerError where the engine's precision cannot hold the gradients, or rounding may change too
    much.
    """
    dtype: np.dtype[np.floating[Any]] = np.dtype(np.float32 if case.precision == "f32" else np.float64)
    wide = [(W.astype(np.float64), b.astype(np.float64)) for W, b in layers]
    x, target = x.astype(np.float64), target.astype(np.float64)
    gradients = engines.oracle_gradients(case, wide, target, x[: case.batch])
    # Deltas below this count as 0 in the core, so that nothing is denormal.
    least = float(np.finfo(dtype).tiny / np.finfo(dtype).eps)
    sizes = [float(np.sqrt(np.mean(gradient * gradient))) for gradient in gradients[1:]]
    if min(sizes) < 1e6 * least:
        raise WrongAnswerError(
            f"cannot be verified: gradients of about {min(sizes):.1e} vanish in {case.precision}; "
            "try f64 or fewer layers"
        )
    # Each of 3 products a layer rounds sums of `dimension` or `batch` terms, whose roundings add up like a
    # random walk; 16 is a margin for what the layers pass on.
    longest = max(case.dimension, case.batch)
    allowed = 16 * 3 * case.layers * float(np.finfo(dtype).eps) * float(np.sqrt(longest))
    if case.mode == "backward":
        bounds = [allowed] * len(gradients)
        return TrainingReference([np.asarray(g, dtype=np.float64) for g in gradients], _told(bounds))
    arrays = engines.oracle_changes(case, wide, target, x)
    # Adam moves each weight by about the learning rate, however small its gradient: where that is no more
    # than its own rounding, in either direction. About a share `allowed` of the weights is so, and each is
    # off by twice its change: 2 sqrt(allowed) of the norm. Where gradients are far below Adam's epsilon,
    # steps are as small as they, and what the parameters' own rounding, half a unit a step, leaves decides.
    eps = float(np.finfo(dtype).eps)
    bounds = []
    for start, change in zip(engines.flat(wide), arrays, strict=True):
        norms = float(np.linalg.norm(start)), float(np.linalg.norm(change))
        rounding = engines.CHECKED_STEPS * eps * norms[0] / norms[1] if norms[1] > 0 else np.inf
        bounds.append(2 * float(np.sqrt(allowed)) + rounding)
    return TrainingReference([np.asarray(array, dtype=np.float64) for array in arrays], _told(bounds))


def _told(bounds: list[float]) -> list[float]:
    """`bounds`, if each would tell a wrong array. Raises WrongAnswerError."""
    if max(bounds) > _TOO_WIDE:
        share = "all" if max(bounds) > 1 else f"{max(bounds):.0%}"
        raise WrongAnswerError(
            f"cannot be verified: rounding may change {share} of it; try f64 or fewer layers"
        )
    return bounds


def check(reference: TrainingReference, answer: Sequence[Array]) -> Agreement:
    """Compares an engine's arrays with the oracle's.

    Raises WrongAnswerError, which says which array is off and by how much.
    """
    if [array.shape for array in answer] != [array.shape for array in reference.arrays]:
        raise WrongAnswerError("expected an array for each W and b, got other shapes")
    errors = []
    for number, (array, want, allowed) in enumerate(
        zip(answer, reference.arrays, reference.allowed, strict=True)
    ):
        error = float(np.linalg.norm(array.astype(np.float64) - want) / np.linalg.norm(want))
        if not error <= allowed:
            name = _name(number, len(answer))
            raise WrongAnswerError(f"{name} is off by {error:.3e} of its norm where {allowed:.3e} is allowed")
        errors.append((error, allowed))
    return Agreement(max(error for error, _ in errors), max(errors, key=lambda pair: pair[0] / pair[1])[1])


def _name(number: int, arrays: int) -> str:
    """What array `number` of so many is: a loss comes before an even number of others."""
    if arrays % 2 == 1 and number == 0:
        return "the loss"
    number -= arrays % 2
    return f"{'Wb'[number % 2]} of layer {number // 2}"
