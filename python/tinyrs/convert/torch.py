"""Predictors from PyTorch's nn.Sequential, which is read by its attributes: PyTorch is not imported.

Nor is it in the tests, being gigabytes: classes of the same names stand in. `make interop` asks the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyrs.convert.chain import Array, Values, head, predictor
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
# What a layer must have been told to do what ours does.
OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "LeakyReLU": {"negative_slope": (0.01,)},
    "GELU": {"approximate": ("tanh",)},
    "Softmax": {"dim": (1, -1)},
    "LogSoftmax": {"dim": (1, -1)},
    "BatchNorm1d": {"track_running_stats": (True,)},
    "Flatten": {"start_dim": (1,), "end_dim": (-1,)},
}
# Layers that change no number of a table, when they do not train.
NOTHING = {"AlphaDropout", "Dropout", "Flatten", "Identity"}


def from_torch(model: Any, *, logits: str | None = None, classes: Sequence[Any] | None = None) -> Predictor:
    """An nn.Sequential as a predictor of what it gives in evaluation mode, in the precision of its weights.

    Parameters
    ----------
    model : torch.nn.Sequential
        Of Linear, ReLU, Tanh, Sigmoid, LeakyReLU(0.01), SELU, GELU(approximate="tanh"), SiLU, BatchNorm1d
        (which becomes part of a layer of weights), Softmax or LogSoftmax, Flatten, Dropout and Identity, also
        nested.
    logits : {"softmax", "sigmoid"}, optional
        What makes probabilities of the sums that it ends in, if it does: softmax if CrossEntropyLoss trained
        it, sigmoid if BCEWithLogitsLoss did. One sigmoid is the probability of the second of two classes.
    classes : sequence, optional
        The labels, by default 0, 1, ...

    Raises
    ------
    ValueError
        For a layer that tinyrs does not have, by name and place, or if `logits` is missing.
    TypeError
        If it is no nn.Sequential.
    """
    if type(model).__name__ != "Sequential":
        raise TypeError(f"model: expected an nn.Sequential, got {type(model).__name__}")
    layers = [(place, layer) for place, layer in _layers(model) if _name(layer) not in NOTHING]
    for place, layer in layers:
        for option, allowed in OPTIONS.get(_name(layer), {}).items():
            if (got := getattr(layer, option)) not in allowed:
                raise _error(place, layer, f"expected {option}={allowed[0]!r}, got {got!r}")
    end = None
    if layers and _name(layers[-1][1]) in ("Softmax", "LogSoftmax", "Sigmoid"):
        end = _name(layers.pop()[1]).lower().removeprefix("log")
    values, double = Values(None), False
    for place, layer in layers:
        try:
            if _name(layer) == "Linear":
                weight = _array(layer.weight)
                double = double or weight.dtype == np.float64
                values = values.dense(weight, 0.0 if layer.bias is None else _array(layer.bias))
            elif _name(layer) == "BatchNorm1d":
                values = _normalised(values, layer)
            elif _name(layer) in ACTIVATIONS:
                values = values.activation(ACTIVATIONS[_name(layer)])
            else:
                known = ", ".join(["Linear", "BatchNorm1d", *ACTIVATIONS, *sorted(NOTHING)])
                raise ValueError(f"expected {known}, or Softmax or LogSoftmax at the end")
        except ValueError as error:
            raise _error(place, layer, str(error)) from None
    output = head(end, logits)
    precision = "f64" if double else "f32"
    return predictor(values, output, classes, precision=precision, multilabel=output == "sigmoid")


def _normalised(values: Values, layer: Any) -> Values:
    mean, variance = _array(layer.running_mean), _array(layer.running_var)
    scale = np.ones_like(mean) if layer.weight is None else _array(layer.weight)
    shift = np.zeros_like(mean) if layer.bias is None else _array(layer.bias)
    return values.normalised(mean, variance, layer.eps, scale, shift)


def _name(layer: Any) -> str:
    return type(layer).__name__


def _error(place: str, layer: Any, message: str) -> ValueError:
    return ValueError(f"layer {place} ({_name(layer)}): {message}")


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for i, layer in enumerate(model):
        place = f"{prefix}{i}"
        if type(layer).__name__ == "Sequential":
            yield from _layers(layer, f"{place}.")
        else:
            yield place, layer


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy())
