"""A network that is built layer by layer from a model of another library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.predictor import Predictor

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """activation(W x + b), with weight (outputs, inputs) and bias (outputs,)."""

    weight: Array
    bias: Array
    activation: str


@dataclass(frozen=True, eq=False)
class PartialNetwork:
    """A network from its input up to a value: complete layers, then scale * (W h) + shift.

    h is the output of the last complete layer, or the input. Without W, the value is scale * h + shift.

    Attributes
    ----------
    width : int or None
        The number of values in a row; None if it is unknown.
    is_flat : bool
        Whether the value has the shape (rows, width).
    layers : tuple of Layer
        The complete layers.
    weight : array of shape (width, inputs) or None
        W.
    scale, shift : array of shape (width,) or float
    has_folded_shift : bool
        Whether the shift of a scaler before the first layer was folded into that layer.
    """

    width: int | None
    is_flat: bool = True
    layers: tuple[Layer, ...] = ()
    weight: Array | None = None
    scale: Array | float = 1.0
    shift: Array | float = 0.0
    has_folded_shift: bool = False

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        sizes = sum(layer.weight.size + layer.bias.size for layer in self.layers)
        return sizes if self.weight is None else sizes + self.weight.size + len(self.weight)

    def affine(self, scale: Array | float, shift: Array | float) -> PartialNetwork:
        """scale * self + shift, each a number or of shape (width,)."""
        n = max(np.size(scale), np.size(shift))
        if n > 1 and self.width not in (None, n):
            raise ValueError(f"expected {self.width} numbers, one per column, got {n}")
        width = self.width if n == 1 else n
        return replace(self, width=width, scale=self.scale * scale, shift=self.shift * scale + shift)

    def batch_norm(
        self, mean: Array, variance: Array, epsilon: float, scale: Array, shift: Array
    ) -> PartialNetwork:
        """(self - mean) / sqrt(variance + epsilon) * scale + shift, each array (width,).

        This is batch normalisation (Ioffe and Szegedy, 2015) in evaluation mode.
        """
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        return self.affine(factor, shift - mean * factor)

    def linear(self, weight: Array, bias: Array | float = 0.0) -> PartialNetwork:
        """weight self + bias, for weight (outputs, width) and bias (outputs,)."""
        if not self.is_flat:
            raise ValueError("expected values of shape (rows, columns), got more axes: flatten them first")
        if weight.dtype.kind != "f" or weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(
                f"expected weights (outputs, inputs), got {weight.dtype} of shape {weight.shape}"
            )
        if self.width not in (None, weight.shape[1]):
            raise ValueError(f"expected weights for {self.width} inputs, got the shape {weight.shape}")
        if self.weight is not None:
            # Two layers, not the product of their matrices, which could be much larger than both.
            return self.activation("identity").linear(weight, bias)
        n_out, n_in = weight.shape
        shift, is_shifted = np.zeros(n_out), np.any(self.shift != 0)
        if is_shifted:
            shift = weight.astype(np.float64) @ np.broadcast_to(self.shift, n_in)
        if np.any(np.asarray(self.scale) != 1):
            weight = weight.astype(np.float64) * self.scale
        folded = self.has_folded_shift or (not self.layers and bool(is_shifted))
        linear = PartialNetwork(n_out, layers=self.layers, weight=weight, has_folded_shift=folded)
        return linear.affine(1.0, shift + bias)

    def activation(self, name: str) -> PartialNetwork:
        """An activation after a linear layer."""
        if self.weight is None or self.width is None:
            raise ValueError(f"expected a linear layer before {name}, got none")
        weight = self.weight
        if np.any(np.asarray(self.scale) != 1):
            weight = weight * np.broadcast_to(self.scale, self.width)[:, None]
        bias = np.broadcast_to(self.shift, self.width)
        layers = (*self.layers, Layer(weight, bias, name))
        return PartialNetwork(self.width, layers=layers, has_folded_shift=self.has_folded_shift)


def to_predictor(
    network: PartialNetwork,
    output_activation: str,
    classes: Sequence[Any] | Array | None,
    *,
    precision: str,
    multilabel: bool,
    feature_names: Sequence[str] | None = None,
) -> Predictor:
    """The predictor with these logits.

    Parameters
    ----------
    network : PartialNetwork
        Up to the logits: the last linear layer.
    output_activation : {"softmax", "sigmoid"}
        A single sigmoid is the probability of the second of two classes; it becomes a softmax of the logits 0
        and z.
    classes : sequence or None
        The class labels; None for 0, 1, ...
    precision : {"f32", "f64"}
        If the shift of a scaler was folded into the first layer, the precision is "f64" in any case: where
        the scaler centred each number first, the layer now subtracts large sums from each other.
    multilabel : bool
    feature_names : sequence of str, optional

    Raises
    ------
    ValueError
        If there is no linear layer, or the number of classes is not that of the outputs.
    """
    if network.weight is None:
        raise ValueError("expected a linear layer at the end, got none")
    *hidden, last = network.activation("identity").layers
    weight, bias = last.weight, last.bias
    if output_activation == "sigmoid" and len(bias) == 1:
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        output_activation, multilabel = "softmax", False
    labels = np.arange(len(bias)) if classes is None else np.asarray(classes)
    built = Network.from_parameters(
        [*((layer.weight, layer.bias) for layer in hidden), (weight, bias)],
        activation=[layer.activation for layer in hidden] or "identity",
        output_activation=output_activation,
        precision="f64" if network.has_folded_shift else precision,
    )
    if labels.ndim != 1 or len(labels) != len(bias) or len(set(labels.tolist())) != len(bias):
        raise ValueError(f"classes: expected {len(bias)} different ones, got {labels.tolist()!r:.200}")
    return Predictor(built, None, labels, multilabel=multilabel, feature_names=feature_names)


def output_activation(end: str | None, logits: str | None) -> str:
    """The output activation of a network.

    Parameters
    ----------
    end : str or None
        The output activation that the model contains; None if it ends in logits.
    logits : {"softmax", "sigmoid"} or None
        The output activation that the user asked for.

    Raises
    ------
    ValueError
        Unless exactly one of the two is None.
    """
    if logits not in (None, "softmax", "sigmoid"):
        raise ValueError(f"logits: expected 'softmax', 'sigmoid' or None, got {logits!r}")
    if end is None and logits is None:
        raise ValueError(
            "logits: expected 'softmax' (one class per row) or 'sigmoid' (several labels per row, or one of "
            "two classes) for a network that ends in logits, got None"
        )
    if end is not None and logits is not None:
        raise ValueError(f"logits: expected None for a network that ends in {end}, got {logits!r}")
    return end or logits or ""
