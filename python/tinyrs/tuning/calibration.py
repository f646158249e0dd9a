"""Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from tinyrs._tinyrs import Network

Floats = npt.NDArray[np.floating[Any]]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def log_losses(logits: Floats, targets: npt.NDArray[Any], smoothing: float = 0.0) -> npt.NDArray[np.float64]:
    """The log loss of each row, (rows,); in multilabel models its mean over the labels.

    Parameters
    ----------
    logits : array of shape (rows, outputs)
    targets : array of shape (rows,) or (rows, outputs)
        Class indices, for softmax; or an indicator matrix of 0 and 1, for sigmoid.
    smoothing : float
        The share of each target that is spread evenly over the classes, or over both values of a label.
    """
    z = np.asarray(logits, dtype=np.float64)
    if targets.ndim == 2:
        smoothed = targets * (1 - smoothing) + 0.5 * smoothing
        return np.asarray(np.mean(np.logaddexp(0, z) - z * smoothed, axis=1))
    z = z - z.max(axis=1, keepdims=True)
    expected = (1 - smoothing) * z[np.arange(len(z)), targets] + smoothing * z.mean(axis=1)
    return np.asarray(np.log(np.exp(z).sum(axis=1)) - expected)


def fit_temperature(
    logits: Floats, targets: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None = None
) -> float:
    """The temperature in [0.05, 20] that minimises the log loss of logits / temperature.

    Parameters
    ----------
    logits, targets
        As for `log_losses`.
    weights : array of shape (rows,), optional

    Notes
    -----
    The targets are smoothed as if there were one more row, whose target is uniform over all classes. Without
    it, the temperature of a network that is right on all rows would tend to 0.
    """
    z = np.asarray(logits, dtype=np.float64)
    smoothing = 1 / (len(z) + 1)

    def log_loss(log_temperature: float) -> float:
        losses = log_losses(z / math.exp(log_temperature), targets, smoothing)
        return float(np.average(losses, weights=weights))

    # The loss is convex in 1 / temperature, so it has one minimum.
    bounds = (math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE))
    found = minimize_scalar(log_loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return math.exp(found.x)


def divide_logits(network: Network, temperature: float) -> None:
    """Divides the last layer of `network` by the temperature, so that predictions need no extra step."""
    parameters = network.parameters()
    weight, bias = parameters[-1]
    network.set_parameters([*parameters[:-1], (weight / temperature, bias / temperature)])
