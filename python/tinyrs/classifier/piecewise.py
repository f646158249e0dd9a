"""Trains a network on rows that arrive piece by piece."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from tinyrs._tinyrs import Network
from tinyrs.classifier.data import Dataset
from tinyrs.classifier.recipe import DECAY_SCHEDULE, TrainingOptions, new_optimizer, train
from tinyrs.history import Record
from tinyrs.oracle import scheduled

# The steps that `piece_steps` puts in a piece at most, and the pieces of a training at least.
MAX_STEPS, MIN_PIECES = 32, 1000


def piece_steps(options: TrainingOptions, n_rows: int) -> int:
    """The number of steps in a piece, if an epoch has `n_rows` rows.

    The learning rate and the other schedules change from piece to piece.
    """
    steps = options.epochs * n_rows // options.batch_size
    return min(max(steps // MIN_PIECES, 1), MAX_STEPS)


class PiecewiseTraining:
    """The training of a network, as by `recipe.train`, on epochs that arrive piece by piece.

    Weights count by their ratios to the others in a piece.

    Parameters
    ----------
    network : Network
        Trained in place.
    options : TrainingOptions
    n_rows : int
        The number of rows of an epoch.
    """

    def __init__(self, network: Network, options: TrainingOptions, n_rows: int) -> None:
        self._network, self._options, self.n_rows = network, options, n_rows
        self._optimizer = new_optimizer()
        self._rest: Dataset | None = None
        self._epoch = self._rows = 0
        self._begin_epoch()

    def add(self, piece: Dataset, n_threads: int | None) -> None:
        """Trains on whole batches of the next rows; those that are left come first the next time."""
        if self._rest is not None:
            piece = self._rest.followed_by(piece)
        whole = len(piece.targets) // self._options.batch_size * self._options.batch_size
        self._rest = piece.rows(slice(whole, None))
        self._train(piece.rows(slice(whole)), n_threads)

    def end_epoch(self, n_threads: int | None) -> Record:
        """Trains on the last rows of the epoch. Returns the results of the epoch."""
        if self._rest is not None:
            self._train(self._rest, n_threads)
        seconds = perf_counter() - self._start
        record: Record = {
            "epoch": self._epoch,
            "loss": self._loss / self._weight,
            "learning_rate": self._learning_rate,
            "seconds": seconds,
            "samples_per_second": self._rows / seconds,
        }
        self._epoch += 1
        self._begin_epoch()
        return record

    def _begin_epoch(self) -> None:
        self._rest, self._rows, self._start = None, 0, perf_counter()
        self._loss = self._weight = self._learning_rate = 0.0

    def _train(self, piece: Dataset, n_threads: int | None) -> None:
        n = len(piece.targets)
        if n == 0:
            return
        options = self._options_of(n)
        (record,) = train(self._network, self._optimizer, piece, options, n_threads=n_threads).records
        weight = float(n if piece.weights is None else piece.weights.sum())
        self._loss += weight * record["loss"]
        self._weight += weight
        self._rows += n
        self._learning_rate = options.learning_rate

    def _options_of(self, n: int) -> TrainingOptions:
        """The options of a piece of `n` rows: those that the schedules have in its middle."""
        options, done = self._options, self._epoch * self.n_rows + self._rows
        t = min((done + n / 2) / (options.epochs * self.n_rows), np.nextafter(1, 0))
        # A schedule may be 0, but a learning rate may not.
        learning_rate = max(
            scheduled(options.learning_rate, options.schedule, t), 1e-6 * options.learning_rate
        )
        return replace(
            options,
            epochs=1,
            learning_rate=learning_rate,
            schedule="constant",
            weight_decay=scheduled(options.weight_decay, DECAY_SCHEDULE, t),
            dropout=scheduled(options.dropout, DECAY_SCHEDULE, t),
            decay_schedule="constant",
            seed=options.seed + done,
        )
