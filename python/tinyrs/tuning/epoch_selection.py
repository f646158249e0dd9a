"""Chooses the epoch of a training whose parameters are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tinyrs._tinyrs import Network
from tinyrs.history import Record


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


@dataclass(frozen=True)
class SelectionRule:
    """How epochs are compared.

    Attributes
    ----------
    score : callable
        The score of an epoch, from its record; higher is better.
    tolerance : callable
        How far below the best score an epoch may be and still be kept, from the best score.
    """

    score: Callable[[Record], float]
    tolerance: Callable[[float], float]


def half_a_standard_error(rows: int) -> Callable[[float], float]:
    """Half the standard error of an accuracy that was measured on `rows` rows, as a function of the accuracy.

    Mean errors on 14 sets of benchmarks/accuracy.py (38 folds) for 0, 0.5, 1 and 1.5 standard errors: 0.1132,
    0.1121, 0.1114, 0.1116; mean log losses 0.295, 0.294, 0.297, 0.303.
    """
    return lambda accuracy: 0.5 * math.sqrt(accuracy * (1 - accuracy) / rows)


class BestEpoch:
    """A callback of `Network.fit` that keeps a copy of the parameters after the best epoch.

    The latest epoch within the rule's tolerance of the best counts as the best: more training is better
    unless the validation rows contradict it.

    Parameters
    ----------
    network : Network
        The network that is trained.
    candidates : collection of int
        The epochs to choose from.
    rule : SelectionRule
    """

    def __init__(self, network: Network, candidates: Collection[int], rule: SelectionRule) -> None:
        self._network, self._candidates, self._rule = network, candidates, rule
        self._best_score = -math.inf
        self._last_record: Record | None = None
        self.epoch = -1

    def __call__(self, record: Record) -> bool:
        self._last_record = record
        if record["epoch"] in self._candidates:
            self._compare(record)
        return False

    def restore(self) -> int:
        """Sets the network's parameters to those of the best epoch, and returns that epoch.

        If training stopped early, its last epoch is a candidate too.
        """
        if self._last_record is not None and self._last_record["epoch"] not in self._candidates:
            self._compare(self._last_record)
        self._network.set_parameters(self._parameters)
        return self.epoch

    def _compare(self, record: Record) -> None:
        score = self._rule.score(record)
        self._best_score = max(self._best_score, score)
        # One copy is enough: an epoch with a new best score replaces it, and later epochs are compared with
        # that score.
        if self.epoch < 0 or score >= self._best_score - self._rule.tolerance(self._best_score):
            self.epoch, self._parameters = record["epoch"], self._network.parameters()
