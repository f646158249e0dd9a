"""The measuring loop of all benchmarks: verify, warm up, take turns, verify again; percentiles.

Engines take turns on the same inputs, so that a change of the clock rate or a busy neighbour affects all
of them. Before its turn an engine waits until the threads of the previous one are idle, then runs
unmeasured until its own data is in the caches. Each round starts with another engine. An engine that
gives a wrong answer, before or after its turns, gets no time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np

from tinyrs.bench.verify import Agreement, WrongAnswerError

# Called after each turn with the number of passes it timed.
Progress = Callable[[int], object]

# OpenBLAS threads spin for 2^28 ticks (about 100 ms) after their work, on cores that the next engine
# needs. The processor time of a thread advances in ticks of up to 10 ms, so a shorter sample would miss a
# busy thread.
_IDLE_SAMPLE_S = 0.025
_IDLE_SHARE = 0.2
_IDLE_TIMEOUT_S = 0.5
# The least and the most calls of a turn whose length is given in seconds.
_MIN_CALLS, _MAX_CALLS = 3, 1000


@dataclass(frozen=True)
class Clock:
    """The clocks that the harness reads. Tests pass their own."""

    wall_ns: Callable[[], int] = time.perf_counter_ns
    cpu_ns: Callable[[], int] = time.process_time_ns
    sleep: Callable[[float], object] = time.sleep


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of measured times, in milliseconds."""

    median_ms: float
    p90_ms: float
    p99_ms: float

    @classmethod
    def of(cls, times_ns: Sequence[int]) -> Percentiles:
        """The percentiles of `times_ns`, linearly interpolated."""
        return cls(*(float(p) / 1e6 for p in np.percentile(times_ns, (50, 90, 99))))


@dataclass(frozen=True)
class TurnSettings:
    """How long a turn is.

    An engine first runs unmeasured for `warm_up_s` seconds. Then it makes one pass for each input of the
    turn; or, if `turn_s` is set, as many passes as fit into that time, cycling through the inputs.
    """

    warm_up_s: float
    turn_s: float | None = None


@dataclass
class Contender:
    """An engine that is measured, at one number of threads.

    `answer` computes the answer that `check` compares with the right one. `call` is timed; `prepare`
    turns the inputs of a turn into its arguments. If it returns fewer arguments than inputs, each call
    computes several passes, whose separate times are unknown. `active` is entered for as long as the engine
    runs.
    """

    engine: str
    call: Callable[[Any], object]
    answer: Callable[[], Any]
    check: Callable[[Any], Agreement]
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = list
    active: Callable[[], AbstractContextManager[object]] = nullcontext
    threads: int | None = None
    # Time of the first pass. Set by the first verification unless the builder has measured it.
    first_ns: int | None = None
    # Set by each verification.
    agreement: Agreement | None = None
    # The time of each timed call, and the number of passes that it computed.
    times_ns: list[int] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    # The number of timed calls of each turn.
    turns: list[int] = field(default_factory=list)

    def verify(self, clock: Clock) -> None:
        """Asks for an answer and checks it. Raises WrongAnswerError."""
        with self.active():
            start = clock.wall_ns()
            answer = self.answer()
            elapsed = clock.wall_ns() - start
        if self.first_ns is None:
            self.first_ns = elapsed
        self.agreement = self.check(answer)


