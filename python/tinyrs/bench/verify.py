"""What the right answer is, and how far from it an engine may be.

The reference is the oracle in f64 on the engine's own weights. Next to each value goes a bound on what
rounding can have done to it, carried from layer to layer. With u the distance from 1 to the next number of
the engine's precision, k inputs, and e the bound on the error of each input x, a layer z = W x + b, y = f(z)
has

    error of z  <=  sqrt((W o W)(e o e))  +  sqrt(k) u (|W| |x| + |b|)
    error of y  <=  max |f(z +- error of z) - f(z)|  +  2 u |y|

Errors of different inputs, and of different roundings, are taken to be independent; so sums of them grow with
sqrt(k), where the bound for the worst case grows with k (N. J. Higham and T. Mary, "A new approach to
probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019; u is twice their unit, so lambda is
2). f has to be monotone, its derivative is not needed; it is computed to 2 ULP. softmax, which is not, has a
bound of its own. All of it is in proportion to the numbers that were computed: no tolerance is added that
would let an answer of zeros, or one with two values swapped, pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyrs import oracle
from tinyrs.bench.config import DEFAULT_EPSILON, Case
from tinyrs.oracle import Array, Layer

Floats = npt.NDArray[np.float64]

# How far an activation may be from the correctly rounded one.
_ULP = 2.0
# Numbers of a weight matrix to look at in one go: in f64 they stay in the second-level cache for all three
# products.
_BLOCK = 65_536


class WrongAnswerError(Exception):
    """An answer that is further from the oracle's than rounding can take it."""


@dataclass(frozen=True)
class Reference:
    """The right answer and how far from it one may be; both of shape (outputs,) or (batch, outputs)."""

    output: Floats
    allowed: Floats


@dataclass(frozen=True)
class Agreement:
    """The largest error of an accepted answer, and what was allowed where it came nearest to its bound."""

    error: float
    allowed: float


def reference(case: Case, layers: Iterable[Layer], x: Array) -> Reference:
    """The oracle's answer of the case's network to x, (inputs,) or (batch, inputs)."""
    return reference_of(
        layers, x, case.precision, case.activation, output_activation="same", epsilon_exp=case.epsilon_exp
    )


def reference_of(
    layers: Iterable[Layer],
    x: Array,
    precision: str,
    activation: str,
    *,
    output_activation: str,
    epsilon_exp: float = DEFAULT_EPSILON,
) -> Reference:
    """The oracle's answer to x, (inputs,) or (batch, inputs), in one pass over `layers`.

    Takes a block of rows of one layer at a time: what it needs on top of the layer is a few MB.
    """
    dtype: np.dtype[np.floating] = np.dtype(np.float32 if precision == "f32" else np.float64)
    u, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    # Bounds exp as in the engine's precision: ln(max of f64) - epsilon_f64 = ln(max of f32) - epsilon.
    float64 = np.dtype(np.float64)
    bounds = [float(oracle.exp_bounds(t, e)[1]) for t, e in ((float64, 0.0), (dtype, epsilon_exp))]
    epsilon = bounds[0] - bounds[1]

    def plain(z: Floats, name: str) -> Floats:
        value = oracle.output_activate(z, name, activation, epsilon_exp=epsilon)
        return value.astype(np.float64, copy=False)

    def activated(z: Floats, z_error: Floats, name: str) -> tuple[Floats, Floats]:
        """The activation of z, and the bound on its error."""
        if name == "softmax":
            value, off = _softmax_with_error(z, z_error, u)
        else:
            value, above, below = (plain(v, name) for v in (z, z + z_error, z - z_error))
            off = np.maximum(np.abs(above - value), np.abs(below - value))
        # Where numbers become denormal, rounding is no longer relative.
        return value, off + _ULP * (u * np.abs(value) + tiny)

    value = x.astype(np.float64)
    error = np.zeros_like(value)
    # A layer is activated when the next one is known: the last one is activated otherwise.
    for i, (weight, bias) in enumerate(layers):
        if i > 0:
            value, error = activated(value, error, "same")
        value, error = _dense_with_error(value, error, weight, bias, u)
    return Reference(*activated(value, error, output_activation))


def _softmax_with_error(z: Floats, z_error: Floats, u: float) -> tuple[Floats, Floats]:
    """softmax(z), and the bound on its error; both (..., outputs).

    exp turns an error e of z into a factor of exp(e), once above the line and once, as a mean, below it.
    Rounding the difference to the largest z adds to e; the sum below the line rounds like any other.
    """
    value = oracle.softmax(z).astype(np.float64, copy=False)
    e = z_error + u * np.abs(z - z.max(axis=-1, keepdims=True))
    off = value * np.expm1(e + e.max(axis=-1, keepdims=True))
    return value, off + (np.sqrt(z.shape[-1]) + _ULP) * u * value


def _dense_with_error(
    x: Floats, error: Floats, weight: Array, bias: Array, u: float
) -> tuple[Floats, Floats]:
    """W x + b for x (..., inputs), and the bound on its error; both (..., outputs)."""
    outputs, inputs = weight.shape
    z = np.empty((*x.shape[:-1], outputs))
    z_error = np.empty_like(z)
    step = max(1, _BLOCK // inputs)
    for start in range(0, outputs, step):
        rows = slice(start, start + step)
        W, b = weight[rows].astype(np.float64), bias[rows].astype(np.float64)
        z[..., rows] = oracle.dense_forward(x, W, b)
        z_error[..., rows] = np.sqrt((error * error) @ (W * W).T)
        z_error[..., rows] += u * np.sqrt(inputs) * (np.abs(x) @ np.abs(W).T + np.abs(b))
    return z, z_error


def check(reference: Reference, answer: Array) -> Agreement:
    """Compares an engine's answer with the oracle's.

    Raises WrongAnswerError, which says by how much it is off, or that the bound is too wide to tell.
    """
    output, allowed = reference.output, reference.allowed
    if answer.shape != output.shape:
        raise WrongAnswerError(f"expected an answer of shape {output.shape}, got {answer.shape}")
    # A network that blows up rounding until a wrong answer would do as well cannot be verified, so it is
    # not timed.
    size = float(np.sqrt(np.mean(output * output)))
    if not allowed.max() <= 0.1 * size:
        raise WrongAnswerError(
            f"cannot be verified: rounding may change outputs of about {size:.1e} by {allowed.max():.1e}; "
            "try f64 or fewer layers"
        )
    error = np.abs(answer.astype(np.float64) - output)
    # NaN compares as false, and argmax finds it.
    worst = np.unravel_index(np.argmax(error / allowed), error.shape)
    if not (error <= allowed).all():
        place = ", ".join(str(int(i)) for i in worst)
        raise WrongAnswerError(
            f"output [{place}] is {float(answer[worst])}, the oracle says {float(output[worst])}: "
            f"off by {error[worst]:.3e} where {allowed[worst]:.3e} is allowed"
        )
    return Agreement(float(error.max()), float(allowed[worst]))
