"""The right answer of a forward pass, and how far from it the answer of an engine may be.

The reference is the oracle in f64 on the engine's own weights. Each of its values has a bound on its rounding
error, which is carried from layer to layer. Let u be the distance from 1 to the next number of the engine's
precision, k the number of inputs, and e the bound on the error of each input x. Then a layer z = W x + b,
y = f(z) has

    error of z  <=  sqrt((W o W)(e o e))  +  sqrt(k) u (|W| |x| + |b|)
    error of y  <=  max |f(z +- error of z) - f(z)|  +  2 u |y|

Errors of different inputs and of different roundings are assumed to be independent, so their sums grow
with sqrt(k); the worst-case bound grows with k (N. J. Higham and T. Mary, "A new approach to
probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019; u is twice their unit, so lambda
is 2). f must be monotone and accurate to 2 ULP; its derivative is not needed. softmax is not monotone and
has a separate bound. All bounds scale with the values: an absolute tolerance could accept zeros, or two
swapped values.

For weights of low precision, the reference has the quantized weights. The formats "bf16" and "int8" also
round each input x of a product, to a grid of step s. If x has the error e and is within e of the middle of
two grid points, an engine may take the other one, and its error is s. The mean square of these errors grows
with e s, up to that of two independent roundings. Since a few such errors do not average out, the bound has
room for a whole one too. The inputs of the first layer have no error: its bound is that of rounding alone.
In deep networks that bound becomes too wide to tell a right answer from a wrong one. A second bound assumes
that no input was rounded to the other grid point. Nearly all right answers are within it, because few inputs
are that close to the middle, and rounding to the grid removes the errors of all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyrs import oracle, oracle_quantized
from tinyrs.bench.config import DEFAULT_EPSILON, LOW_PRECISIONS, Case
from tinyrs.oracle import Array, Layer

Floats = npt.NDArray[np.float64]

# The error of an activation, in units in the last place.
_ULP = 2.0
# Formats whose products round their inputs.
_ROUNDED_INPUTS = ("bf16", "int8")
# Weights that are processed at a time: in f64 they stay in the second-level cache for all three products.
_BLOCK = 65_536


class WrongAnswerError(Exception):
    """An answer that rounding errors cannot explain, or that cannot be verified."""


@dataclass(frozen=True)
class Reference:
    """The right answer and the allowed error of each value; all (outputs,) or (batch, outputs).

    `without_flips` is the allowed error if no input of a product is rounded to another grid point.
    """

    output: Floats
    allowed: Floats
    without_flips: Floats


@dataclass(frozen=True)
class Agreement:
    """The largest error of an accepted answer, and the allowed error where the answer is closest to it."""

    error: float
    allowed: float


def reference(case: Case, layers: Iterable[Layer], x: Array) -> Reference:
    """The oracle's output of the case's network for x, (inputs,) or (batch, inputs)."""
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
    """The oracle's output for x, (inputs,) or (batch, inputs), in one pass over `layers`.

    Processes a block of rows of one layer at a time, and so needs only a few MB besides the layer.
    """
    dtype: np.dtype[np.floating] = np.dtype(np.float64 if precision == "f64" else np.float32)
    u, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    # Clips exp where the engine's precision does: ln(max of f64) - epsilon_f64 = ln(max of f32) - epsilon.
    float64 = np.dtype(np.float64)
    bounds = [float(oracle.exp_bounds(t, e)[1]) for t, e in ((float64, 0.0), (dtype, epsilon_exp))]
    epsilon = bounds[0] - bounds[1]

    def activate(z: Floats, name: str) -> Floats:
        value = oracle.output_activate(z, name, activation, epsilon_exp=epsilon)
        return value.astype(np.float64, copy=False)

    def activated(z: Floats, z_error: Floats, name: str) -> tuple[Floats, Floats]:
        """The activation of z and the bounds on its error."""
        if name == "softmax":
            value, off = _softmax_with_error(z, z_error, u)
        else:
            value, above, below = (activate(v, name) for v in (z, z + z_error, z - z_error))
            off = np.maximum(np.abs(above - value), np.abs(below - value))
        # `tiny`: the rounding of denormal numbers is absolute.
        return value, off + _ULP * (u * np.abs(value) + tiny)

    value = x.astype(np.float64)
    # The errors with flips, and without.
    error = np.zeros((2 if precision in _ROUNDED_INPUTS else 1, *value.shape))
    # A layer is activated once another one follows, because the last one has a different activation.
    for i, (weight, bias) in enumerate(layers):
        if i > 0:
            value, error = activated(value, error, "same")
        if precision in LOW_PRECISIONS:
            value, error = _quantized_with_error(value, error, (weight, bias), precision, u)
        else:
            value, error = _dense_with_error(value, error, weight, bias, u)
    value, error = activated(value, error, output_activation)
    return Reference(value, error[0], error[-1])


def _softmax_with_error(z: Floats, z_error: Floats, u: float) -> tuple[Floats, Floats]:
    """softmax(z) and the bound on its error; both (..., outputs).

    exp turns an error e of z into a factor of exp(e): once in the numerator and once, as a mean, in the
    denominator. Rounding the difference to the largest z adds to e; the sum in the denominator rounds
    like any other sum.
    """
    value = oracle.softmax(z).astype(np.float64, copy=False)
    e = z_error + u * np.abs(z - z.max(axis=-1, keepdims=True))
    off = value * np.expm1(e + e.max(axis=-1, keepdims=True))
    return value, off + (np.sqrt(z.shape[-1]) + _ULP) * u * value


def _dense_with_error(
    x: Floats, error: Floats, weight: Array, bias: Array, u: float
) -> tuple[Floats, Floats]:
    """W x + b for x (..., inputs) and the bounds on its error, for several errors (n, ..., inputs) of x."""
    outputs, inputs = weight.shape
    z = np.empty((*x.shape[:-1], outputs))
    z_error = np.empty((*error.shape[:-1], outputs))
    step = max(1, _BLOCK // inputs)
    for start in range(0, outputs, step):
        rows = slice(start, start + step)
        W, b = weight[rows].astype(np.float64), bias[rows].astype(np.float64)
        z[..., rows] = oracle.dense_forward(x, W, b)
        z_error[..., rows] = np.sqrt((error * error) @ (W * W).T)
        z_error[..., rows] += u * np.sqrt(inputs) * (np.abs(x) @ np.abs(W).T + np.abs(b))
    return z, z_error


def _quantized_with_error(
    x: Floats, error: Floats, layer: Layer, precision: str, u: float
) -> tuple[Floats, Floats]:
    """As `_dense_with_error`, for a layer whose weights, and with them perhaps x, are quantized.

    If x is, the errors are those with flips and without.
    """
    (quantized,) = oracle_quantized.quantize([layer], precision)
    weight = quantized.weight.astype(np.float64)
    if quantized.scale is not None:
        weight *= quantized.scale.astype(np.float64)[:, None]
    if precision not in _ROUNDED_INPUTS:
        return _dense_with_error(x, error, weight, quantized.bias, u)
    rounded, step = _rounded_with_step(x, precision)
    if precision == "int8":
        # An error of the largest input changes the scale of its row, and with it all inputs.
        largest = np.abs(x).max(axis=-1, keepdims=True)
        relative = error.max(axis=-1, keepdims=True) / np.maximum(largest, np.finfo(np.float32).tiny)
        error = error + relative * np.abs(rounded)
    may_flip = np.array([1.0, 0.0]).reshape(2, *(1,) * x.ndim)
    flips = np.minimum(4 * error, 1.5 * step) * step * may_flip
    one_flip = (
        np.where(error > 0, step, 0).max(axis=-1, keepdims=True) * np.abs(weight).max(axis=1) * may_flip
    )
    z, z_error = _dense_with_error(rounded, np.sqrt(error * error + flips), weight, quantized.bias, u)
    return z, z_error + one_flip


def _rounded_with_step(x: Floats, precision: str) -> tuple[Floats, Floats]:
    """x (..., inputs), rounded as the inputs of a product are, and the distance to the next such number."""
    if precision == "bf16":
        rounded = oracle_quantized.round_to_bfloat16(x).astype(np.float64)
        return rounded, np.ldexp(1.0, np.frexp(rounded)[1] - 8)
    q, scale = oracle_quantized.quantize_rows(x)
    step = scale.astype(np.float64)[..., None]
    return q * step, np.broadcast_to(step, q.shape)


def check(reference: Reference, answer: Array) -> Agreement:
    """Compares an engine's answer with the oracle's.

    Raises WrongAnswerError, which says how large the error is, or that the bound is too wide to decide.
    """
    output, allowed = reference.output, reference.allowed
    if answer.shape != output.shape:
        raise WrongAnswerError(f"expected an answer of shape {output.shape}, got {answer.shape}")
    error = np.abs(answer.astype(np.float64) - output)
    size = float(np.sqrt(np.mean(output * output)))
    for bound in (reference.without_flips, allowed):
        # A network can amplify rounding so much that the bound would accept a wrong answer. Finds NaN too.
        if bound.max() <= 0.1 * size and (error <= bound).all():
            return Agreement(float(error.max()), float(bound[_worst(error, bound)]))
    if not allowed.max() <= 0.1 * size:
        raise WrongAnswerError(
            f"cannot be verified: rounding may change outputs of about {size:.1e} by {allowed.max():.1e}; "
            "try f64 or fewer layers"
        )
    worst = _worst(error, allowed)
    place = ", ".join(str(int(i)) for i in worst)
    raise WrongAnswerError(
        f"output [{place}]: expected {float(output[worst])}, got {float(answer[worst])}; "
        f"off by {error[worst]:.3e}, but only {allowed[worst]:.3e} is allowed"
    )


def _worst(error: Floats, allowed: Floats) -> tuple[np.intp, ...]:
    """The place of the largest share of the allowed error; that of a NaN if there is one."""
    return np.unravel_index(np.argmax(error / allowed), error.shape)
