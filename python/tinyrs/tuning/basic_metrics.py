"""Accuracy and log loss, from targets and probabilities. Needs NumPy only.

The functions take `targets`, class indices (rows,) or an indicator matrix (rows, labels), and `p`,
probabilities (rows, classes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]


def predicted(targets: Array, p: Floats) -> Array:
    """The most probable class of each row as its index; the indicator matrix in multilabel models."""
    return (p > 0.5).astype(int) if targets.ndim == 2 else p.argmax(axis=1)


def accuracy(targets: Array, p: Floats) -> float:
    """The share of rows that are right, in multilabel models in every label."""
    right = predicted(targets, p) == targets
    return float((right.all(axis=1) if targets.ndim == 2 else right).mean())


def log_loss(targets: Array, p: Floats) -> float:
    """The mean of -log p(true class), in multilabel models over the labels too.

    Probabilities are raised to float32's smallest normal number first. Not scikit-learn's log_loss, which
    raises float64 probabilities to 2.2e-16 only.
    """
    of_truth = np.where(targets > 0.5, p, 1 - p) if targets.ndim == 2 else p[np.arange(len(p)), targets]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny), dtype=np.float64).mean())
