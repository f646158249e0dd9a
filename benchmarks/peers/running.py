"""Verify, then time in turns.

Each engine must answer right, for the network and for its first two layers alone (a deep one forgets its
input), before and after it is timed, or it gets no time. In a round every engine has a turn at each number of
threads, one after the other on the same inputs, so that what drifts hits all alike.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tinyrs
from tinyrs.bench import environment, verify
from tinyrs.bench.runner import no_garbage_collection, rest
from tinyrs.oracle import Array

from peers.engines import Engine, Make
from peers.workloads import Work

# Layers that still show whether the right input was used.
_SHALLOW = 2
# How long an engine runs unmeasured at the start of its turn: threads wake, caches fill.
_WARM_S = 0.002
# Passes of a turn at least and at most; between these, as many as its time allows.
_FEWEST_PASSES, _MOST_PASSES = 3, 1000
# The weights are in memory so many times at once: ours, a copy of each engine, of those from ONNX one for
# each number of threads, and the ONNX model while it is read. 12.8 were measured, without PyTorch.
_COPIES = 15


@dataclass(frozen=True)
class Settings:
    rounds: int
    turn_s: float
    threads: tuple[int, ...]  # 1 and all


@dataclass(frozen=True)
class Timing:
    """An engine with one number of threads. Its answers were checked."""

    engine: str
    threads: int
    times_ns: tuple[int, ...]
    error: float
    allowed_error: float

    @property
    def median_ms(self) -> float:
        return float(np.median(self.times_ns)) / 1e6

    @property
    def p99_ms(self) -> float:
        return float(np.percentile(self.times_ns, 99)) / 1e6


@dataclass
class Outcome:
    """What came of one work: who was timed, who was not and why, and what the machine can do."""

    work: Work
    timings: list[Timing] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    # By number of threads: bytes and operations a second at best.
    read_bandwidth: dict[int, float] = field(default_factory=dict)
    fma_peak: dict[int, float] = field(default_factory=dict)

    def best(self, engine: str, threads: int | None = None) -> Timing | None:
        """The engine's fastest timing; with `threads`, of that number."""
        found = [t for t in self.timings if t.engine == engine and threads in (None, t.threads)]
        return min(found, key=lambda t: t.median_ms, default=None)

    def peers(self, threads: int | None = None) -> list[Timing]:
        """The fastest timing of each engine but tinyrs, fastest first."""
        names = dict.fromkeys(t.engine for t in self.timings if t.engine != "tinyrs")
        found = (self.best(name, threads) for name in names)
        return sorted((t for t in found if t), key=lambda t: t.median_ms)

    def ratio(self, threads: int | None = None) -> float | None:
        """How many times as long as tinyrs the best peer takes."""
        ours, theirs = self.best("tinyrs", threads), self.peers(threads)
        return theirs[0].median_ms / ours.median_ms if ours and theirs else None

    def read_share(self, timing: Timing) -> float:
        """Of what the timing's threads can read, how much of it was weights."""
        return self.work.nbytes / (timing.median_ms / 1e3) / self.read_bandwidth[timing.threads]

    def fma_share(self, timing: Timing) -> float:
        """Of what the timing's threads can multiply and add, how much was done."""
        return self.work.flops / (timing.median_ms / 1e3) / self.fma_peak[timing.threads]

    def probe(self, threads: Sequence[int]) -> None:
        """Measures what the machine can do. The best of all calls counts: a busy moment would flatter us."""
        for n in threads:
            limits = tinyrs.machine_limits(n, working_set=self.work.nbytes)
            fma = limits["fma_f32"] if self.work.precision == "f32" else limits["fma_f64"]
            self.read_bandwidth[n] = max(self.read_bandwidth.get(n, 0), limits["read_bandwidth"])
            self.fma_peak[n] = max(self.fma_peak.get(n, 0), fma)


@dataclass
class _Contender:
    name: str
    threads: int
    engine: Engine
    agreement: verify.Agreement
    times_ns: list[int] = field(default_factory=list)