@dataclass
class Session:
    """The engines of one benchmark, from the first verification to the last.

    `failures` says by engine why it is not timed; `absent` lists engines that are not installed.
    """

    clock: Clock = field(default_factory=Clock)
    contenders: list[Contender] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def add(self, engine: str, build: Callable[[], Sequence[Contender]]) -> None:
        """Adds the contenders that `build` makes of `engine`, unless one of them gives a wrong answer.

        `build` may raise ImportError if the engine is not installed, and WrongAnswerError.
        """
        try:
            contenders = build()
            for contender in contenders:
                contender.verify(self.clock)
        except ImportError:
            self.absent.append(engine)
        except WrongAnswerError as wrong:
            self.failures[engine] = str(wrong)
        else:
            self.contenders += contenders

    def warm_up(self, inputs: Iterable[Any]) -> None:
        """Runs each input once on each contender, unmeasured."""
        for x in inputs:
            for contender in self.contenders:
                with contender.active():
                    for argument in contender.prepare([x]):
                        contender.call(argument)

    def take_turns(
        self,
        turns: Iterable[Sequence[Any]],
        settings: TurnSettings,
        progress: Progress = lambda passes: None,
    ) -> None:
        """Appends to each contender's times; every item of `turns` holds the inputs of one turn."""
        count = len(self.contenders)
        if not count:
            return
        for number, inputs in enumerate(turns):
            first = number % count
            for contender in (*self.contenders[first:], *self.contenders[:first]):
                if count > 1:
                    wait_until_idle(self.clock)
                with contender.active(), no_garbage_collection():
                    times, passes = _time_turn(contender, inputs, settings, self.clock, alone=count == 1)
                contender.times_ns += times
                contender.passes += passes
                contender.turns.append(len(times))
                progress(sum(passes))

    def verify_again(self) -> None:
        """Removes the engines that no longer answer right: a reused buffer may have been overwritten."""
        for contender in self.contenders:
            try:
                contender.verify(self.clock)
            except WrongAnswerError as wrong:
                self.failures[contender.engine] = f"right before it was timed, wrong after: {wrong}"
        self.contenders = [c for c in self.contenders if c.engine not in self.failures]


def _time_turn(
    contender: Contender, inputs: Sequence[Any], settings: TurnSettings, clock: Clock, *, alone: bool
) -> tuple[list[int], list[int]]:
    """Nanoseconds of each call of a turn, and the number of passes of each call."""
    arguments = contender.prepare(inputs)
    count = len(arguments)
    # A contender that is alone is still warm from its last turn.
    if settings.turn_s is not None or (settings.warm_up_s > 0 and not alone):
        # From the last input backwards: the first timed one must not be in the caches already.
        spare = [argument for x in reversed(inputs) for argument in contender.prepare([x])]
        seconds = warm_up(contender.call, spare, settings.warm_up_s, clock)
        if settings.turn_s is not None:
            fitting = int(settings.turn_s / seconds) if seconds > 0 else _MAX_CALLS
            count = min(max(fitting, _MIN_CALLS), _MAX_CALLS)
    times = time_calls(contender.call, islice(cycle(arguments), count), clock)
    return times, [max(1, len(inputs) // len(arguments))] * len(times)


def time_calls(call: Callable[[Any], object], inputs: Iterable[Any], clock: Clock) -> list[int]:
    """Calls `call` with each input; returns the nanoseconds that each call took."""
    times, now = [], clock.wall_ns
    for x in inputs:
        start = now()
        call(x)
        times.append(now() - start)
    return times


def warm_up(call: Callable[[Any], object], inputs: Sequence[Any], seconds: float, clock: Clock) -> float:
    """Calls `call` at least once and for at least `seconds`; returns the mean seconds of a call."""
    start = clock.wall_ns()
    for calls, x in enumerate(cycle(inputs), start=1):
        call(x)
        elapsed = (clock.wall_ns() - start) / 1e9
        if elapsed >= seconds:
            return elapsed / calls
    raise ValueError("inputs: expected at least one input to warm up with, got none")


def wait_until_idle(clock: Clock) -> None:
    """Waits until this process uses hardly any processor time, for half a second at most."""
    deadline = clock.wall_ns() + int(_IDLE_TIMEOUT_S * 1e9)
    while clock.wall_ns() < deadline:
        before = clock.cpu_ns()
        clock.sleep(_IDLE_SAMPLE_S)
        if clock.cpu_ns() - before < _IDLE_SHARE * _IDLE_SAMPLE_S * 1e9:
            return


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keeps Python's garbage collector from running within a timed pass."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
