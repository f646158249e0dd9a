"""A network of another library, put together step by step, and the predictor that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.predictor import Predictor

Array = npt.NDArray[Any]
Layer = tuple[Array, Array, str]  # weights (outputs, inputs), biases (outputs,), activation


@dataclass(frozen=True, eq=False)
class Values:
    """What is known somewhere in a network: scale * (W h) + shift, where h comes out of the layers before, or
    is the input; without W it is scale * h + shift.

    `width` is how many there are in a row, None if nobody said; `is_flat` whether they are (rows, width).
    """

    width: int | None
    is_flat: bool = True
    layers: tuple[Layer, ...] = ()
    weight: Array | None = None
    scale: Array | float = 1.0
    shift: Array | float = 0.0
    # Whether a scaler before the first layer has become part of it.
    folded: bool = False

    def affine(self, scale: Array | float, shift: Array | float) -> Values:
        """scale * self + shift, for numbers or (width,)."""
        n = max(np.size(scale), np.size(shift))
        if n > 1 and self.width not in (None, n):
            raise ValueError(f"expected {self.width} numbers, one a column, got {n}")
        width = self.width if n == 1 else n
        return replace(self, width=width, scale=self.scale * scale, shift=self.shift * scale + shift)

    def normalised(self, mean: Array, variance: Array, epsilon: float, scale: Array, shift: Array) -> Values:
        """(self - mean) / sqrt(variance + epsilon) * scale + shift, each (width,): batch normalisation (Ioffe
        and Szegedy 2015) as it predicts."""
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        return self.affine(factor, shift - mean * factor)

    def dense(self, weight: Array, bias: Array | float = 0.0) -> Values:
        """W self + bias, for W of (outputs, width)."""
        if not self.is_flat:
            raise ValueError("expected values of shape (rows, columns), got more axes: flatten them first")
        if weight.dtype.kind != "f" or weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(
                f"expected weights (outputs, inputs), got {weight.dtype} of shape {weight.shape}"
            )
        if self.width not in (None, weight.shape[1]):
            raise ValueError(f"expected weights for {self.width} inputs, got the shape {weight.shape}")
        if self.weight is not None:
            # Their product could be much larger than both.
            return self.activation("identity").dense(weight, bias)
        n_out, n_in = weight.shape
        shift, moved = np.zeros(n_out), np.any(self.shift != 0)
        if moved:
            shift = weight.astype(np.float64) @ np.broadcast_to(self.shift, n_in)
        if np.any(np.asarray(self.scale) != 1):
            weight = weight.astype(np.float64) * self.scale
        folded = self.folded or (not self.layers and bool(moved))
        return Values(n_out, layers=self.layers, weight=weight, folded=folded).affine(1.0, shift + bias)

    def activation(self, name: str) -> Values:
        """An activation of what must be sums of weights."""
        if self.weight is None or self.width is None:
            raise ValueError(f"expected a layer of weights before {name}, got none")
        weight = self.weight
        if np.any(np.asarray(self.scale) != 1):
            weight = weight * np.broadcast_to(self.scale, self.width)[:, None]
        bias = np.broadcast_to(self.shift, self.width)
        return Values(self.width, layers=(*self.layers, (weight, bias, name)), folded=self.folded)


def predictor(
    end: Values,
    output: str,
    classes: Sequence[Any] | Array | None,
    *,
    precision: str,
    multilabel: bool,
    feature_names: Sequence[str] | None = None,
) -> Predictor:
    """What sums `end` become through the output activation `output`, "softmax" or "sigmoid". One sigmoid is
    the probability of the second of two classes: the softmax of 0 and its sum.

    A scaler that became part of the first layer takes f64: where each number lost its centre first, now large
    sums are subtracted from each other.
    """
    if end.weight is None:
        raise ValueError("expected a layer of weights at the end, got none")
    *hidden, (weight, bias, _) = end.activation("identity").layers
    if output == "sigmoid" and len(bias) == 1:
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        output, multilabel = "softmax", False
    network = Network.from_parameters(
        [*((w, b) for w, b, _ in hidden), (weight, bias)],
        activation=[name for _, _, name in hidden] or "identity",
        output_activation=output,
        precision="f64" if end.folded else precision,
    )
    labels = np.arange(len(bias)) if classes is None else np.asarray(classes)
    if labels.ndim != 1 or len(labels) != len(bias) or len(set(labels.tolist())) != len(bias):
        raise ValueError(f"classes: expected {len(bias)} different ones, got {labels.tolist()!r:.200}")
    return Predictor(network, None, labels, multilabel=multilabel, feature_names=feature_names)


def head(end: str | None, logits: str | None) -> str:
    """The output activation of a network that ends in `end`; where that is None, the one asked for."""
    if logits not in (None, "softmax", "sigmoid"):
        raise ValueError(f"logits: expected 'softmax', 'sigmoid' or None, got {logits!r}")
    if end is None and logits is None:
        raise ValueError(
            "logits: expected 'softmax' (one class a row) or 'sigmoid' (several labels a row, or one of two "
            "classes) for a network that ends in sums, not in probabilities, got None"
        )
    if end is not None and logits is not None:
        raise ValueError(f"logits: expected None for a network that ends in {end}, got {logits!r}")
    return end or logits or ""
