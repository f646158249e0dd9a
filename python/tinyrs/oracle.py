"""The network in plain NumPy: what tinyrs computes, and how it learns, written to be read.

A layer is a pair (W, b): weights W of shape (outputs, inputs) and biases b of shape (outputs,). With
one sample x of shape (inputs,), or a batch of them of shape (batch, inputs), a network is

    z = W x + b                       dense_forward, for each layer
    x = activation(z) * scale         activate, between layers
    y = output_activation(z)          output_activate, at the end

and learning is to go back along the same way with d, the gradient of a loss, in steps downhill:

    dz = d * derivative(z)            output_backward at the end, derivative between layers
    dW = sum of dz x, db = sum of dz  layers_backward, over the samples of a batch
    d = W^T dz                        and on to the layer before
    W -= rate * step(dW)              Optimizer.update, for each batch of `fit`

All of it is computed in the dtype of the parameters, float32 or float64. `forward` gives finite numbers
for finite numbers: what would overflow stops at the largest finite number of the dtype. So do losses, but
not gradients: one that overflows is infinite or NaN. That inputs and parameters are finite is not checked
here; the Rust core refuses anything else.

This file is the reference of the tests and the `numpy` engine of the benchmark. So it is plain, but
not slow: each line is what one would write in NumPy anyway. NumPy warns when something overflows;
`forward`, and what it takes to learn, say that it need not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Words = npt.NDArray[np.uint32]
Layer = tuple[Array, Array]  # (W, b), and likewise their gradients (dW, db)
Masks = Sequence[Array] | None  # for each hidden layer (batch, width), to multiply its values with (dropout)
Names = str | Sequence[str]  # one activation for all hidden layers, or one for each

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "identity")
OUTPUT_ACTIVATIONS = ("identity", "same", "softmax", "sigmoid")
# Each loss, and the output activations that it goes with.
LOSSES = {
    "cross_entropy": ("softmax", "identity"),
    "binary_cross_entropy": ("sigmoid", "identity"),
    "squared_error": OUTPUT_ACTIVATIONS,
}
SCHEDULES = ("constant", "warmup_cosine", "one_cycle", "coslog4", "flat_cosine")
OPTIMIZERS = ("sgd", "adam", "adamw")

LEAKY_RELU_SLOPE = 0.01
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848
GELU_SCALE, GELU_CUBIC = float(np.sqrt(2 / np.pi)), 0.044715


def unknown(argument: str, names: Iterable[str], got: object) -> ValueError:
    """The error for a name that is not one of `names`."""
    return ValueError(f"{argument}: expected one of {', '.join(names)}, got {got!r}")


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


def leaky_relu(z: Array) -> Array:
    """z where z > 0, else 0.01 z (Maas et al., "Rectifier nonlinearities improve ...", 2013)"""
    below: Array = LEAKY_RELU_SLOPE * z
    return np.maximum(z, below)


def selu(z: Array) -> Array:
    """L z where z > 0, else L A (exp(z) - 1) (Klambauer et al., "Self-normalizing neural networks", 2017)"""
    below = SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(z, 0))
    return saturate(np.where(z > 0, SELU_SCALE * z, below), z.dtype)


def gelu_gate(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """sigmoid(2 u) for u = sqrt(2 / pi) (z + 0.044715 z^3), which is (1 + tanh(u)) / 2."""
    square = np.square(clip_for_square(z))
    return sigmoid(2 * GELU_SCALE * z * (1 + GELU_CUBIC * square), epsilon_exp)


def gelu(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """z (1 + tanh(u)) / 2, u as in gelu_gate (Hendrycks and Gimpel, "Gaussian error linear units", 2016)"""
    return z * gelu_gate(z, epsilon_exp)


def silu(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """z sigmoid(z) (Elfwing et al., "Sigmoid-weighted linear units for ... reinforcement learning", 2017)"""
    return z * sigmoid(z, epsilon_exp)


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
    elif activation == "leaky_relu":
        value = leaky_relu(z)
    elif activation == "selu":
        value = selu(z)
    elif activation == "gelu":
        value = gelu(z, epsilon_exp)
    elif activation == "silu":
        value = silu(z, epsilon_exp)
    elif activation == "identity":
        value = z
    else:
        raise unknown("activation", ACTIVATIONS, activation)
    if scale == 1:
        return value
    return saturate(value * value.dtype.type(scale), value.dtype)


def derivative(z: Array, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6) -> Array:
    """d(activation(z) * scale) / dz; at a kink, z = 0, the derivative on its left.

    Raises ValueError for a name that is not in ACTIVATIONS.
    """
    if activation == "sigmoid":
        y = sigmoid(z, epsilon_exp)
        value = y * (1 - y)
    elif activation == "tanh":
        value = 1 - np.square(tanh(z))
    elif activation == "relu":
        value = (z > 0).astype(z.dtype)
    elif activation == "leaky_relu":
        value = np.where(z > 0, 1, LEAKY_RELU_SLOPE).astype(z.dtype)
    elif activation == "selu":
        below = SELU_SCALE * SELU_ALPHA * np.exp(np.minimum(z, 0))
        value = np.where(z > 0, SELU_SCALE, below).astype(z.dtype)
    elif activation == "gelu":
        gate = gelu_gate(z, epsilon_exp)
        du = GELU_SCALE * (1 + 3 * GELU_CUBIC * np.square(clip_for_square(z)))
        value = gate + z * gate * (1 - gate) * (2 * du)
    elif activation == "silu":
        gate = sigmoid(z, epsilon_exp)
        value = gate + z * gate * (1 - gate)
    elif activation == "identity":
        value = np.ones_like(z)
    else:
        raise unknown("activation", ACTIVATIONS, activation)
    scaled: Array = value * value.dtype.type(scale)
    return scaled


def output_activate(
    z: Array, output_activation: str, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6
) -> Array:
    """What the network answers for the z of its last layer, (outputs,) or (batch, outputs).

    `activation` and `scale` are those of the last hidden layer, for "same".
    """
    if output_activation == "identity":
        return z
    if output_activation == "same":
        return activate(z, activation, scale, epsilon_exp)
    if output_activation == "softmax":
        return softmax(z)
    if output_activation == "sigmoid":
        return sigmoid(z, epsilon_exp)
    raise unknown("output_activation", OUTPUT_ACTIVATIONS, output_activation)


def output_backward(
    z: Array, d: Array, output_activation: str, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6
) -> Array:
    """dLoss/dz for d = dLoss/dOutput, both (batch, outputs); the other way round of output_activate."""
    if output_activation == "identity":
        return d
    if output_activation == "same":
        return d * derivative(z, activation, scale, epsilon_exp)
    if output_activation == "softmax":
        p = softmax(z)  # dp_i / dz_j = p_i (1 if i = j else 0) - p_i p_j
        mean: Array = (d * p).sum(axis=-1, keepdims=True)
        return p * (d - mean)
    if output_activation == "sigmoid":
        return d * derivative(z, "sigmoid", epsilon_exp=epsilon_exp)
    raise unknown("output_activation", OUTPUT_ACTIVATIONS, output_activation)


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


def hidden_activation(activation: Names, number: int) -> str:
    """The name for hidden layer `number`, counted from 0: `activation` is one for all, or one for each."""
    if isinstance(activation, str):
        return activation
    if number >= len(activation):
        raise ValueError(f"activation: expected a name for each hidden layer, got only {len(activation)}")
    return activation[number]


def last_activation(activation: Names, hidden: int) -> str:
    """The name for the last of `hidden` layers. Raises ValueError if there are not as many names."""
    if isinstance(activation, str):
        return activation
    if len(activation) != hidden:
        raise ValueError(f"activation: expected {hidden} names, one a hidden layer, got {len(activation)}")
    return activation[-1] if hidden > 0 else ""


def layers_forward(
    x: Array,
    layers: Iterable[Layer],
    activation: Names,
    scale: float,
    epsilon_exp: float,
    masks: Masks = None,
) -> Iterator[tuple[Array, Array]]:
    """For each layer in turn: the x it is given, (batch, inputs), and z = W x + b, (batch, outputs)."""
    z = x
    for number, (weight, bias) in enumerate(layers):
        if number > 0:
            x = activate(z, hidden_activation(activation, number - 1), scale, epsilon_exp)
            if masks is not None:
                x = x * masks[number - 1]
        x = np.asarray(x, dtype=weight.dtype)
        z = dense_forward(x, weight, bias)
        yield x, z


def layers_backward(
    dz: Array,
    steps: Sequence[tuple[Array, Array]],
    layers: Sequence[Layer],
    activation: Names,
    scale: float,
    epsilon_exp: float,
    masks: Masks = None,
) -> tuple[Array, list[Layer]]:
    """From dz of the last layer, (batch, outputs), to dz of the first, and the (dW, db) of all of them.

    `steps` is what layers_forward made (Rumelhart, Hinton and Williams, "Learning representations by
    back-propagating errors", 1986).
    """
    gradients: list[Layer] = []
    for number in reversed(range(len(layers))):
        x, _ = steps[number]
        gradients.append((dz.T @ x, dz.sum(axis=0)))
        if number > 0:
            weight, _ = layers[number]
            _, z = steps[number - 1]
            d = dz @ weight
            if masks is not None:
                d = d * masks[number - 1]
            dz = d * derivative(z, hidden_activation(activation, number - 1), scale, epsilon_exp)
    return dz, gradients[::-1]


def forward(
    x: Array,
    layers: Iterable[Layer],
    *,
    activation: Names = "tanh",
    output_activation: str = "identity",
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
) -> Array:
    """The network: x (inputs,) or (batch, inputs) -> (outputs,) or (batch, outputs).

    `layers` may be any iterable of (W, b), also one that makes each layer when it is asked for it.
    `activation` is one name, or one for each hidden layer. `output_activation` "same" does at the end
    what is done after the last hidden layer.

    Raises ValueError for a name that is not known and for a network without layers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        z, hidden = None, -1
        for _, output in layers_forward(x, layers, activation, activation_scale, epsilon_exp):
            z, hidden = output, hidden + 1
        if z is None:
            raise ValueError("layers: expected at least one (W, b), got none")
        last = last_activation(activation, hidden)
        return output_activate(z, output_activation, last, activation_scale, epsilon_exp)


def backward(
    x: Array,
    d_output: Array,
    layers: Sequence[Layer],
    *,
    activation: Names,
    output_activation: str,
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
) -> tuple[Array, list[Layer]]:
    """x (batch, inputs), d_output = dLoss/dOutput (batch, outputs) -> dx (batch, inputs), [(dW, db), ...]"""
    with np.errstate(over="ignore", invalid="ignore"):
        last = last_activation(activation, len(layers) - 1)
        steps = list(layers_forward(x, layers, activation, activation_scale, epsilon_exp))
        _, z = steps[-1]
        d = np.asarray(d_output, dtype=z.dtype)
        dz = output_backward(z, d, output_activation, last, activation_scale, epsilon_exp)
        dz, gradients = layers_backward(dz, steps, layers, activation, activation_scale, epsilon_exp)
        return dz @ layers[0][0], gradients


# Losses: each gives L_i of every sample, (batch,), and dL_i/dz, (batch, outputs).


def targets_like(z: Array, y: npt.ArrayLike) -> Array:
    """y as an array like z, (batch, outputs); it may come as (batch,) when there is one output."""
    t: Array = np.asarray(y, dtype=z.dtype)
    t = t[:, None] if t.ndim == 1 and z.shape[1] == 1 else t
    if t.shape != z.shape:
        raise ValueError(f"y: expected shape {z.shape}, got {t.shape}")
    return t


def cross_entropy(z: Array, y: npt.ArrayLike, label_smoothing: float = 0.0) -> tuple[Array, Array]:
    """L = sum_k t_k (logsumexp(z) - z_k), dL/dz = p - t with p = softmax(z); no logarithm of a p.

    y is a label, 0 to K-1, for each sample, or a distribution over the K classes, whose sum is 1. Smoothed
    by e, t = (1 - e) y + e / K (Szegedy et al., "Rethinking the Inception architecture ...", 2016).
    """
    y = np.asarray(y)
    t = np.eye(z.shape[1], dtype=z.dtype)[y] if y.ndim == 1 else targets_like(z, y)
    t = (1 - label_smoothing) * t + label_smoothing / z.shape[1]
    below = saturate(z - z.max(axis=1, keepdims=True), z.dtype)  # as in softmax; -infinity times 0 is NaN
    e = np.exp(below)
    total = e.sum(axis=1, keepdims=True)
    losses = (t * (np.log(total) - below)).sum(axis=1)
    return saturate(losses, z.dtype), e / total - t


def binary_cross_entropy(
    z: Array, y: npt.ArrayLike, label_smoothing: float = 0.0, epsilon_exp: float = 4e-6
) -> tuple[Array, Array]:
    """L = mean_k[-t ln(p) - (1 - t) ln(1 - p)], dL/dz = (p - t) / K with p = sigmoid(z).

    y is between 0 and 1, (batch, K); smoothed by e, t = (1 - e) y + e / 2. Written without p, as
    max(z, 0) - z t + ln(1 + exp(-|z|)), nothing can overflow and no digits are lost.
    """
    t = (1 - label_smoothing) * targets_like(z, y) + label_smoothing / 2
    losses = (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).mean(axis=1)
    return saturate(losses, z.dtype), (sigmoid(z, epsilon_exp) - t) / z.shape[1]


def squared_error(output: Array, y: npt.ArrayLike, epsilon_square: float = 4e-6) -> tuple[Array, Array]:
    """L = mean_k (output_k - y_k)^2, clipped to square_bound; and here dL/dOutput, not dL/dz."""
    error = clip_for_square(output - targets_like(output, y), epsilon_square)
    return saturate(np.square(error).mean(axis=1), output.dtype), 2 / output.shape[1] * error


def scale_to_mean_one(sample_weight: npt.ArrayLike | None, n: int) -> Array:
    """w_i = weight_i / mean of the weights, (n,), in float64; all 1 if there are none."""
    if sample_weight is None:
        return np.ones(n)
    weights: Array = np.asarray(sample_weight, dtype=float)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight: expected shape {(n,)}, got {weights.shape}")
    mean: np.floating = weights.mean()
    return weights / mean


def loss_and_gradients(
    x: Array,
    y: npt.ArrayLike,
    layers: Sequence[Layer],
    *,
    loss: str,
    activation: Names,
    output_activation: str,
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
    epsilon_square: float = 4e-6,
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    weights_as_they_are: bool = False,
    masks: Masks = None,
) -> tuple[float, list[Layer]]:
    """The mean over the batch of w_i L_i, and its gradients [(dW, db), ...]. x (batch, inputs).

    w are the sample weights, (batch,), scaled to mean 1; or `weights_as_they_are`, when the batch is part of
    a larger set over which that has been done. `masks`, one for each hidden layer, (batch, width), multiply
    the hidden values (dropout). y is what cross_entropy, binary_cross_entropy or squared_error says.

    Raises ValueError for names that are not known or do not go together.
    """
    if loss not in LOSSES:
        raise unknown("loss", LOSSES, loss)
    if output_activation not in LOSSES[loss]:
        raise unknown(f"output_activation for {loss}", LOSSES[loss], output_activation)
    if loss == "squared_error" and label_smoothing != 0:
        raise ValueError(f"label_smoothing: expected 0 for squared_error, got {label_smoothing}")
    last = last_activation(activation, len(layers) - 1)
    w = np.asarray(sample_weight, float) if weights_as_they_are else scale_to_mean_one(sample_weight, len(x))
    with np.errstate(over="ignore", invalid="ignore"):
        steps = list(layers_forward(x, layers, activation, activation_scale, epsilon_exp, masks))
        _, z = steps[-1]
        if loss == "cross_entropy":
            losses, dz = cross_entropy(z, y, label_smoothing)
        elif loss == "binary_cross_entropy":
            losses, dz = binary_cross_entropy(z, y, label_smoothing, epsilon_exp)
        else:
            output = output_activate(z, output_activation, last, activation_scale, epsilon_exp)
            losses, d = squared_error(output, y, epsilon_square)
            dz = output_backward(z, d, output_activation, last, activation_scale, epsilon_exp)
        dz = dz * (w / len(x)).astype(z.dtype)[:, None]
        _, gradients = layers_backward(dz, steps, layers, activation, activation_scale, epsilon_exp, masks)
        mean = float(w @ losses) / len(x)
    return min(mean, float(np.finfo(float).max)), gradients


# Randomness by hashing: a number depends on what it is for, not on how many were drawn before it.


def mix(x: Words) -> Words:
    """lowbias32 (C. Wellons, "Prospecting for hash functions", 2018): a bijection; products wrap."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def key(seed: int, *words: int | Words) -> Words:
    """A hash of a seed of 64 bits and of words of 32; of shape (1,), or that of the words."""
    h = np.zeros(1, np.uint32)
    for word in (seed & 0xFFFFFFFF, seed >> 32, *words):
        w: Words = np.asarray(word, dtype=np.uint32)
        h = mix(h + w)
    return h


def shuffled(n: int, seed: int, epoch: int) -> npt.NDArray[np.intp]:
    """The numbers 0 to n-1 in the order of this epoch, counted from 0."""
    i: Words = np.arange(n, dtype=np.uint32)
    return np.argsort(mix(key(seed, 0, epoch) + i))


def dropout_masks(
    batch: int, widths: Sequence[int], p: float, seed: int, step: int, dtype: np.dtype[np.floating]
) -> list[Array]:
    """For each hidden layer (batch, width): 0 with probability p, else 1 / (1 - p).

    `step` counts the steps of `fit` from 0 (Srivastava et al., "Dropout", 2014).
    """
    masks: list[Array] = []
    for layer, width in enumerate(widths):
        rows, columns = np.arange(batch, dtype=np.uint32), np.arange(width, dtype=np.uint32)
        u = mix(key(seed, 1, step, layer, rows)[:, None] + columns)
        masks.append(np.where((u >> np.uint32(8)) < int(p * 2**24), 0, 1 / (1 - p)).astype(dtype))
    return masks


# Schedules.


def half_cosine(start: float, end: float, s: float) -> float:
    """From `start` to `end` along half a wave, as s goes from 0 to 1."""
    return start + (end - start) * 0.5 * (1 - float(np.cos(np.pi * s)))


def schedule(name: str, t: float) -> float:
    """What a rate is multiplied by at t = step / total steps, in [0, 1).

    constant, warmup_cosine (Loshchilov and Hutter, "SGDR", 2017), one_cycle (Smith and Topin,
    "Super-convergence", 2018, with PyTorch's constants), coslog4 (four waves, each twice as long as the one
    before) and flat_cosine (Holzmuller et al., "Better by default", 2024; the latter for dropout and decay).

    Raises ValueError for a name that is not in SCHEDULES.
    """
    if name == "constant":
        return 1.0
    if name == "warmup_cosine":
        return t / 0.1 if t < 0.1 else half_cosine(1, 0, (t - 0.1) / 0.9)
    if name == "one_cycle":
        return half_cosine(1 / 25, 1, t / 0.3) if t < 0.3 else half_cosine(1, 1 / 25e4, (t - 0.3) / 0.7)
    if name == "coslog4":
        return half_cosine(0, 1, 2 * float(np.log2(1 + 15 * t)))
    if name == "flat_cosine":
        return 1.0 if t < 0.5 else half_cosine(1, 0, 2 * (t - 0.5))
    raise unknown("schedule", SCHEDULES, name)


def scheduled(value: float, name: str, t: float) -> float:
    """`value` at t, when it follows the schedule `name`."""
    return value * schedule(name, t)


# Optimizers.


def clip_gradients(gradients: Sequence[Layer], clip_norm: float) -> list[Layer]:
    """The gradients, scaled so that the 2-norm over all of them is at most clip_norm.

    (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013)
    """
    squares = sum(float(np.square(g, dtype=float).sum()) for layer in gradients for g in layer)
    factor = clip_norm / max(float(np.sqrt(squares)), clip_norm)
    return [(factor * dW, factor * db) for dW, db in gradients]


def flush(moment: Array) -> None:
    """Sets to 0 what is below the smallest normal number: arithmetic with such denormals is slow."""
    moment[np.abs(moment) < np.finfo(moment.dtype).tiny] = 0


class Optimizer:
    """Steps downhill, with a memory of earlier gradients that is kept between calls.

    sgd: v = momentum v + g, a step is v, or g + momentum v if `nesterov` (Sutskever et al., "On the
    importance of initialization and momentum ...", 2013, in PyTorch's form).

    adam: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, a step is m' / (sqrt(v') + epsilon), where
    m' = m / (1 - b1^t), v' = v / (1 - b2^t) at step t = 1, 2, ... (Kingma and Ba, "Adam", 2015).

    Both add weight_decay * W to the gradients of weights, which is left out of g in adamw: there
    W -= rate * weight_decay * W before adam's step (Loshchilov and Hutter, "Decoupled weight decay", 2019).
    """

    def __init__(
        self,
        name: str,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        if name not in OPTIMIZERS:
            raise unknown("optimizer", OPTIMIZERS, name)
        self.name, self.momentum, self.nesterov = name, momentum, nesterov
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.steps = 0
        self.moments: list[tuple[Layer, Layer]] = []  # (m, v) of W and of b, for each layer

    def update(
        self,
        layers: Sequence[Layer],
        gradients: Sequence[Layer],
        learning_rate: float,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        learning_rate_factors: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        """Changes W and b in place. Factors of the learning rate: (of W, of b), one pair a layer."""
        if not self.moments:
            zeros = np.zeros_like
            self.moments = [((zeros(W), zeros(W)), (zeros(b), zeros(b))) for W, b in layers]
        self.steps += 1
        factors = learning_rate_factors or [(1.0, 1.0)] * len(layers)
        with np.errstate(over="ignore", invalid="ignore"):
            if clip_norm is not None:
                gradients = clip_gradients(gradients, clip_norm)
            for (W, b), (dW, db), (W_factor, b_factor), (W_moments, b_moments) in zip(
                layers, gradients, factors, self.moments, strict=True
            ):
                self._descend(W, dW, W_moments, learning_rate * W_factor, weight_decay)
                self._descend(b, db, b_moments, learning_rate * b_factor, 0.0)

    def _descend(self, w: Array, g: Array, moments: Layer, rate: float, weight_decay: float) -> None:
        """One step of the weights of a layer, or of its biases: arrays of one shape."""
        if self.name == "adamw":
            w -= rate * weight_decay * w
        elif weight_decay != 0:
            g = g + weight_decay * w
        w -= rate * (self._sgd(g, *moments) if self.name == "sgd" else self._adam(g, *moments))

    def _sgd(self, g: Array, v: Array, _: Array) -> Array:
        v *= self.momentum
        v += g
        flush(v)
        return g + self.momentum * v if self.nesterov else v

    def _adam(self, g: Array, m: Array, v: Array) -> Array:
        m *= self.beta1
        m += (1 - self.beta1) * g
        v *= self.beta2
        v += (1 - self.beta2) * np.square(clip_for_square(g))
        flush(m)
        flush(v)
        m_corrected, v_corrected = m / (1 - self.beta1**self.steps), v / (1 - self.beta2**self.steps)
        step: Array = m_corrected / (np.sqrt(v_corrected) + self.epsilon)
        return step


def fit(
    x: Array,
    y: npt.ArrayLike,
    layers: Sequence[Layer],
    *,
    loss: str,
    activation: Names,
    output_activation: str,
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
    epsilon_square: float = 4e-6,
    optimizer: Optimizer,
    learning_rate: float,
    schedule: str = "constant",
    batch_size: int,
    epochs: int,
    weight_decay: float = 0.0,
    weight_decay_schedule: str = "constant",
    dropout: float = 0.0,
    dropout_schedule: str = "constant",
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    sample_weight: npt.ArrayLike | None = None,
    shuffle: bool = True,
    seed: int = 0,
    learning_rate_factors: Sequence[tuple[float, float]] | None = None,
) -> list[float]:
    """Trains `layers` in place on x (n, inputs) and y; the mean loss of each epoch, as it was on the way.

    An epoch takes all samples once, `batch_size` at a time, the last batch may be smaller. Weights of
    samples are scaled to mean 1 over all of x, not in each batch.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected 0 <= p < 1, got {dropout}")
    dtype, n = layers[0][0].dtype, len(x)
    x, y, weights = np.asarray(x, dtype=dtype), np.asarray(y), scale_to_mean_one(sample_weight, n)
    widths = [len(bias) for _, bias in layers[:-1]]
    starts = range(0, n, batch_size)
    step, epoch_losses = 0, []
    for epoch in range(epochs):
        order = shuffled(n, seed, epoch) if shuffle else np.arange(n)
        total = 0.0
        for start in starts:
            rows = order[start : start + batch_size]
            t = step / (epochs * len(starts))
            p = scheduled(dropout, dropout_schedule, t)
            masks = dropout_masks(len(rows), widths, p, seed, step, dtype) if p > 0 else None
            batch_loss, gradients = loss_and_gradients(
                x[rows],
                y[rows],
                layers,
                loss=loss,
                activation=activation,
                output_activation=output_activation,
                activation_scale=activation_scale,
                epsilon_exp=epsilon_exp,
                epsilon_square=epsilon_square,
                label_smoothing=label_smoothing,
                sample_weight=weights[rows],
                weights_as_they_are=True,
                masks=masks,
            )
            optimizer.update(
                layers,
                gradients,
                scheduled(learning_rate, schedule, t),
                weight_decay=scheduled(weight_decay, weight_decay_schedule, t),
                clip_norm=clip_norm,
                learning_rate_factors=learning_rate_factors,
            )
            total += batch_loss * len(rows)
            step += 1
        epoch_losses.append(total / n)
    return epoch_losses