def compare(work: Work, engines: Mapping[str, Make], settings: Settings) -> Outcome:
    """Builds the engines of one work, checks, times and frees them."""
    outcome = Outcome(work)
    needed, free = _COPIES * work.nbytes, environment.available_memory()
    if free is not None and needed > free:
        outcome.failures = dict.fromkeys(
            engines, f"needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} are free"
        )
        return outcome
    outcome.probe(settings.threads)
    inputs = work.inputs()
    checks = [_Check(work.head(_SHALLOW), inputs[0]), _Check(work, inputs[0]), _Check(work, inputs[-1])]
    contenders = []
    for name, make in engines.items():
        try:
            contenders += _verified(name, make, checks, settings.threads)
        except ImportError:
            outcome.absent.append(name)
        except verify.WrongAnswerError as wrong:
            outcome.failures[name] = str(wrong)
    _take_turns(contenders, inputs, settings)
    for c in contenders:
        try:
            # Still right after all that?
            with c.engine.during():
                checks[-1].check(c.engine)
        except verify.WrongAnswerError as wrong:
            outcome.failures[c.name] = f"after having been right at first: {wrong}"
            continue
        agreement = c.agreement
        outcome.timings.append(
            Timing(c.name, c.threads, tuple(c.times_ns), agreement.error, agreement.allowed)
        )
    outcome.timings = [t for t in outcome.timings if t.engine not in outcome.failures]
    del contenders
    outcome.probe(settings.threads)
    return outcome


class _Check:
    """What the answer to an input must be."""

    def __init__(self, work: Work, x: Array) -> None:
        self.work, self.x = work, x
        self.reference = verify.reference_of(
            work.parameters(), x, work.precision, work.activation, output_activation=work.output_activation
        )

    def check(self, engine: Engine) -> verify.Agreement:
        """Raises verify.WrongAnswerError."""
        answer = engine.run(_shaped(engine, self.x))
        if engine.takes_rows and self.work.batch == 1:
            answer = answer[np.newaxis]
        return verify.check(self.reference, answer)


def _shaped(engine: Engine, x: Array) -> Array:
    """The batch as the engine takes it."""
    return x[0] if engine.takes_rows and len(x) == 1 else x


def _verified(name: str, make: Make, checks: Sequence[_Check], threads: Sequence[int]) -> list[_Contender]:
    """The engine at each number of threads, after it has answered right on each check.

    Raises ImportError, verify.WrongAnswerError.
    """
    engines: dict[Work, list[Engine]] = {}
    agreements: list[verify.Agreement] = []
    for check in checks:
        if check.work not in engines:
            # Only the last work is going to be timed: memory for one at a time.
            engines.clear()
            with_threads = make(check.work, check.work.parameters())
            engines[check.work] = [with_threads(n) for n in threads]
        agreements = []
        for engine in engines[check.work]:
            with engine.during():
                agreements.append(check.check(engine))
    (last,) = engines.values()
    return [_Contender(name, *of) for of in zip(threads, last, agreements, strict=True)]


def _take_turns(contenders: Sequence[_Contender], inputs: Sequence[Array], settings: Settings) -> None:
    """Appends the times of `settings.rounds` turns to each contender's."""
    for r in range(settings.rounds):
        # Another one begins each time: none has always the same one before it.
        first = r % max(len(contenders), 1)
        for contender in (*contenders[first:], *contenders[:first]):
            rest()
            # Every round begins with another input.
            turn = [_shaped(contender.engine, inputs[(r + i) % len(inputs)]) for i in range(len(inputs))]
            with contender.engine.during(), no_garbage_collection():
                contender.times_ns += _time_turn(contender.engine, turn, settings.turn_s)


def _time_turn(engine: Engine, inputs: Sequence[Array], turn_s: float) -> list[int]:
    run, clock = engine.run, time.perf_counter_ns
    warm, passes = 0, 0
    start = clock()
    while passes == 0 or warm < _WARM_S * 1e9:
        run(inputs[-1 - passes % len(inputs)])
        passes += 1
        warm = clock() - start
    n = min(max(int(turn_s * 1e9 * passes / warm), _FEWEST_PASSES), _MOST_PASSES)
    times = []
    for i in range(n):
        x = inputs[i % len(inputs)]
        start = clock()
        run(x)
        times.append(clock() - start)
    return times
