"""Which epoch of a training is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from tinyrs._tinyrs import Network
from tinyrs.training import Record


def resting_epochs(schedule: str, epochs: int) -> frozenset[int]:
    """The epochs, from 0, after which the parameters are worth keeping: all, but for a schedule of cycles.

    There it is the ends of the cycles, where the learning rate has come down to 0. In between the parameters
    jump about, and of so many that differ by little but luck the best on the rows held out is mostly lucky.
    """
    if schedule != "coslog4":
        return frozenset(range(epochs))
    # Its four waves end at 1/15, 3/15, 7/15 and 15/15 of the way.
    return frozenset(max(round(epochs * part / 15), 1) - 1 for part in (1, 3, 7, 15))


class Checkpoint:
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
    """Of the share of so many rows that is predicted right."""
    return lambda share: 0.5 * math.sqrt(share * (1 - share) / rows)
