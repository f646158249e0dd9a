"""Networks of low precision in plain NumPy: the readable specification of what `Network.quantize` computes.

Only the products W x change. Biases, activations and outputs stay float32, as in `tinyrs.oracle`, and so do
inputs and sums unless stated otherwise::

    f16            W is rounded to float16
    bf16           W and the inputs of each product are rounded to bfloat16, the upper half of a float32
    int8           W is stored as integers q from -127 to 127 with a scale s for each output: W is about q s.
                   Each row of inputs is turned into such integers with one scale t. The sum of the integer
                   products is exact: z = (sum of products) (s t) + b
    int8_weights   W is stored as for int8; the inputs stay float32: z = (q x) s + b

Every rounding is to the nearest number, and of two equally near ones to the even one. A row has a scale of
its own, so its outputs do not depend on the other rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs import oracle
from tinyrs.oracle import Activations, Array, Layer

Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]

FORMATS = ("f16", "bf16", "int8", "int8_weights")
# The largest integer. -128 is not used: the products of two such numbers do not fit into 16 bits pairwise.
LARGEST = 127


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """The weights of a layer as they are stored, and its biases.

    Attributes
    ----------
    format : str
        One of FORMATS, or "f32" for a layer that is not quantized.
    weight : array of shape (outputs, inputs)
        float16 for "f16", int8 for "int8" and "int8_weights", else float32: NumPy has no bfloat16.
    scale : array of shape (outputs,) or None
        The scale of each output, float32, if the weights are integers.
    bias : array of shape (outputs,)
        float32.
    """

    format: str
    weight: npt.NDArray[Any]
    scale: Float32 | None
    bias: Float32

    def dequantized(self) -> Float32:
        """The weights as float32 numbers, (outputs, inputs)."""
        weight = self.weight.astype(np.float32)
        return weight if self.scale is None else weight * self.scale[:, None]


def round_to_bfloat16(x: npt.ArrayLike) -> Float32:
    """x, of any shape, rounded to bfloat16 and clipped to its finite numbers; the result is float32.

    A bfloat16 is the upper half of a float32. Adding 0x7FFF, or 0x8000 if the upper half is odd, carries into
    the upper half if the lower half is to be rounded up.
    """
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    carry = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = ((bits + carry) & np.uint32(0xFFFF0000)).view(np.float32)
    largest = np.array(0x7F7F0000, np.uint32).view(np.float32)
    clipped: Float32 = np.clip(rounded, -largest, largest)
    return clipped


def quantize_rows(x: npt.ArrayLike) -> tuple[Int8, Float32]:
    """Each row of x (..., n) as integers from -127 to 127, and the scale of each row, (...).

    The scale is ``max |x| / 127``. It is 0 for a row of zeros, and so are the integers.
    """
    x = np.asarray(x, dtype=np.float32)
    scale = np.abs(x).max(axis=-1) / np.float32(LARGEST)
    divisor = np.where(scale > 0, scale, np.float32(np.inf))[..., None]
    # The quotient is above 127 only if the scale is a denormal number, which is rounded coarsely.
    q = np.clip(np.rint(x / divisor), -LARGEST, LARGEST).astype(np.int8)
    return q, scale


def quantize(layers: Iterable[Layer], formats: str | Sequence[str]) -> list[QuantizedLayer]:
    """The layers in a format of FORMATS, or each in its own one, of which "f32" keeps a layer as it is.

    Raises ValueError for an unknown format, and if a weight is too large for its format.
    """
    layers = list(layers)
    names = [formats] * len(layers) if isinstance(formats, str) else list(formats)
    if len(names) != len(layers):
        raise ValueError(f"formats: expected {len(layers)} names, one per layer, got {len(names)}")
    return [
        _quantize_layer(index, weight, bias, name)
        for index, ((weight, bias), name) in enumerate(zip(layers, names, strict=True))
    ]


def _quantize_layer(index: int, weight: Array, bias: Array, name: str) -> QuantizedLayer:
    weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    if name == "f32":
        return QuantizedLayer(name, weight, None, bias)
    if name == "f16":
        with np.errstate(over="ignore"):
            half = weight.astype(np.float16)
        if not np.isfinite(half).all():
            largest = float(np.abs(weight).max())
            raise ValueError(f"parameters[{index}].W: expected numbers that fit into f16, got {largest}")
        return QuantizedLayer(name, half, None, bias)
    if name == "bf16":
        return QuantizedLayer(name, round_to_bfloat16(weight), None, bias)
    if name in ("int8", "int8_weights"):
        q, scale = quantize_rows(weight)
        return QuantizedLayer(name, q, scale, bias)
    raise oracle.unknown_name("format", ("f32", *FORMATS), name)


def integer_sums(x: Int8, weight: Int8) -> npt.NDArray[np.int64]:
    """The exact sums W x: x (..., inputs), W (outputs, inputs) -> (..., outputs).

    They are computed in float64, which holds all sums of up to 2^39 products exactly.
    """
    return (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def dense_forward_quantized(x: Float32, layer: QuantizedLayer) -> Float32:
    """z = W x + b: x (..., inputs) -> z (..., outputs), clipped to finite numbers."""
    if layer.format == "bf16":
        x = round_to_bfloat16(x)
    if layer.scale is None:
        return oracle.dense_forward(x, layer.weight.astype(np.float32), layer.bias)
    if layer.format == "int8":
        q, row_scale = quantize_rows(x)
        factor = oracle.saturate(row_scale[..., None] * layer.scale, np.dtype(np.float32))
        z = integer_sums(q, layer.weight).astype(np.float32) * factor + layer.bias
    else:
        # In float64, because the sum may overflow although its product with the scale does not.
        z = (x.astype(np.float64) @ layer.weight.T.astype(np.float64)) * layer.scale + layer.bias
    return oracle.saturate(z, np.dtype(np.float32)).astype(np.float32)


def forward_quantized(
    x: npt.ArrayLike,
    layers: Sequence[QuantizedLayer],
    *,
    activation: Activations = "tanh",
    output_activation: str = "identity",
    activation_scale: float = 1.0,
    epsilon_exp: float = 4e-6,
) -> Float32:
    """The network: x (inputs,) or (batch, inputs) -> (outputs,) or (batch, outputs); options as in `forward`.

    Raises ValueError for an unknown name, and if there are no layers.
    """
    if not layers:
        raise ValueError("layers: expected at least one layer, got none")
    z = x = np.asarray(x, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for index, layer in enumerate(layers):
            if index > 0:
                name = oracle.hidden_activation(activation, index - 1)
                x = oracle.activate(z, name, activation_scale, epsilon_exp)
            z = dense_forward_quantized(x, layer)
        last = oracle.last_activation(activation, len(layers) - 1)
        return oracle.output_activate(z, output_activation, last, activation_scale, epsilon_exp)
