"""Ends a training in time: the parameter `max_time`."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from tinyrs.history import Record


class Deadline:
    """The moment at which `fit` should have ended, if there is one.

    Parameters
    ----------
    seconds : float or None
        The time from now.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else monotonic() + seconds

    def callback(
        self, epochs_to_come: Callable[[int], float] = lambda done: 0.0
    ) -> Callable[[Record], bool] | None:
        """A callback of a training that begins now, if there is a deadline.

        It stops the training if another epoch would be too late.

        Parameters
        ----------
        epochs_to_come : callable
            How many epochs, each as long as one of this training, must follow if it ends after `done` epochs.
        """
        if self._end is None:
            return None
        start, end = monotonic(), self._end

        def after_epoch(record: Record) -> bool:
            now = monotonic()
            done = record["epoch"] + 1
            return now + (now - start) / done * (1 + epochs_to_come(done + 1)) > end

        return after_epoch
