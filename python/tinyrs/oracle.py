"""The network in plain NumPy: the readable specification of what tinyrs computes and how it learns.

A layer is a pair (W, b): weights W of shape (outputs, inputs) and biases b of shape (outputs,). For one
sample x of shape (inputs,), or a batch of shape (batch, inputs), the forward pass is::

    z = W x + b                       dense_forward, for each layer
    x = activation(z) * scale         activate, between layers
    y = output_activation(z)          output_activate, after the last layer

The backward pass goes through the layers in reverse order. It turns d, the gradient of a loss with respect to
a layer's output, into the gradients of the layer's weights, its biases and its input::

    dz = d * derivative(z)            output_backward for the last layer, derivative for the others
    dW = sum of dz x, db = sum of dz  layers_backward, summed over the samples of a batch
    d = W^T dz                        the gradient with respect to the output of the layer before

Training takes a step against the gradients for each batch::

    W -= learning_rate * step(dW)     Optimizer.update, called by fit

Everything is computed in the dtype of the parameters, float32 or float64. Finite inputs give finite outputs:
`forward` and the losses clip what would overflow to the largest finite number of the dtype. Gradients are not
clipped; an overflow makes them infinite or NaN. The oracle does not check that inputs and parameters are
finite; the Rust core does, and raises an error if they are not.

The tests compare the Rust core with this file, and the benchmark runs it as its engine `numpy`. It is
therefore plain, but not slow: each line is what a NumPy user would write. The functions that may overflow on
purpose suppress NumPy's warnings about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Words = npt.NDArray[np.uint32]  # 32-bit integers for hashing
Layer = tuple[Array, Array]  # (W, b), or the gradients (dW, db)
Masks = Sequence[Array] | None  # dropout: factors (batch, width) for the values of each hidden layer
Activations = str | Sequence[str]  # one name for all hidden layers, or one name for each

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "identity")
OUTPUT_ACTIVATIONS = ("identity", "same", "softmax", "sigmoid")
# Each loss, and the output activations that it can be combined with.
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


def unknown_name(argument: str, names: Iterable[str], got: object) -> ValueError:
    """The error for an argument that is not one of `names`."""
    return ValueError(f"{argument}: expected one of {', '.join(names)}, got {got!r}")


# The stabilizer: bounds that keep exp(x) and x * x finite.


@cache
def exp_bounds(dtype: np.dtype[np.floating], epsilon_exp: float = 4e-6) -> tuple[np.floating, np.floating]:
    """The interval [min + epsilon_exp, ln(max) - epsilon_exp], with the finite limits min and max of `dtype`.

    The upper bound is rounded down: the float32 nearest to ln(max) is above ln(max), and its exp infinite.
    """
    low, high = np.finfo(dtype).min + epsilon_exp, float(np.log(float(np.finfo(dtype).max))) - epsilon_exp
    return dtype.type(low), round_down(high, dtype)


@cache
def square_bound(dtype: np.dtype[np.floating], epsilon_square: float = 4e-6) -> np.floating:
    """sqrt(max) - epsilon_square, rounded down, with the largest finite number max of `dtype`."""
    return round_down(float(np.sqrt(float(np.finfo(dtype).max))) - epsilon_square, dtype)


def round_down(value: float, dtype: np.dtype[np.floating]) -> np.floating:
    """The largest number of `dtype` that is at most `value`."""
    rounded = dtype.type(value)
    return np.nextafter(rounded, dtype.type(-np.inf)) if float(rounded) > value else rounded


def clip_for_square(x: Array, epsilon_square: float = 4e-6) -> Array:
    """x, of any shape, clipped to [-square_bound, square_bound], so that x * x is finite."""
    bound = square_bound(x.dtype, epsilon_square)
    return np.minimum(np.maximum(x, -bound), bound)


# Activations. Each takes an array of any shape and returns one of the same shape.


def sigmoid(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """1 / (1 + exp(-z)), with -z clipped to exp_bounds."""
    low, high = exp_bounds(z.dtype, epsilon_exp)
    return 1 / (1 + np.exp(np.minimum(np.maximum(-z, low), high)))


def tanh(z: Array) -> Array:
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))"""
    return np.tanh(z)


