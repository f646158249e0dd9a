"""The temperature of `fit_temperature` minimises the log loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tinyrs.tuning.calibration import fit_temperature

Array = npt.NDArray[Any]


def derivative(logits: Array, targets: Array, temperature: float) -> float:
    """d log loss / d (1 / temperature), with the target smoothing of `fit_temperature`."""
    n, k = logits.shape
    smoothing = 1 / (n + 1)
    z = logits / temperature
    if targets.ndim == 2:
        t = targets * (1 - smoothing) + smoothing / 2
        return float(np.mean(logits * (1 / (1 + np.exp(-z)) - t)))
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    t = (1 - smoothing) * np.eye(k)[targets] + smoothing / k
    return float(np.mean((logits * (p - t)).sum(axis=1)))


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("size", [0.3, 1.0, 8.0])
def test_the_temperature_is_the_minimum(size: float, multilabel: bool) -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, 500)
    targets: Array = (rng.random((500, 4)) < 0.4).astype(float) if multilabel else classes
    logits = size * (rng.normal(size=(500, 4)) + 2 * (targets if multilabel else np.eye(4)[classes]))
    temperature = fit_temperature(logits, targets)
    assert 0.05 < temperature < 20
    # The loss is convex in 1 / temperature: its derivative changes sign at the minimum.
    assert derivative(logits, targets, temperature * (1 + 1e-6)) < 0
    assert derivative(logits, targets, temperature * (1 - 1e-6)) > 0
    assert fit_temperature(logits / 2, targets) == pytest.approx(temperature / 2, rel=1e-6)


@pytest.mark.parametrize(("size", "want"), [(1e-4, 0.05), (1e4, 20.0)])
def test_the_temperature_is_bounded(size: float, want: float) -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 200)
    logits = size * (rng.normal(size=(200, 3)) + np.eye(3)[classes])
    assert fit_temperature(logits, classes) == pytest.approx(want, rel=1e-6)


def test_a_network_that_is_always_right_is_not_certain() -> None:
    classes = np.arange(100) % 2
    temperature = fit_temperature(10 * np.eye(2)[classes], classes)
    assert 0.05 < temperature < 20
    # The most likely probability of the right class is 1 - smoothing / 2.
    right = 1 / (1 + np.exp(-10 / temperature))
    assert right == pytest.approx(1 - 1 / 101 / 2, rel=1e-6)
