"""Trains networks on rows in memory, several side by side and one epoch at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network, Optimizer, get_num_threads
from tinyrs.classifier.data import Dataset, Indices
from tinyrs.classifier.evaluation import EvaluationSet
from tinyrs.classifier.members import Callback, Members, all_of
from tinyrs.classifier.recipe import TrainingOptions, new_optimizer, train
from tinyrs.classifier.training_rows import mean_record
from tinyrs.history import History, Record


@dataclass(frozen=True)
class MemoryRows:
    """Rows in memory; see `TrainingRows`.

    Attributes
    ----------
    all : Dataset
        All rows, with those held out.
    parts : list of Indices or None
        The rows that each network is trained on; None for all.
    """

    all: Dataset
    parts: list[Indices | None]
    evaluation: list[EvaluationSet]
    class_frequencies: npt.NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        return len(self.all.targets)

    @property
    def n_training(self) -> int:
        return self.n_rows if self.parts[0] is None else len(self.parts[0])

    @property
    def n_features(self) -> int:
        return int(self.all.features.shape[1])

    def shown(self) -> tuple[Any, Any]:
        """See `TrainingRows`."""
        return self.all.features, self.all.targets

    def without_validation(self) -> MemoryRows:
        """See `TrainingRows`."""
        return replace(self, parts=[None] * len(self.parts), evaluation=[])

    def train(
        self,
        members: Members,
        options: Sequence[TrainingOptions],
        callbacks: Sequence[Callback],
        n_threads: int | None,
        optimizers: Sequence[Optimizer] | None = None,
    ) -> History:
        """See `TrainingRows`. By default each network gets a new optimizer."""
        optimizers = optimizers or [new_optimizer() for _ in members]
        runs = [
            _Run(network, optimizer, of_network, self._training(i), self._validation(i))
            for i, (network, optimizer, of_network) in enumerate(
                zip(members, optimizers, options, strict=True)
            )
        ]
        callback = all_of(callbacks)
        if len(runs) > 1:
            return _train_in_turns(runs, callback, n_threads or get_num_threads())
        return runs[0](callback if callbacks else None, n_threads)

    def _training(self, member: int) -> Dataset:
        part = self.parts[member]
        return self.all if part is None else self.all.rows(part)

    def _validation(self, member: int) -> Dataset | None:
        """The rows that `Network.fit` evaluates after each epoch."""
        last = self.evaluation[-1] if self.evaluation else None
        if last is not None and last.parts is not None:
            return last.rows(last.parts[member]).data
        return last.data if last is not None and len(self.parts) == 1 else None


@dataclass(frozen=True)
class _Run:
    """The training of a network."""

    network: Network
    optimizer: Optimizer
    options: TrainingOptions
    data: Dataset
    validation: Dataset | None

    def __call__(self, callback: Callable[[Record], object] | None, n_threads: int | None) -> History:
        return train(
            self.network,
            self.optimizer,
            self.data,
            self.options,
            validation=self.validation,
            callback=callback,
            n_threads=n_threads,
        )


def _train_in_turns(runs: Sequence[_Run], callback: Callable[[Record], bool], n_threads: int) -> History:
    """Trains each network in a thread of its own, of which at most `n_threads` compute at a time."""
    turns = _Turns(len(runs), min(len(runs), n_threads))
    threads_each = max(n_threads // len(runs), 1)

    def work(index: int, run: _Run) -> None:
        try:
            with turns.slots:
                run(lambda record: turns.end_epoch(index, record), threads_each)
        finally:
            turns.end(index)

    n_rows = [len(run.data.targets) for run in runs]
    n_validated = [len(run.validation.targets) for run in runs if run.validation is not None]
    records: list[Record] = []
    with ThreadPoolExecutor(len(runs), thread_name_prefix="tinyrs-member") as pool:
        futures = [pool.submit(work, index, run) for index, run in enumerate(runs)]
        stop = False
        try:
            while not stop and (found := turns.wait()) is not None:
                records.append(mean_record(found, n_rows, n_validated))
                stop = callback(records[-1])
                turns.next(stop)
        finally:
            # Also after an exception of a callback or a KeyboardInterrupt: the block ends with the threads.
            turns.next(stop=True)
    for future in futures:
        future.result()
    return History(records, len(records) - 1, "callback" if stop else "finished")


class _Turns:
    """Lets each of several threads go on to its next epoch when all have finished the present one."""

    def __init__(self, n_members: int, n_slots: int) -> None:
        self.slots = threading.Semaphore(n_slots)
        self._changed = threading.Condition()
        self._records: list[Record | None] = [None] * n_members
        self._running, self._epoch, self._stop = n_members, 0, False

    def end_epoch(self, member: int, record: Record) -> bool:
        """Called by the thread of a member, which waits for the others. Returns True if it should stop."""
        self.slots.release()
        with self._changed:
            epoch, self._records[member] = self._epoch, record
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stop or self._epoch > epoch)
            stop = self._stop
        self.slots.acquire()
        return stop

    def end(self, member: int) -> None:
        """Called by the thread of a member when its training has ended."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait(self) -> list[Record] | None:
        """The records of an epoch that all members have finished; None if the training of one has ended."""
        with self._changed:
            n_members = len(self._records)
            self._changed.wait_for(lambda: None not in self._records or self._running < n_members)
            found = [record for record in self._records if record is not None]
            return found if len(found) == n_members and self._running == n_members else None

    def next(self, stop: bool) -> None:
        """Lets all members go on, or stop."""
        with self._changed:
            self._records = [None] * len(self._records)
            self._epoch, self._stop = self._epoch + 1, self._stop or stop
            self._changed.notify_all()