def relu(z: Array) -> Array:
    """max(0, z)"""
    return np.maximum(z, 0)


def leaky_relu(z: Array) -> Array:
    """z if z > 0, else 0.01 z (Maas et al., "Rectifier nonlinearities improve ...", 2013)"""
    below: Array = LEAKY_RELU_SLOPE * z
    return np.maximum(z, below)


def selu(z: Array) -> Array:
    """L z if z > 0, else L A (exp(z) - 1) (Klambauer et al., "Self-normalizing neural networks", 2017)

    L is SELU_SCALE and A is SELU_ALPHA.
    """
    below = SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(z, 0))
    return saturate(np.where(z > 0, SELU_SCALE * z, below), z.dtype)


def gelu_gate(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """(1 + tanh(u)) / 2 = sigmoid(2 u), with u = sqrt(2 / pi) (z + 0.044715 z^3)."""
    square = np.square(clip_for_square(z))
    return sigmoid(2 * GELU_SCALE * z * (1 + GELU_CUBIC * square), epsilon_exp)


def gelu(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """z (1 + tanh(u)) / 2, with u as in gelu_gate (Hendrycks, Gimpel, "Gaussian error linear units", 2016)"""
    return z * gelu_gate(z, epsilon_exp)


def silu(z: Array, epsilon_exp: float = 4e-6) -> Array:
    """z sigmoid(z) (Elfwing et al., "Sigmoid-weighted linear units for ... reinforcement learning", 2017)"""
    return z * sigmoid(z, epsilon_exp)


def softmax(z: Array) -> Array:
    """exp(z_i) / sum_j exp(z_j) along the last axis.

    Subtracting the largest z from all z does not change the quotient, and no exponential can overflow after
    it. The difference itself may overflow to -infinity, whose exp is 0, the correct result.
    """
    e: Array = np.exp(z - z.max(axis=-1, keepdims=True))
    total: Array = e.sum(axis=-1, keepdims=True)
    return e / total


def activate(z: Array, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6) -> Array:
    """activation(z) * scale, clipped to finite numbers.

    Raises ValueError if the name is not in ACTIVATIONS.
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
        raise unknown_name("activation", ACTIVATIONS, activation)
    if scale == 1:
        return value
    return saturate(value * value.dtype.type(scale), value.dtype)


def derivative(z: Array, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6) -> Array:
    """d(activation(z) * scale) / dz. At z = 0, where relu and others have a kink, the left derivative.

    Raises ValueError if the name is not in ACTIVATIONS.
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
        raise unknown_name("activation", ACTIVATIONS, activation)
    scaled: Array = value * value.dtype.type(scale)
    return scaled


def output_activate(
    z: Array, output_activation: str, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6
) -> Array:
    """The output of the network for the z of its last layer, both (outputs,) or (batch, outputs).

    `activation` and `scale` are those of the last hidden layer; only the output activation "same" uses them.
    """
    if output_activation == "identity":
        return z
    if output_activation == "same":
        return activate(z, activation, scale, epsilon_exp)
    if output_activation == "softmax":
        return softmax(z)
    if output_activation == "sigmoid":
        return sigmoid(z, epsilon_exp)
    raise unknown_name("output_activation", OUTPUT_ACTIVATIONS, output_activation)


def output_backward(
    z: Array, d: Array, output_activation: str, activation: str, scale: float = 1.0, epsilon_exp: float = 4e-6
) -> Array:
    """dLoss/dz for d = dLoss/dOutput, both (batch, outputs): the backward pass of output_activate."""
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
    raise unknown_name("output_activation", OUTPUT_ACTIVATIONS, output_activation)


# The numeric embedding, the two layers before the dense ones: each output reads the values of one input only.


def embedding_forward(x: Array, first: Layer, second: Layer) -> Array:
    """Appends e_o = sum_k W2_ok cos(2 pi (W1_k x + b1_k)) + b2_o, with 3 o and 16 k, of each of n inputs.

    They are the first ones. x (inputs,) or (batch, inputs) -> (inputs + 3 n,) or (batch, inputs + 3 n).
    `first` is W1 (16 n, 1) and b1 (16 n,) in turns, `second` is W2 (3 n, 16) and b2 (3 n,), both with the
    values of one input after those of another. This is PBLD (Holzmuller, Grinsztajn and Steinwart, "Better
    by default", 2024).
    """
    x = np.asarray(x, dtype=first[0].dtype)
    n, w2 = embedded_inputs(second), by_input(second[0])
    e = (w2 * np.cos(embedding_angle(x, first))[..., None, :]).sum(axis=-1) + by_input(second[1])
    return np.concatenate([x, saturate(e.reshape(*x.shape[:-1], 3 * n), x.dtype)], axis=-1)


def embedding_backward(x: Array, d: Array, first: Layer, second: Layer) -> tuple[Array, list[Layer]]:
    """The gradients of `embedding_forward`.

    x (batch, inputs), d (batch, inputs + 3 n) -> dx (batch, inputs), [(dW1, db1), (dW2, db2)]
    """
    x = np.asarray(x, dtype=first[0].dtype)
    n, w2 = embedded_inputs(second), by_input(second[0])
    angle, de = embedding_angle(x, first), d[:, x.shape[1] :].reshape(len(x), n, 3)
    dw2 = np.einsum("bno,bnk->nok", de, np.cos(angle))
    du = -2 * np.pi * np.sin(angle) * np.einsum("bno,nok->bnk", de, w2)
    dw1, db1 = (du * x[:, :n, None]).sum(axis=0), du.sum(axis=0)
    dx = d[:, : x.shape[1]].copy()
    dx[:, :n] += (du * first[0].reshape(n, 16)).sum(axis=-1)
    layers = [(dw1.reshape(-1, 1), db1.ravel()), (dw2.reshape(-1, 16), de.sum(axis=0).ravel())]
    return dx, [(dW.astype(x.dtype), db.astype(x.dtype)) for dW, db in layers]


def embedding_angle(x: Array, first: Layer) -> Array:
    """2 pi (W1 x + b1) for each embedded input, (..., n, 16), less whole turns, which do not matter."""
    w1, b1 = first[0].reshape(-1, 16), first[1].reshape(-1, 16)
    turns = w1 * x[..., : len(w1), None] + b1
    return np.asarray(2 * np.pi * (turns - np.round(turns)), dtype=x.dtype)


def embedded_inputs(second: Layer) -> int:
    """The number of embedded inputs, n."""
    return len(second[1]) // 3


def by_input(array: Array) -> Array:
    """W2 as (n, 3, 16), or b2 as (n, 3)."""
    return array.reshape(-1, 3, *array.shape[1:])


# Layers.


def dense_forward(x: Array, weight: Array, bias: Array) -> Array:
    """z = W x + b: x (inputs,), W (outputs, inputs), b (outputs,) -> z (outputs,).

    For a batch, x (batch, inputs) -> z (batch, outputs). By definition, each z is the exact sum, rounded and
    clipped to the finite numbers of the dtype. NumPy's product is equal to it up to rounding, unless a
    product or partial sum overflowed; such elements are computed again.
    """
    z = x @ weight.T + bias
    if not np.isfinite(z).all():
        for *sample, j in np.argwhere(~np.isfinite(z)):  # the index is (j,), or (sample, j) in a batch
            z[(*sample, j)] = saturating_dot(weight[j], x[tuple(sample)], bias[j])
    return z


def saturating_dot(w: Array, x: Array, b: np.floating) -> np.floating:
    """w . x + b for w and x of shape (inputs,), clipped to finite numbers, without intermediate overflow.

    w and x are each scaled by a power of two so that no element is above 1; this scaling is exact, except
    for underflow, which is far smaller than the rounding errors of the terms that overflowed unscaled.
    """
    w_exponent, x_exponent = (int(np.frexp(np.abs(v).max())[1]) for v in (w, x))
    scaled_w, scaled_x = np.ldexp(w.astype(float), -w_exponent), np.ldexp(x.astype(float), -x_exponent)
    scaled_sum = scaled_w @ scaled_x + np.ldexp(float(b), -w_exponent - x_exponent)
    return w.dtype.type(saturate(np.ldexp(scaled_sum, w_exponent + x_exponent), w.dtype))


def saturate(x: Array, dtype: np.dtype[np.floating]) -> Array:
    """x, clipped to the finite numbers of `dtype`."""
    largest = np.finfo(dtype).max
    return np.minimum(np.maximum(x, -largest), largest)


def hidden_activation(activation: Activations, index: int) -> str:
    """The activation of the hidden layer with this index, counted from 0.

    Raises ValueError if `activation` is a sequence with fewer names.
    """
    if isinstance(activation, str):
        return activation
    if index >= len(activation):
        raise ValueError(f"activation: expected a name for each hidden layer, got only {len(activation)}")
    return activation[index]


def last_activation(activation: Activations, n_hidden: int) -> str:
    """The activation of the last of `n_hidden` hidden layers; "" if there are none.

    Raises ValueError if `activation` is a sequence that does not have `n_hidden` names.
    """
    if isinstance(activation, str):
        return activation
    if len(activation) != n_hidden:
        raise ValueError(
            f"activation: expected {n_hidden} names, one per hidden layer, got {len(activation)}"
        )
    return activation[-1] if n_hidden > 0 else ""


def layers_forward(
    x: Array,
    layers: Iterable[Layer],
    activation: Activations,
    scale: float,
    epsilon_exp: float,
    masks: Masks = None,
) -> Iterator[tuple[Array, Array]]:
    """Yields, for each layer, its input x (batch, inputs) and its z = W x + b (batch, outputs)."""
    z = x
    for index, (weight, bias) in enumerate(layers):
        if index > 0:
            x = activate(z, hidden_activation(activation, index - 1), scale, epsilon_exp)
            if masks is not None:
                x = x * masks[index - 1]
        x = np.asarray(x, dtype=weight.dtype)
        z = dense_forward(x, weight, bias)
        yield x, z


def layers_backward(
    dz: Array,
    saved: Sequence[tuple[Array, Array]],
    layers: Sequence[Layer],
    activation: Activations,
    scale: float,
    epsilon_exp: float,
    masks: Masks = None,
) -> tuple[Array, list[Layer]]:
    """Backpropagation: dz of the last layer, (batch, outputs) -> dz of the first layer, and all (dW, db).

    `saved` is the list of (x, z) that layers_forward yielded (Rumelhart, Hinton and Williams, "Learning
    representations by back-propagating errors", 1986).
    """
    gradients: list[Layer] = []
    for index in reversed(range(len(layers))):
        x, _ = saved[index]
        gradients.append((dz.T @ x, dz.sum(axis=0)))
        if index > 0:
            weight, _ = layers[index]
            _, z = saved[index - 1]
            d = dz @ weight
            if masks is not None:
                d = d * masks[index - 1]
            dz = d * derivative(z, hidden_activation(activation, index - 1), scale, epsilon_exp)
    return dz, gradients[::-1]


def forward(
    x: Array,
    layers: Iterable[Layer],
    *,
    activation: Activations = "tanh",
    output_activation: str = "identity",
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
    numeric_embedding: str | None = None,
) -> Array:
    """The network: x (inputs,) or (batch, inputs) -> (outputs,) or (batch, outputs).

    `layers` is any iterable of (W, b), which may create the layers lazily. `activation` is one name, or one
    name for each hidden layer. The output activation "same" is the activation of the last hidden layer. With
    `numeric_embedding`, which is "pbld" or None, the first two (W, b) are those of `embedding_forward`.

    Raises ValueError for an unknown name, and if there are no layers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        z, n_hidden, layers = None, -1, iter(layers)
        if numeric_embedding is not None:
            x = embedding_forward(x, next(layers), next(layers))
        for _, layer_z in layers_forward(x, layers, activation, activation_scale, epsilon_exp):
            z, n_hidden = layer_z, n_hidden + 1
        if z is None:
            raise ValueError("layers: expected at least one (W, b), got none")
        last = last_activation(activation, n_hidden)
        return output_activate(z, output_activation, last, activation_scale, epsilon_exp)


def backward(
    x: Array,
    d_output: Array,
    layers: Sequence[Layer],
    *,
    activation: Activations,
    output_activation: str,
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
    numeric_embedding: str | None = None,
) -> tuple[Array, list[Layer]]:
    """The gradients of a loss, given its gradient d_output = dLoss/dOutput.

    x (batch, inputs), d_output (batch, outputs) -> dx (batch, inputs), [(dW, db), ...]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        embedding: Sequence[Layer] = ()
        inputs = x
        if numeric_embedding is not None:
            embedding, layers = layers[:2], layers[2:]
            x = embedding_forward(x, *embedding)
        last = last_activation(activation, len(layers) - 1)
        saved = list(layers_forward(x, layers, activation, activation_scale, epsilon_exp))
        _, z = saved[-1]
        d = np.asarray(d_output, dtype=z.dtype)
        dz = output_backward(z, d, output_activation, last, activation_scale, epsilon_exp)
        dz, gradients = layers_backward(dz, saved, layers, activation, activation_scale, epsilon_exp)
        dx: Array = dz @ layers[0][0]
        if embedding:
            dx, of_embedding = embedding_backward(inputs, dx, *embedding)
            gradients = of_embedding + gradients
        return dx, gradients


# Losses. Each returns the loss L_i of every sample i, (batch,), and the gradients dL_i/dz, (batch, outputs).


def targets_like(z: Array, y: npt.ArrayLike) -> Array:
    """y with the shape and dtype of z, (batch, outputs); for one output, y may have the shape (batch,).

    Raises ValueError for any other shape.
    """
    t: Array = np.asarray(y, dtype=z.dtype)
    t = t[:, None] if t.ndim == 1 and z.shape[1] == 1 else t
    if t.shape != z.shape:
        raise ValueError(f"y: expected shape {z.shape}, got {t.shape}")
    return t


def cross_entropy(
    z: Array, y: npt.ArrayLike, label_smoothing: float = 0.0, smoothing_prior: Sequence[float] | None = None
) -> tuple[Array, Array]:
    """L = -sum_k t_k ln(p_k) and dL/dz = p - t, with p = softmax(z).

    y holds a class index, 0 to K-1, for each sample, (batch,), or a distribution over the K classes, (batch,
    K). Label smoothing by e makes it t = (1 - e) y + e q, with the prior q = 1 / K by default (Szegedy et
    al., "Rethinking the Inception architecture ...", 2016). Computed as L = sum_k t_k (logsumexp(z) - z_k),
    because p_k may underflow to 0.
    """
    y = np.asarray(y)
    t = np.eye(z.shape[1], dtype=z.dtype)[y] if y.ndim == 1 else targets_like(z, y)
    prior = 1 / z.shape[1] if smoothing_prior is None else np.asarray(smoothing_prior, z.dtype)
    t = (1 - label_smoothing) * t + label_smoothing * prior
    # Shifted as in softmax, and clipped because t may be 0, and 0 * infinity is NaN.
    shifted = saturate(z - z.max(axis=1, keepdims=True), z.dtype)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    losses = (t * (np.log(total) - shifted)).sum(axis=1)
    return saturate(losses, z.dtype), e / total - t


def binary_cross_entropy(
    z: Array,
    y: npt.ArrayLike,
    label_smoothing: float = 0.0,
    epsilon_exp: float = 4e-6,
    smoothing_prior: Sequence[float] | None = None,
) -> tuple[Array, Array]:
    """L = mean_k[-t_k ln(p_k) - (1 - t_k) ln(1 - p_k)] and dL/dz = (p - t) / K, with p = sigmoid(z).

    y holds numbers from 0 to 1, (batch, K). Label smoothing by e makes it t = (1 - e) y + e q, with the prior
    q = 1/2 by default. Computed as
    ``max(z, 0) - z t + ln(1 + exp(-|z|))``, in which nothing overflows and no precision is lost.
    """
    prior = 0.5 if smoothing_prior is None else np.asarray(smoothing_prior, z.dtype)
    t = (1 - label_smoothing) * targets_like(z, y) + label_smoothing * prior
    losses = (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).mean(axis=1)
    return saturate(losses, z.dtype), (sigmoid(z, epsilon_exp) - t) / z.shape[1]


def squared_error(output: Array, y: npt.ArrayLike, epsilon_square: float = 4e-6) -> tuple[Array, Array]:
    """L = mean_k (output_k - y_k)^2, with output - y clipped to square_bound, and dL/dOutput, not dL/dz."""
    error = clip_for_square(output - targets_like(output, y), epsilon_square)
    return saturate(np.square(error).mean(axis=1), output.dtype), 2 / output.shape[1] * error


def scale_to_mean_one(sample_weight: npt.ArrayLike | None, n: int) -> Array:
    """The n sample weights divided by their mean, (n,), in float64; all 1 for None."""
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
    activation: Activations,
    output_activation: str,
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
    epsilon_square: float = 4e-6,
    label_smoothing: float = 0.0,
    smoothing_prior: Sequence[float] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    weights_are_scaled: bool = False,
    masks: Masks = None,
    numeric_embedding: str | None = None,
) -> tuple[float, list[Layer]]:
    """The mean over the batch of w_i L_i, and its gradients [(dW, db), ...], for x (batch, inputs).

    y is as in the function of the loss. w is `sample_weight`, (batch,), scaled to mean 1, unless
    `weights_are_scaled`: `fit` scales the weights to mean 1 over all samples, not over each batch. `masks`
    multiply the values of the hidden layers, (batch, width) each, for dropout. `numeric_embedding` is as in
    `forward`.

    Raises ValueError for an unknown name, and for a loss and output activation that cannot be combined.
    """
    if loss not in LOSSES:
        raise unknown_name("loss", LOSSES, loss)
    if output_activation not in LOSSES[loss]:
        raise unknown_name(f"output_activation for {loss}", LOSSES[loss], output_activation)
    if loss == "squared_error" and label_smoothing != 0:
        raise ValueError(f"label_smoothing: expected 0 for squared_error, got {label_smoothing}")
    embedding: Sequence[Layer] = ()
    inputs = x
    if numeric_embedding is not None:
        embedding, layers = layers[:2], layers[2:]
        x = embedding_forward(x, *embedding)
    last = last_activation(activation, len(layers) - 1)
    w = np.asarray(sample_weight, float) if weights_are_scaled else scale_to_mean_one(sample_weight, len(x))
    with np.errstate(over="ignore", invalid="ignore"):
        saved = list(layers_forward(x, layers, activation, activation_scale, epsilon_exp, masks))
        _, z = saved[-1]
        if loss == "cross_entropy":
            losses, dz = cross_entropy(z, y, label_smoothing, smoothing_prior)
        elif loss == "binary_cross_entropy":
            losses, dz = binary_cross_entropy(z, y, label_smoothing, epsilon_exp, smoothing_prior)
        else:
            output = output_activate(z, output_activation, last, activation_scale, epsilon_exp)
            losses, d = squared_error(output, y, epsilon_square)
            dz = output_backward(z, d, output_activation, last, activation_scale, epsilon_exp)
        dz = dz * (w / len(x)).astype(z.dtype)[:, None]
        dz, gradients = layers_backward(dz, saved, layers, activation, activation_scale, epsilon_exp, masks)
        if embedding:
            _, of_embedding = embedding_backward(inputs, dz @ layers[0][0], *embedding)
            gradients = of_embedding + gradients
        mean = float(w @ losses) / len(x)
    return min(mean, float(np.finfo(float).max)), gradients


# Random numbers by hashing. Each depends only on what it is used for, not on the numbers drawn before it, so
# threads may draw them in any order.


def mix(x: Words) -> Words:
    """The hash function lowbias32 (Wellons, "Prospecting for hash functions", 2018), a bijection.

    Products are modulo 2^32.
    """
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def key(seed: int, *words: int | Words) -> Words:
    """A hash of a 64-bit seed and of 32-bit words, with the shape of the words; (1,) if they are scalars."""
    h = np.zeros(1, np.uint32)
    for word in (seed & 0xFFFFFFFF, seed >> 32, *words):
        w: Words = np.asarray(word, dtype=np.uint32)
        h = mix(h + w)
    return h


def shuffled(n: int, seed: int, epoch: int) -> npt.NDArray[np.intp]:
    """The order of the n samples in an epoch, counted from 0: a permutation of 0 to n-1."""
    i: Words = np.arange(n, dtype=np.uint32)
    return np.argsort(mix(key(seed, 0, epoch) + i))


def dropout_masks(
    batch: int, widths: Sequence[int], p: float, seed: int, step: int, dtype: np.dtype[np.floating]
) -> list[Array]:
    """For each hidden layer a dropout mask (batch, width): 0 with probability p, else 1 / (1 - p).

    `step` is the number of the training step, counted from 0 (Srivastava et al., "Dropout", 2014).
    """
    masks: list[Array] = []
    for layer, width in enumerate(widths):
        rows, columns = np.arange(batch, dtype=np.uint32), np.arange(width, dtype=np.uint32)
        u = mix(key(seed, 1, step, layer, rows)[:, None] + columns)
        masks.append(np.where((u >> np.uint32(8)) < int(p * 2**24), 0, 1 / (1 - p)).astype(dtype))
    return masks


# Schedules.


def half_cosine(start: float, end: float, s: float) -> float:
    """Goes from `start` to `end` along half a period of a cosine while s goes from 0 to 1."""
    return start + (end - start) * 0.5 * (1 - float(np.cos(np.pi * s)))


def schedule(name: str, t: float) -> float:
    """The factor of a schedule, in [0, 1], at t = step / total steps in [0, 1).

    constant: always 1.
    warmup_cosine: a linear rise, then half a cosine to 0 (Loshchilov and Hutter, "SGDR", 2017).
    one_cycle: up and down again (Smith and Topin, "Super-convergence", 2018; the constants are PyTorch's).
    coslog4: four cycles, each twice as long as the one before (Holzmuller, Grinsztajn and Steinwart, "Better
    by default", 2024).
    flat_cosine: 1, then half a cosine to 0 (the same paper, for dropout and weight decay).

    Raises ValueError if the name is not in SCHEDULES.
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
    raise unknown_name("schedule", SCHEDULES, name)


def scheduled(value: float, name: str, t: float) -> float:
    """`value` times the factor of the schedule `name` at t."""
    return value * schedule(name, t)


# Optimizers.


def clip_gradients(gradients: Sequence[Layer], clip_norm: float) -> list[Layer]:
    """The gradients, scaled down so that the 2-norm of all of them together is at most clip_norm.

    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    squares = sum(float(np.square(g, dtype=float).sum()) for layer in gradients for g in layer)
    factor = clip_norm / max(float(np.sqrt(squares)), clip_norm)
    return [(factor * dW, factor * db) for dW, db in gradients]


def flush_denormals(moment: Array) -> None:
    """Sets denormal numbers, those below the smallest normal number, to 0: arithmetic with them is slow."""
    moment[np.abs(moment) < np.finfo(moment.dtype).tiny] = 0


class Optimizer:
    """SGD, Adam or AdamW. It keeps the moments of earlier gradients from call to call.

    Each update is w -= learning_rate * step, with the gradient g of w and

    sgd: v = momentum v + g; step = v, or g + momentum v if `nesterov` (Sutskever et al., "On the importance
    of initialization and momentum ...", 2013, in PyTorch's form).

    adam: m = b1 m + (1 - b1) g and v = b2 v + (1 - b2) g^2; step = m' / (sqrt(v') + epsilon), with
    m' = m / (1 - b1^t) and v' = v / (1 - b2^t) at update t = 1, 2, ... (Kingma and Ba, "Adam", 2015).

    adamw: as adam.

    Weight decay applies to weights, not to biases. sgd and adam add weight_decay * W to the gradient. adamw
    computes W -= learning_rate * weight_decay * W before its step instead (Loshchilov and Hutter, "Decoupled
    weight decay regularization", 2019).
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
            raise unknown_name("optimizer", OPTIMIZERS, name)
        self.name, self.momentum, self.nesterov = name, momentum, nesterov
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.steps = 0
        self.moments: list[tuple[Layer, Layer]] = []  # for each layer: (m, v) of W, and (m, v) of b

    def update(
        self,
        layers: Sequence[Layer],
        gradients: Sequence[Layer],
        learning_rate: float,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        learning_rate_factors: Sequence[tuple[float, float]] | None = None,
        numeric_embedding: str | None = None,
    ) -> None:
        """Updates W and b of all layers in place.

        `learning_rate_factors` holds for each layer the factors of the learning rate for W and for b. The
        first two layers do not decay if they are those of a `numeric_embedding`.
        """
        if not self.moments:
            zeros = np.zeros_like
            self.moments = [((zeros(W), zeros(W)), (zeros(b), zeros(b))) for W, b in layers]
        self.steps += 1
        factors = learning_rate_factors or [(1.0, 1.0)] * len(layers)
        with np.errstate(over="ignore", invalid="ignore"):
            if clip_norm is not None:
                gradients = clip_gradients(gradients, clip_norm)
            decays = [weight_decay] * len(layers)
            if numeric_embedding is not None:
                decays[:2] = 0.0, 0.0
            for (W, b), (dW, db), (W_factor, b_factor), (W_moments, b_moments), decay in zip(
                layers, gradients, factors, self.moments, decays, strict=True
            ):
                self._update(W, dW, W_moments, learning_rate * W_factor, decay)
                self._update(b, db, b_moments, learning_rate * b_factor, 0.0)

    def _update(self, w: Array, g: Array, moments: Layer, rate: float, weight_decay: float) -> None:
        """Updates the weights or the biases of a layer; all arrays have the same shape."""
        if self.name == "adamw":
            w -= rate * weight_decay * w
        elif weight_decay != 0:
            g = g + weight_decay * w
        w -= rate * (self._sgd(g, *moments) if self.name == "sgd" else self._adam(g, *moments))

    def _sgd(self, g: Array, v: Array, _: Array) -> Array:
        v *= self.momentum
        v += g
        flush_denormals(v)
        return g + self.momentum * v if self.nesterov else v

    def _adam(self, g: Array, m: Array, v: Array) -> Array:
        m *= self.beta1
        m += (1 - self.beta1) * g
        v *= self.beta2
        v += (1 - self.beta2) * np.square(clip_for_square(g))
        flush_denormals(m)
        flush_denormals(v)
        m_corrected, v_corrected = m / (1 - self.beta1**self.steps), v / (1 - self.beta2**self.steps)
        step: Array = m_corrected / (np.sqrt(v_corrected) + self.epsilon)
        return step


def fit(
    x: Array,
    y: npt.ArrayLike,
    layers: Sequence[Layer],
    *,
    loss: str,
    activation: Activations,
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
    smoothing_prior: Sequence[float] | None = None,
    clip_norm: float | None = None,
    sample_weight: npt.ArrayLike | None = None,
    shuffle: bool = True,
    seed: int = 0,
    learning_rate_factors: Sequence[tuple[float, float]] | None = None,
    numeric_embedding: str | None = None,
) -> list[float]:
    """Trains `layers` in place on x (n, inputs) and y, and returns the mean loss of each epoch.

    Each epoch passes over all samples once, in batches of `batch_size`; the last batch may be smaller. The
    loss of an epoch is the mean of the losses before each step, without label smoothing. Sample weights are
    scaled to mean 1 over all samples, not over each batch.

    Raises ValueError as loss_and_gradients does, and if `dropout` is not in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected 0 <= p < 1, got {dropout}")
    dtype, n = layers[0][0].dtype, len(x)
    x, y, weights = np.asarray(x, dtype=dtype), np.asarray(y), scale_to_mean_one(sample_weight, n)
    dense = layers if numeric_embedding is None else layers[2:]
    widths = [len(bias) for _, bias in dense[:-1]]
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
            of_batch = partial(
                loss_and_gradients,
                x[rows],
                y[rows],
                layers,
                loss=loss,
                activation=activation,
                output_activation=output_activation,
                activation_scale=activation_scale,
                epsilon_exp=epsilon_exp,
                epsilon_square=epsilon_square,
                sample_weight=weights[rows],
                weights_are_scaled=True,
                masks=masks,
                numeric_embedding=numeric_embedding,
            )
            batch_loss, gradients = of_batch(label_smoothing=label_smoothing, smoothing_prior=smoothing_prior)
            if label_smoothing != 0:
                batch_loss, _ = of_batch(label_smoothing=0.0)
            optimizer.update(
                layers,
                gradients,
                scheduled(learning_rate, schedule, t),
                weight_decay=scheduled(weight_decay, weight_decay_schedule, t),
                clip_norm=clip_norm,
                learning_rate_factors=learning_rate_factors,
                numeric_embedding=numeric_embedding,
            )
            total += batch_loss * len(rows)
            step += 1
        epoch_losses.append(total / n)
    return epoch_losses
