"""Quantizes the network of a classifier, and measures what it costs. Needs NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.tuning.basic_metrics import Array, Floats, accuracy, log_loss, predicted

# The next more precise format. f16 weights are 16 times more precise than bf16, which is faster in batches.
MORE_PRECISE = {"int8": "f16", "int8_weights": "f16", "bf16": "f16", "f16": "f32"}


@dataclass(frozen=True)
class Rows:
    """Rows to measure a network on.

    Attributes
    ----------
    outputs : callable
        The probabilities (rows, classes) that a network predicts for them.
    targets : array or None
        Class indices (rows,), or an indicator matrix (rows, labels); None if the labels are unknown.
    multilabel : bool
    """

    outputs: Callable[[Network], Floats]
    targets: Array | None
    multilabel: bool

    def labels(self, p: Floats) -> Array:
        """The predicted labels for probabilities p (rows, classes): class indices, or an indicator matrix."""
        return predicted(p if self.multilabel else p[:, 0], p)


def read_targets(y: npt.ArrayLike, classes: Sequence[Any], n_rows: int, multilabel: bool) -> Array:
    """The labels y of `n_rows` rows as class indices (rows,), or as an indicator matrix (rows, labels).

    Raises
    ------
    ValueError
        If y has another shape, or a label that is not in `classes`.
    """
    labels = np.asarray(y)
    shape = (n_rows, len(classes)) if multilabel else (n_rows,)
    if labels.shape != shape:
        raise ValueError(f"y: expected shape {shape}, got {labels.shape}")
    if multilabel:
        return labels.astype(int)
    indices = {label: index for index, label in enumerate(classes)}
    unknown = next((label for label in labels.tolist() if label not in indices), None)
    if unknown is not None:
        raise ValueError(
            f"y: expected classes of the model ({', '.join(map(str, indices))}), got {unknown!r}"
        )
    return np.array([indices[label] for label in labels.tolist()])


def quantize(
    network: Network, kind: str | Sequence[str], rows: Rows | None = None, max_drop: float | None = None
) -> tuple[Network, dict[str, Any]]:
    """A quantized copy of a network, and the record `Predictor.quantization`; see `Predictor.quantize`."""
    if max_drop is not None and (rows is None or rows.targets is None):
        raise ValueError("quantize: max_drop needs X and y to measure the accuracy on")
    if max_drop is not None and not max_drop >= 0:
        raise ValueError(f"max_drop: expected a number of at least 0, got {max_drop}")
    quantized = network.quantize(kind)
    if rows is None:
        return quantized, _record(quantized, {})
    before = rows.outputs(network)
    if len(before) == 0:
        raise ValueError("X: expected at least one row to measure on, got none")
    measured = _compare(rows, before, rows.outputs(quantized))
    if max_drop is not None and _drop(measured) > max_drop:
        quantized, measured = _within(network, quantized, rows, before, max_drop)
    return quantized, _record(quantized, measured)


def _record(quantized: Network, measured: dict[str, Any]) -> dict[str, Any]:
    return {"weights": quantized.weights, "layers": list(quantized.layer_weights), **measured}


def _compare(rows: Rows, before: Floats, after: Floats) -> dict[str, Any]:
    """What changed from the probabilities `before` to those `after`, both (rows, classes)."""
    measured: dict[str, Any] = {
        "rows": len(before),
        "largest_difference": float(np.abs(after - before).max()),
        "labels_changed": float((rows.labels(before) != rows.labels(after)).mean()),
    }
    if rows.targets is not None:
        measured |= {
            "accuracy_before": accuracy(rows.targets, before),
            "accuracy": accuracy(rows.targets, after),
            "log_loss_before": log_loss(rows.targets, before),
            "log_loss": log_loss(rows.targets, after),
        }
    return measured


def _drop(measured: dict[str, Any]) -> float:
    """By how much the accuracy falls, without the rounding errors of the difference."""
    return round(float(measured["accuracy_before"] - measured["accuracy"]), 12)


def _within(
    network: Network, quantized: Network, rows: Rows, before: Floats, max_drop: float
) -> tuple[Network, dict[str, Any]]:
    """As few layers as possible in a more precise format so that the accuracy falls by at most `max_drop`.

    That is the next format of MORE_PRECISE, and if it is not enough, f32. The layers are taken in the order
    of the log loss with only that layer in it. At least one layer stays as it is.

    Raises
    ------
    ValueError
        If that is not enough.
    """
    formats = list(quantized.layer_weights)
    least = _compare(rows, before, rows.outputs(quantized))

    def measure(kept: Sequence[int], better: dict[str, str]) -> tuple[Network, dict[str, Any]]:
        mixed = [better[name] if i in kept else name for i, name in enumerate(formats)]
        made = network.quantize(mixed)
        return made, _compare(rows, before, rows.outputs(made))

    steps = [MORE_PRECISE | {"f32": "f32"}, dict.fromkeys([*MORE_PRECISE, "f32"], "f32")]
    for better in steps:
        candidates = [i for i, name in enumerate(formats) if better[name] != name]
        try:
            losses = {i: measure([i], better)[1]["log_loss"] for i in candidates}
        except ValueError:  # a weight does not fit into f16
            continue
        order = sorted(candidates, key=losses.__getitem__)
        for count in range(1, len(order)):
            made, measured = measure(order[:count], better)
            if _drop(measured) <= max_drop:
                return made, measured
            least = min(least, measured, key=_drop)
    raise ValueError(
        f"quantize: expected the accuracy to fall by at most {max_drop:g}, but on {least['rows']} rows it "
        f"falls by {_drop(least):g}, from {least['accuracy_before']:g} to {least['accuracy']:g}: allow a "
        "larger max_drop, or choose a more precise format, such as 'f16'"
    )
