"""The network in plain NumPy: what tinyrs computes, written to be read.

A layer is a pair (W, b): weights W of shape (outputs, inputs) and biases b of shape (outputs,). With
one sample x of shape (inputs,), or a batch of them of shape (batch, inputs), a network is

    z = W x + b                       dense_forward, for each layer
    x = activation(z) * scale         activate, between layers
    y = output_activation(z)          at the end

All of it is computed in the dtype of the parameters, float32 or float64. Finite numbers in, finite
numbers out: what would overflow stops at the largest finite number of the dtype. That inputs and
parameters are finite is not checked here; the Rust core refuses anything else.

This file is the reference of the tests and the `numpy` engine of the benchmark. So it is plain, but
not slow: each line is what one would write in NumPy anyway. NumPy warns when something overflows;
`forward` says that it need not, since each such case is then dealt with.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Layer = tuple[Array, Array]

ACTIVATIONS = ("sigmoid", "tanh", "relu", "identity")
OUTPUT_ACTIVATIONS = ("identity", "same", "softmax")


# The stabilizer: bounds for values that are about to be exponentiated or squared.


@cache
def exp_bounds(dtype: np.dtype[np.floating], epsilon_exp: float = 4e-6) -> tuple[np.floating, np.floating]:
    """[min + epsilon_exp, ln(max) - epsilon_exp], min and max being the extreme numbers of `dtype`.

    The upper bound is rounded down: the float32 next to ln(max) is above it, and its exp infinite.
    """
    low, high = np.finfo(dtype).min + epsilon_exp, float(np.log(float(np.finfo(dtype).max))) - epsilon_exp
    return dtype.type(low), round_down(high, dtype)


@cache
def square_bound(dtype: np.dtype[np.floating], epsilon_square: float = 4e-6) -> np.floating:
    """sqrt(max) - epsilon_square, where max is the largest finite number of `dtype`; rounded down."""
    return round_down(float(np.sqrt(float(np.finfo(dtype).max))) - epsilon_square, dtype)


def round_down(value: float, dtype: np.dtype[np.floating]) -> np.floating:
    """The largest number of `dtype` that is not above `value`."""
    rounded = dtype.type(value)
    return np.nextafter(rounded, dtype.type(-np.inf)) if float(rounded) > value else rounded


def clip_for_square(x: Array, epsilon_square: float = 4e-6) -> Array:
    """x, brought within +-square_bound so that x * x is finite; any shape."""
    bound = square_bound(x.dtype, epsilon_square)
    return np.minimum(np.maximum(x, -bound), bound)


# Activations: each takes an array of any shape and gives one of the same shape.


def sigmoid(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """1 / (1 + exp(clip(-z))), clipped to exp_bounds."""
    low, high = exp_bounds(z.dtype, epsilon_exp)
    return 1 / (1 + np.exp(np.minimum(np.maximum(-z, low), high)))


def tanh(z: Array) -> Array:
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))"""
    return np.tanh(z)


def relu(z: Array) -> Array:
    """max(0, z)"""
    return np.maximum(z, 0)


def softmax(z: Array) -> Array:
    """exp(z_i) / sum_j exp(z_j) along the last axis.

    Taking the largest z from all of them changes nothing in the quotient, and leaves nothing that
    could overflow but the difference itself: to -infinity, whose exp is the right answer, 0.
    """
    e: Array = np.exp(z - z.max(axis=-1, keepdims=True))
    total: Array = e.sum(axis=-1, keepdims=True)
    return e / total


def activate(z: Array, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6) -> Array:
    """activation(z) * scale, saturating at the largest finite number.

    Raises ValueError for a name that is not in ACTIVATIONS.
    """
    if activation == "sigmoid":
        value = sigmoid(z, epsilon_exp)
    elif activation == "tanh":
        value = tanh(z)
    elif activation == "relu":
        value = relu(z)
    elif activation == "identity":
        value = z
    else:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if scale == 1:
        return value
    return saturate(value * value.dtype.type(scale), value.dtype)


# Layers.


def dense_forward(x: Array, weight: Array, bias: Array) -> Array:
    """z = W x + b: x (inputs,), W (outputs, inputs), b (outputs,) -> z (outputs,).

    Or x (batch, inputs) -> z (batch, outputs). By definition z is the exact sum, rounded, and clipped
    to the finite numbers of the dtype. The plain product is that, within rounding, unless something
    overflowed on the way to the sum; only then is the element computed again.
    """
    z = x @ weight.T + bias
    if not np.isfinite(z).all():
        for *sample, j in np.argwhere(~np.isfinite(z)):  # z[j], or z[sample, j] in a batch
            z[(*sample, j)] = saturating_dot(weight[j], x[tuple(sample)], bias[j])
    return z


def saturating_dot(w: Array, x: Array, b: np.floating) -> np.floating:
    """w . x + b for w and x (inputs,), clipped to finite numbers; nothing overflows on the way.

    Both factors are scaled by a power of two, which rounds nothing, so that no element is above 1.
    What underflows then is far below a rounding of the terms that had overflowed.
    """
    w_exponent, x_exponent = (int(np.frexp(np.abs(v).max())[1]) for v in (w, x))
    scaled_w, scaled_x = np.ldexp(w.astype(float), -w_exponent), np.ldexp(x.astype(float), -x_exponent)
    scaled_sum = scaled_w @ scaled_x + np.ldexp(float(b), -w_exponent - x_exponent)
    return w.dtype.type(saturate(np.ldexp(scaled_sum, w_exponent + x_exponent), w.dtype))


def saturate(x: Array, dtype: np.dtype[np.floating]) -> Array:
    """x, with what lies beyond the finite numbers of `dtype` brought back to the nearest of them."""
    largest = np.finfo(dtype).max
    return np.minimum(np.maximum(x, -largest), largest)


def forward(
    x: Array,
    layers: Iterable[Layer],
    *,
    activation: str = "tanh",
    output_activation: str = "identity",
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
) -> Array:
    """The network: x (inputs,) or (batch, inputs) -> (outputs,) or (batch, outputs).

    `layers` may be any iterable of (W, b), also one that makes each layer when it is asked for it.
    `output_activation` "same" does at the end what is done between layers.

    Raises ValueError for a name that is not known and for a network without layers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        z = None
        for weight, bias in layers:
            if z is not None:
                x = activate(z, activation, activation_scale, epsilon_exp)
            z = dense_forward(np.asarray(x, dtype=weight.dtype), weight, bias)
        if z is None:
            raise ValueError("layers: expected at least one (W, b), got none")
        if output_activation == "same":
            return activate(z, activation, activation_scale, epsilon_exp)
        if output_activation == "softmax":
            return softmax(z)
        if output_activation == "identity":
            return z
    names = ", ".join(OUTPUT_ACTIVATIONS)
    raise ValueError(f"output_activation: expected one of {names}, got {output_activation!r}")
