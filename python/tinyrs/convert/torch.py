"""Imports PyTorch's nn.Sequential.

PyTorch is not imported: modules are recognised by the names of their classes and read by their attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyrs.convert.partial_network import Array, PartialNetwork, output_activation, to_predictor
from tinyrs.predictor import Predictor

ACTIVATIONS = {
    "ReLU": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LeakyReLU": "leaky_relu",
    "SELU": "selu",
    "GELU": "gelu",
    "SiLU": "silu",
}
# The allowed values of the options of a layer; the first is named in the error message.
OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "LeakyReLU": {"negative_slope": (0.01,)},
    "GELU": {"approximate": ("tanh",)},
    "Softmax": {"dim": (1, -1)},
    "LogSoftmax": {"dim": (1, -1)},
    "BatchNorm1d": {"track_running_stats": (True,)},
    "Flatten": {"start_dim": (1,), "end_dim": (-1,)},
}
# Layers that do nothing to a table in evaluation mode.
IGNORED = {"AlphaDropout", "Dropout", "Flatten", "Identity"}


def from_torch(model: Any, *, logits: str | None = None, classes: Sequence[Any] | None = None) -> Predictor:
    """Imports an nn.Sequential in evaluation mode as a predictor, in the precision of its weights.

    Parameters
    ----------
    model : torch.nn.Sequential
        It may contain Linear, ReLU, Tanh, Sigmoid, LeakyReLU(0.01), SELU, GELU(approximate="tanh"), SiLU,
        BatchNorm1d (which is folded into a linear layer), Softmax or LogSoftmax, Flatten, Dropout, Identity,
        and other nn.Sequential of these.
    logits : {"softmax", "sigmoid"}, optional
        The output activation of a model that ends in logits: "softmax" if it was trained with
        CrossEntropyLoss, "sigmoid" if with BCEWithLogitsLoss. A single sigmoid is the probability of the
        second of two classes.
    classes : sequence, optional
        The class labels, by default 0, 1, ...

    Raises
    ------
    ValueError
        If tinyrs does not have a layer (the message says which), or `logits` is missing.
    TypeError
        If the model is not an nn.Sequential.
    """
    if type(model).__name__ != "Sequential":
        raise TypeError(f"model: expected an nn.Sequential, got {type(model).__name__}")
    layers = [(path, layer) for path, layer in _layers(model) if _name(layer) not in IGNORED]
    for path, layer in layers:
        for option, allowed in OPTIONS.get(_name(layer), {}).items():
            if (got := getattr(layer, option)) not in allowed:
                raise _error(path, layer, f"expected {option}={allowed[0]!r}, got {got!r}")
    end = None
    if layers and _name(layers[-1][1]) in ("Softmax", "LogSoftmax", "Sigmoid"):
        end = _name(layers.pop()[1]).lower().removeprefix("log")
    network, double = PartialNetwork(None), False
    for path, layer in layers:
        try:
            if _name(layer) == "Linear":
                weight = _array(layer.weight)
                double = double or weight.dtype == np.float64
                network = network.linear(weight, 0.0 if layer.bias is None else _array(layer.bias))
            elif _name(layer) == "BatchNorm1d":
                network = _batch_norm(network, layer)
            elif _name(layer) in ACTIVATIONS:
                network = network.activation(ACTIVATIONS[_name(layer)])
            else:
                known = ", ".join(["Linear", "BatchNorm1d", *ACTIVATIONS, *sorted(IGNORED)])
                raise ValueError(f"expected {known}, or Softmax or LogSoftmax at the end")
        except ValueError as error:
            raise _error(path, layer, str(error)) from None
    output = output_activation(end, logits)
    precision = "f64" if double else "f32"
    return to_predictor(network, output, classes, precision=precision, multilabel=output == "sigmoid")


def _batch_norm(network: PartialNetwork, layer: Any) -> PartialNetwork:
    mean, variance = _array(layer.running_mean), _array(layer.running_var)
    scale = np.ones_like(mean) if layer.weight is None else _array(layer.weight)
    shift = np.zeros_like(mean) if layer.bias is None else _array(layer.bias)
    return network.batch_norm(mean, variance, layer.eps, scale, shift)


def _name(layer: Any) -> str:
    return type(layer).__name__


def _error(path: str, layer: Any, message: str) -> ValueError:
    return ValueError(f"layer {path} ({_name(layer)}): {message}")


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The layers of nested nn.Sequentials with their paths: "2.0" is layer 0 of layer 2."""
    for i, layer in enumerate(model):
        path = f"{prefix}{i}"
        if type(layer).__name__ == "Sequential":
            yield from _layers(layer, f"{path}.")
        else:
            yield path, layer


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy())
