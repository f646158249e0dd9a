"""The right gradients, or the right changes of the parameters, and how far from them an engine may be.

The reference is the oracle in f64. Arrays are compared by the 2-norm of their difference. A bound for each
element, as `verify` has for outputs, would be too wide: an element may be the difference of large numbers.
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

# The widest bound that still tells a wrong array from a right one.
_MAX_ALLOWED = 0.3


@dataclass(frozen=True)
class TrainingReference:
    """The right arrays, and the allowed error of each, relative to its norm.

    For a backward pass: the loss, then the gradients of W and b of each layer. For training: the changes of
    W and b of each layer.
    """

    arrays: list[Floats]
    allowed: list[float]


def reference(case: Case, layers: Iterable[Layer], x: Array, target: Array) -> TrainingReference:
    """The oracle's gradients at x, or the changes by its training steps, in f64.

    Raises WrongAnswerError if the gradients are too small for the engine's precision, or if rounding may
    change them too much.
    """
    dtype: np.dtype[np.floating[Any]] = np.dtype(np.float32 if case.precision == "f32" else np.float64)
    wide = [(W.astype(np.float64), b.astype(np.float64)) for W, b in layers]
    x, target = x.astype(np.float64), target.astype(np.float64)
    gradients = engines.oracle_gradients(case, wide, target, x[: case.batch])
    # The core replaces deltas below this by 0, so that none is denormal.
    least = float(np.finfo(dtype).tiny / np.finfo(dtype).eps)
    sizes = [float(np.sqrt(np.mean(gradient * gradient))) for gradient in gradients[1:]]
    if min(sizes) < 1e6 * least:
        raise WrongAnswerError(
            f"cannot be verified: gradients of about {min(sizes):.1e} vanish in {case.precision}; "
            "try f64 or fewer layers"
        )
    # Each of the 3 products of a layer rounds sums of `dimension` or `batch` terms; the errors add up like a
    # random walk. 16 is a margin for errors that layers pass on.
    longest = max(case.dimension, case.batch)
    allowed = 16 * 3 * case.layers * float(np.finfo(dtype).eps) * float(np.sqrt(longest))
    if case.mode == "backward":
        bounds = [allowed] * len(gradients)
        return TrainingReference([np.asarray(g, dtype=np.float64) for g in gradients], _checked(bounds))
    arrays = engines.oracle_changes(case, wide, target, x)
    # Adam moves each weight by about the learning rate, however small its gradient. If a gradient is as
    # small as its rounding error, the direction is arbitrary. That concerns a share of about `allowed` of
    # the weights, each off by twice its change: 2 sqrt(allowed) of the norm. If gradients are far below
    # Adam's epsilon, the steps are as small as they are, and the rounding of the parameters (half a unit
    # per step) decides.
    eps = float(np.finfo(dtype).eps)
    bounds = []
    for start, change in zip(engines.flat(wide), arrays, strict=True):
        norms = float(np.linalg.norm(start)), float(np.linalg.norm(change))
        rounding = engines.CHECKED_STEPS * eps * norms[0] / norms[1] if norms[1] > 0 else np.inf
        bounds.append(2 * float(np.sqrt(allowed)) + rounding)
    return TrainingReference([np.asarray(array, dtype=np.float64) for array in arrays], _checked(bounds))


def _checked(bounds: list[float]) -> list[float]:
    """Returns `bounds`. Raises WrongAnswerError if one of them is too wide to decide."""
    if max(bounds) > _MAX_ALLOWED:
        share = "all" if max(bounds) > 1 else f"{max(bounds):.0%}"
        raise WrongAnswerError(
            f"cannot be verified: rounding may change {share} of an array; try f64 or fewer layers"
        )
    return bounds


def check(reference: TrainingReference, answer: Sequence[Array]) -> Agreement:
    """Compares an engine's arrays with the oracle's.

    Raises WrongAnswerError, which names the wrong array and its error.
    """
    if len(answer) != len(reference.arrays):
        raise WrongAnswerError(f"expected {len(reference.arrays)} arrays, got {len(answer)}")
    errors = []
    for number, (array, want, allowed) in enumerate(
        zip(answer, reference.arrays, reference.allowed, strict=True)
    ):
        name = _name(number, len(answer))
        if array.shape != want.shape:
            raise WrongAnswerError(f"{name}: expected shape {want.shape}, got {array.shape}")
        error = float(np.linalg.norm(array.astype(np.float64) - want) / np.linalg.norm(want))
        if not error <= allowed:
            raise WrongAnswerError(
                f"{name} is off by {error:.3e} of its norm, but only {allowed:.3e} is allowed"
            )
        errors.append((error, allowed))
    return Agreement(max(error for error, _ in errors), max(errors, key=lambda pair: pair[0] / pair[1])[1])


def _name(number: int, arrays: int) -> str:
    """The name of array `number` of `arrays`; if their number is odd, the first one is the loss."""
    if arrays % 2 == 1 and number == 0:
        return "the loss"
    number -= arrays % 2
    return f"{'Wb'[number % 2]} of layer {number // 2}"
