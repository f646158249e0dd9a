"""Trains one workload with every library, in turns of one epoch each.

The first epoch is not timed: it shows that the engine does the same work as the oracle. So does one more
epoch after all rounds. An engine whose mean loss differs from the oracle's gets no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tinyrs.bench.harness import Contender, Session, TurnSettings
from tinyrs.bench.verify import Agreement, WrongAnswerError

from peers.training.engines import ENGINES, Epoch, oracle_engine
from peers.training.workloads import TrainingWorkload

# Rounding alone makes the losses of two libraries differ by about 1e-4 after so few steps.
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.01, 1e-4
# An epoch changes the parameters, so none is repeated to warm up.
_TURN_SETTINGS = TurnSettings(warm_up_s=0)


@dataclass(frozen=True)
class Trained:
    """One engine's epochs with one number of threads; `loss` is the mean loss of its last epoch."""

    engine: str
    threads: int
    seconds: tuple[float, ...]
    loss: float

    @property
    def median(self) -> float:
        """Median seconds of an epoch."""
        return float(np.median(self.seconds))


@dataclass
class Comparison:
    """The result of one workload; `wrong_losses` by engines whose loss differs from the oracle's."""

    workload: TrainingWorkload
    trained: list[Trained] = field(default_factory=list)
    wrong_losses: dict[str, float] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def best(self, engine: str) -> Trained | None:
        """The engine with its faster number of threads."""
        found = [t for t in self.trained if t.engine == engine]
        return min(found, key=lambda t: t.median, default=None)

    def ratio(self, *engines: str) -> float | None:
        """The time of the fastest of `engines` over that of tinyrs."""
        ours, theirs = self.best("tinyrs"), [t for t in map(self.best, engines) if t]
        return min(t.median for t in theirs) / ours.median if ours and theirs else None

    def speed(self, seconds: float) -> float:
        """Samples per second if an epoch takes `seconds`."""
        return self.workload.rows / seconds


class _OracleLosses:
    """The mean loss of each epoch as the oracle trains; an epoch is computed when it is first needed."""

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._losses: list[float] = []

    def __getitem__(self, epoch: int) -> float:
        while len(self._losses) <= epoch:
            self._losses.append(self._epoch())
        return self._losses[epoch]


@dataclass
class _Trainee:
    """An engine with one number of threads, and the losses of its epochs until now."""

    epoch: Epoch
    expected: _OracleLosses
    losses: list[float] = field(default_factory=list)
    wrong_loss: float | None = None

    def train(self, _: object = None) -> float:
        """Trains one epoch; returns its mean loss."""
        self.losses.append(self.epoch())
        return self.losses[-1]

    def check(self, loss: float) -> Agreement:
        """Compares the loss of the last epoch with the oracle's. Raises WrongAnswerError."""
        right = self.expected[len(self.losses) - 1]
        error, allowed = abs(loss - right), _RELATIVE_TOLERANCE * right + _ABSOLUTE_TOLERANCE
        if not error <= allowed:
            self.wrong_loss = loss
            raise WrongAnswerError(f"expected a mean loss of {right:.4f}, got {loss:.4f}")
        return Agreement(error, allowed)


def compare(workload: TrainingWorkload, rounds: int, thread_counts: Sequence[int]) -> Comparison:
    """Trains `rounds` timed epochs with every engine at each number of threads."""
    X, y = workload.data()
    expected = _OracleLosses(oracle_engine(workload, X, y, max(thread_counts)))
    session = Session()
    trainees: dict[tuple[str, int], _Trainee] = {}

    def contenders(name: str) -> list[Contender]:
        found = []
        for threads in thread_counts:
            trainee = _Trainee(ENGINES[name](workload, X, y, threads), expected)
            trainees[name, threads] = trainee
            found.append(Contender(name, trainee.train, trainee.train, trainee.check, threads=threads))
        return found

    for name in ENGINES:
        session.add(name, lambda name=name: contenders(name))  # type: ignore[misc]
    session.take_turns([[None]] * rounds, _TURN_SETTINGS)
    session.verify_again()
    comparison = Comparison(workload, absent=session.absent)
    for (name, _), trainee in trainees.items():
        if trainee.wrong_loss is not None:
            comparison.wrong_losses[name] = trainee.wrong_loss
    for c in session.contenders:
        assert c.threads is not None
        seconds = tuple(ns / 1e9 for ns in c.times_ns)
        comparison.trained.append(
            Trained(c.engine, c.threads, seconds, trainees[c.engine, c.threads].losses[-1])
        )
    return comparison
