"""Which epoch of a training is kept."""

from __future__ import annotations

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
    """A callback that keeps the parameters of `network` after the best of `epochs`, and of equals the last.

    `score` rates an epoch, the higher the better.
    """

    def __init__(
        self, network: Network, epochs: Collection[int], score: Callable[[Record], float]
    ) -> None:
        self._network, self._epochs, self._score = network, epochs, score
        self._best, self._last = float("-inf"), -1
        self.epoch = -1

    def __call__(self, record: Record) -> bool:
        self._last = record["epoch"]
        if self._last in self._epochs:
            self._consider(record)
        self._record = record
        return False

    def _consider(self, record: Record) -> None:
        score = self._score(record)
        if self.epoch < 0 or score >= self._best:
            self._best, self.epoch, self._parameters = score, record["epoch"], self._network.parameters()

    def restore(self) -> int:
        """Gives the network the parameters of the best epoch, and returns which that is.

        Where training was stopped early, its last epoch counts too.
        """
        if self._last not in self._epochs:
            self._consider(self._record)
        self._network.set_parameters(self._parameters)
        return self.epoch
