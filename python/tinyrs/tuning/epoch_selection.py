"""Which epoch of a training is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.history import Record

METRICS = ("accuracy", "log_loss")
# One of them, or what rates (y_true, y_proba), the higher the better.
Metric = str | Callable[[npt.NDArray[Any], npt.NDArray[np.floating[Any]]], float]


def resting_epochs(schedule: str, epochs: int) -> frozenset[int]:
    """The epochs, from 0, after which the parameters are worth keeping: all, but for a schedule of cycles.

    There it is the ends of the cycles, where the learning rate has come down to 0. In between the parameters
    jump about, and of so many that differ by little but luck the best on the rows held out is mostly lucky.
    """
    if schedule != "coslog4":
        return frozenset(range(epochs))
    # Its four waves end at 1/15, 3/15, 7/15 and 15/15 of the way.
    return frozenset(max(round(epochs * part / 15), 1) - 1 for part in (1, 3, 7, 15))


class BestEpoch:
    """A callback that keeps the parameters of `network` after the best of `epochs`.

    `score` rates an epoch, the higher the better; the last that is at most `tolerance(best score)` worse
    than the best is taken, for what was trained longer is better unless the rows held out object.
    """

    def __init__(
        self,
        network: Network,
        epochs: Collection[int],
        score: Callable[[Record], float],
        tolerance: Callable[[float], float],
    ) -> None:
        self._network, self._epochs, self._score, self._tolerance = network, epochs, score, tolerance
        self._best = -math.inf
        self._record: Record | None = None
        self.epoch = -1

    def __call__(self, record: Record) -> bool:
        self._record = record
        if record["epoch"] in self._epochs:
            self._consider(record)
        return False

    def restore(self) -> int:
        """Gives the network the parameters of the epoch that is kept, and returns which that is.

        Where training was stopped on the way, its last epoch counts too.
        """
        if self._record is not None and self._record["epoch"] not in self._epochs:
            self._consider(self._record)
        self._network.set_parameters(self._parameters)
        return self.epoch

    def _consider(self, record: Record) -> None:
        score = self._score(record)
        self._best = max(self._best, score)
        # One copy will do: whoever beats it comes later, and is within its own tolerance.
        if self.epoch < 0 or score >= self._best - self._tolerance(self._best):
            self.epoch, self._parameters = record["epoch"], self._network.parameters()


def half_a_standard_error(rows: int) -> Callable[[float], float]:
    """Of the share of so many rows that is predicted right.

    Mean errors on 14 sets of benchmarks/accuracy.py (38 folds) with a tolerance of 0, 0.5, 1 and 1.5 of them:
    0.1132, 0.1121, 0.1114, 0.1116; log losses 0.295, 0.294, 0.297, 0.303. The epoch with the least log loss:
    0.1128 and 0.290; always the last epoch: 0.1139 and 0.319.
    """
    return lambda share: 0.5 * math.sqrt(share * (1 - share) / rows)


def rate_by(
    metric: Metric, predict_proba: Callable[[], npt.NDArray[np.floating[Any]]], truth: npt.NDArray[Any]
) -> tuple[Callable[[Record], float], Callable[[float], float]]:
    """The score and the tolerance of a BestEpoch; `truth` (rows,) is what `predict_proba` should tell."""
    if callable(metric):
        return lambda _: float(metric(truth, predict_proba())), lambda _: 0.0
    if metric == "accuracy":
        return lambda record: record["validation_score"], half_a_standard_error(len(truth))
    return lambda record: -record["validation_loss"], lambda _: 0.0
