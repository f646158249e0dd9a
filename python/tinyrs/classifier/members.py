"""The networks that one `fit` trains, side by side and one epoch at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyrs._tinyrs import Network, get_num_threads
from tinyrs.classifier.data import Dataset
from tinyrs.classifier.recipe import TrainingOptions, new_optimizer, train
from tinyrs.history import History, Record
from tinyrs.tuning.calibration import divide_logits

Callback = Callable[[Record], object]


def all_of(callbacks: Sequence[Callback]) -> Callable[[Record], bool]:
    """A callback that calls all of `callbacks`, and returns True if one of them does."""
    # Not any(): each callback is called after each epoch.
    return lambda record: sum(bool(call(record)) for call in callbacks) > 0


@dataclass(frozen=True)
class Member:
    """A network, and what it is trained on.

    Attributes
    ----------
    network : Network
    train : Dataset
    validation : Dataset or None
        The rows that `Network.fit` evaluates after each epoch.
    options : TrainingOptions
    """

    network: Network
    train: Dataset
    validation: Dataset | None
    options: TrainingOptions


class Members(tuple[Member, ...]):
    """The members of an ensemble, or the only network of a fit."""

    @property
    def networks(self) -> list[Network]:
        return [member.network for member in self]

    def averaged(self) -> Network:
        """A copy of the networks as one whose outputs are their means."""
        return Network.ensemble(self.networks)

    def parameters(self) -> list[Any]:
        """The parameters of each network."""
        return [network.parameters() for network in self.networks]

    def set_parameters(self, parameters: Sequence[Any]) -> None:
        for network, of_network in zip(self.networks, parameters, strict=True):
            network.set_parameters(of_network)

    def divided(self, temperature: float) -> Members:
        """Members with copies of the networks, whose logits are divided by `temperature`."""
        copies = Members(replace(member, network=copy.copy(member.network)) for member in self)
        for network in copies.networks:
            divide_logits(network, temperature)
        return copies

    def train(self, callbacks: Sequence[Callback], n_threads: int | None) -> History:
        """Trains all networks. Returns one history, whose records are the means over them.

        The callbacks are called in this thread after each epoch of all networks; training stops after an
        epoch in which one of them returns True. After an exception, no network is being trained any more.
        """

        callback = all_of(callbacks)
        if len(self) > 1:
            return _train_in_turns(self, callback, n_threads or get_num_threads())
        (only,) = self
        return train(
            only.network,
            new_optimizer(),
            only.train,
            only.options,
            validation=only.validation,
            callback=callback if callbacks else None,
        )


def _train_in_turns(members: Members, callback: Callable[[Record], bool], n_threads: int) -> History:
    """Trains each member in a thread of its own, of which at most `n_threads` compute at a time."""
    turns = _Turns(len(members), min(len(members), n_threads))
    threads_each = max(n_threads // len(members), 1)

    def run(index: int, member: Member) -> None:
        try:
            with turns.slots:
                train(
                    member.network,
                    new_optimizer(),
                    member.train,
                    member.options,
                    validation=member.validation,
                    callback=lambda record: turns.end_epoch(index, record),
                    n_threads=threads_each,
                )
        finally:
            turns.end(index)

    records: list[Record] = []
    with ThreadPoolExecutor(len(members), thread_name_prefix="tinyrs-member") as pool:
        futures = [pool.submit(run, index, member) for index, member in enumerate(members)]
        stop = False
        try:
            while not stop and (found := turns.wait()) is not None:
                records.append(_mean_record(found, members))
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


def _mean_record(records: Sequence[Record], members: Members) -> Record:
    """The mean over the members, with the weights of their numbers of rows."""
    mean: dict[str, Any] = dict(records[0])
    rows = [len(member.train.targets) for member in members]
    mean["loss"] = float(np.average([record["loss"] for record in records], weights=rows))
    mean["seconds"] = max(record["seconds"] for record in records)
    mean["samples_per_second"] = sum(rows) / mean["seconds"]
    for name in ("validation_loss", "validation_score"):
        if name in mean:
            validated = [len(member.validation.targets) for member in members if member.validation]
            mean[name] = float(np.average([record[name] for record in records], weights=validated))
    return mean  # type: ignore[return-value]
