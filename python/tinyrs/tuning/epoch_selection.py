"""Chooses the epoch of a training whose parameters are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyrs.history import Record
from tinyrs.tuning.calibration import fit_temperature, log_losses

Losses = npt.NDArray[np.float64]


def candidate_epochs(schedule: str, epochs: int) -> frozenset[int]:
    """The epochs, counted from 0, among which the best is chosen.

    For "coslog4" they are the ends of its four cycles, where the learning rate is 0. In between, the
    parameters change too much from step to step: among near-equal epochs, the best validation score is
    mostly noise. For other schedules they are all epochs.
    """
    if schedule != "coslog4":
        return frozenset(range(epochs))
    # The cycles end after 1/15, 3/15, 7/15 and 15/15 of the training.
    return frozenset(max(round(epochs * part / 15), 1) - 1 for part in (1, 3, 7, 15))


def row_losses(
    logits: npt.NDArray[np.floating[Any]],
    targets: npt.NDArray[Any],
    weights: npt.NDArray[np.float64] | None = None,
    *,
    by_accuracy: bool = False,
    calibrate: bool = True,
) -> Losses:
    """What epochs are compared by: the loss of each validation row, (rows,).

    Parameters
    ----------
    logits : array of shape (rows, outputs)
    targets : array of shape (rows,), class indices, or (rows, outputs), 0 or 1
    weights : array of shape (rows,), optional
        The losses are multiplied by the weights, scaled to mean 1.
    by_accuracy : bool
        The loss is 1 for a wrong row and 0 for a right one, instead of the log loss.
    calibrate : bool
        Divide the logits by the temperature that minimises the mean log loss first: then the losses tell how
        well the network ranks the classes, not how certain it is.
    """
    if by_accuracy:
        right = (
            logits.argmax(axis=1) == targets
            if targets.ndim == 1
            else ((logits > 0) == (targets > 0.5)).all(axis=1)
        )
        losses = 1.0 - right
    else:
        temperature = fit_temperature(logits, targets, weights) if calibrate else 1.0
        losses = log_losses(logits / temperature, targets)
    return losses if weights is None else np.asarray(losses * (weights / weights.mean()))


class Trained(Protocol):
    """A network, or several."""

    def parameters(self) -> Any: ...

    def set_parameters(self, parameters: Any, /) -> None: ...


class Patience:
    """A callback that ends a training after `n_epochs` epochs without a lower training loss."""

    def __init__(self, n_epochs: int) -> None:
        self._n_epochs, self._lowest, self._without = n_epochs, math.inf, 0

    def __call__(self, record: Record) -> bool:
        self._without = 0 if record["loss"] < self._lowest else self._without + 1
        self._lowest = min(self._lowest, record["loss"])
        return self._without >= self._n_epochs


class BestEpoch:
    """A callback of `Network.fit` that keeps a copy of the parameters after the best epoch.

    The best epoch is the latest one whose mean loss on the validation rows is at most half a standard error
    above the lowest. The standard error is that of the mean difference between the losses of the same rows.

    Parameters
    ----------
    network : Network or Members
        What is trained.
    candidates : collection of int
        The epochs to choose from.
    losses : callable
        Returns the present loss of each validation row, (rows,), or a single loss, (1,).
    stops : bool
        Ask to end the training after a candidate whose mean loss is more than a standard error above the
        lowest: the network has started to learn the training rows by heart. Not with a single loss.
    """

    def __init__(
        self,
        network: Trained,
        candidates: Collection[int],
        losses: Callable[[], Losses],
        *,
        stops: bool = False,
    ) -> None:
        self._network, self._candidates, self._losses, self._stops = network, candidates, losses, stops
        self._lowest: Losses | None = None
        self._last_epoch: int | None = None
        self.epoch = -1

    def __call__(self, record: Record) -> bool:
        self._last_epoch = record["epoch"]
        if self._last_epoch not in self._candidates:
            return False
        standard_errors = self._compare(self._last_epoch)
        return self._stops and standard_errors > 1

    def restore(self) -> int:
        """Sets the network's parameters to those of the best epoch, and returns that epoch.

        If training stopped early, its last epoch is a candidate too.
        """
        if self._last_epoch is not None and self._last_epoch not in self._candidates:
            self._compare(self._last_epoch)
        self._network.set_parameters(self._parameters)
        return self.epoch

    def _compare(self, epoch: int) -> float:
        """Returns how many standard errors the present mean loss is above the lowest; 0 for a single loss."""
        losses = self._losses()
        if self._lowest is None or losses.mean() < self._lowest.mean():
            self._lowest = losses
        with np.errstate(invalid="ignore"):  # a metric that is NaN has an infinite loss
            difference = losses - self._lowest
            mean, standard_error = difference.mean(), difference.std() / math.sqrt(len(difference))
        # One copy is enough: an epoch with a new lowest loss replaces it, and later epochs are compared with
        # that loss.
        if mean <= 0.5 * standard_error or self.epoch < 0:
            self.epoch, self._parameters = epoch, self._network.parameters()
        return float(mean / standard_error) if standard_error > 0 else 0.0
