"""Probabilities that mean what they say: one temperature for all logits (Guo et al., "On Calibration of
Modern Neural Networks", 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network

Floats = npt.NDArray[np.floating[Any]]


def fit_temperature(logits: Floats, targets: npt.NDArray[Any]) -> float:
    """The temperature that makes the loss on held-out rows least (Guo et al. 2017): logits (rows, outputs).

    To these rows comes one whose label may be any, or a network that is always right there would be certain
    of all it says.
    """
    z = np.asarray(logits, dtype=np.float64)
    any_label = 1 / (len(z) + 1)

    def loss(log_temperature: float) -> float:
        scaled = z / math.exp(log_temperature)
        if targets.ndim == 2:
            smoothed = targets * (1 - any_label) + 0.5 * any_label
            return float(np.mean(np.logaddexp(0, scaled) - scaled * smoothed))
        scaled -= scaled.max(axis=1, keepdims=True)
        expected = (1 - any_label) * scaled[np.arange(len(z)), targets] + any_label * scaled.mean(axis=1)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - expected))

    # The loss is convex in 1 / T, so it has one valley: halve it by the golden ratio.
    low, high, ratio = math.log(0.05), math.log(20.0), (math.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def divide_logits(network: Network, temperature: float) -> None:
    """Puts the temperature into the last layer, where it costs a prediction nothing."""
    parameters = network.parameters()
    weight, bias = parameters[-1]
    network.set_parameters([*parameters[:-1], (weight / temperature, bias / temperature)])
