"""Elementwise ONNX operators, and which activation a composition of them is."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrs.convert.partial_network import Array
from tinyrs.oracle import ACTIVATIONS, activate

# The inputs on which functions are compared: of both signs, up to where all activations are linear.
_MAGNITUDES = np.geomspace(1e-3, 1e4, 200)
GRID = np.concatenate([-_MAGNITUDES[::-1], [0.0], _MAGNITUDES])
GRID.flags.writeable = False
# Relative to max(1, |x|). The constants of a graph may be float32. A leaky_relu with slope 0.011 instead of
# 0.01 differs by 1e-3.
TOLERANCE = 1e-6

_VALUES_ON_GRID = {name: activate(GRID, name) for name in ACTIVATIONS} | {"step": GRID > 0}


def name_of(on_grid: Array) -> str | None:
    """The name of the function with these values on GRID: an activation, "step", or None."""
    allowed = TOLERANCE * np.maximum(1, np.abs(GRID))
    for name, values in _VALUES_ON_GRID.items():
        with np.errstate(invalid="ignore"):
            if (np.abs(on_grid * 1.0 - values) <= allowed).all():
                return name
    return None


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: Array, approximate: bytes = b"none") -> Array:
    # tinyrs has only the tanh approximation: NaN matches no activation.
    return activate(x, "gelu") if approximate == b"tanh" else np.full_like(x, np.nan)


def _selu(
    x: Array, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Array:
    return np.where(x > 0, gamma * x, gamma * alpha * np.expm1(x))


def _leaky_relu(x: Array, alpha: float = 0.01) -> Array:
    return np.where(x > 0, x, alpha * x)


def _binarizer(x: Array, threshold: float = 0.0) -> Array:
    return np.asarray(x > threshold)


# The arguments of each are the inputs and attributes of the ONNX operator.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": lambda a, b: np.divide(a, b),
    "Pow": lambda a, b: np.power(a, b),
    "Max": lambda a, b: np.maximum(a, b),
    "Min": lambda a, b: np.minimum(a, b),
    "Neg": operator.neg,
    "Exp": lambda x: np.exp(x),
    "Sqrt": lambda x: np.sqrt(x),
    "Tanh": lambda x: np.tanh(x),
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "LeakyRelu": _leaky_relu,
    "Selu": _selu,
    "Gelu": _gelu,
    "Greater": lambda a, b: np.greater(a, b),
    "Where": lambda condition, a, b: np.where(condition, a, b),
    "Binarizer": _binarizer,
}
