"""Measures forward passes of every library on one workload: verify, take turns, verify again.

Each engine must answer right on the network and on its first two layers, since a deep network hardly depends
on its input. In each round every engine has a turn at each number of threads, on the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import tinyrs
from tinyrs.bench import environment, verify
from tinyrs.bench.harness import Contender, Percentiles, Session, TurnSettings
from tinyrs.oracle import Array

from peers.engines import Engine, Make
from peers.workloads import Workload

# Layers whose output still shows whether the engine used the right input.
SHALLOW = 2
# How long an engine runs unmeasured at the start of its turn: threads wake, caches fill.
_WARM_UP_S = 0.002
# Copies of the weights in memory at once: ours, one per engine, one per number of threads for engines
# that read ONNX, and the ONNX model while it is read. Measured without PyTorch: 12.8.
_COPIES = 15


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int
    turn_s: float
    threads: tuple[int, ...]  # one, and all


@dataclass(frozen=True)
class Timing:
    """The passes of an engine with one number of threads."""

    engine: str
    threads: int
    times_ns: tuple[int, ...]
    error: float
    allowed_error: float

    @property
    def median_ms(self) -> float:
        return Percentiles.of(self.times_ns).median_ms

    @property
    def p99_ms(self) -> float:
        return Percentiles.of(self.times_ns).p99_ms


@dataclass
class Outcome:
    """The result of one workload: timings, why other engines have none, and the limits of the machine."""

    workload: Workload
    timings: list[Timing] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    # By number of threads: the most bytes and floating-point operations per second.
    read_bandwidth: dict[int, float] = field(default_factory=dict)
    fma_peak: dict[int, float] = field(default_factory=dict)

    def best(self, engine: str, threads: int | None = None) -> Timing | None:
        """The fastest timing of the engine, with `threads` threads if given."""
        found = [t for t in self.timings if t.engine == engine and threads in (None, t.threads)]
        return min(found, key=lambda t: t.median_ms, default=None)

    def peers(self, threads: int | None = None) -> list[Timing]:
        """The fastest timing of each engine except tinyrs, fastest first."""
        names = dict.fromkeys(t.engine for t in self.timings if t.engine != "tinyrs")
        found = (self.best(name, threads) for name in names)
        return sorted((t for t in found if t), key=lambda t: t.median_ms)

    def ratio(self, threads: int | None = None) -> float | None:
        """The time of the fastest peer over that of tinyrs."""
        ours, theirs = self.best("tinyrs", threads), self.peers(threads)
        return theirs[0].median_ms / ours.median_ms if ours and theirs else None

    def read_share(self, timing: Timing) -> float:
        """Bytes of weights per second, as a share of the read bandwidth of the timing's threads."""
        return self.workload.nbytes / (timing.median_ms / 1e3) / self.read_bandwidth[timing.threads]

    def fma_share(self, timing: Timing) -> float:
        """Floating-point operations per second, as a share of the FMA peak of the timing's threads."""
        return self.workload.flops / (timing.median_ms / 1e3) / self.fma_peak[timing.threads]

    def probe(self, threads: Sequence[int]) -> None:
        """Measures the limits of the machine. The highest of all calls counts."""
        for n in threads:
            limits = tinyrs.machine_limits(n, working_set=self.workload.nbytes)
            fma = limits["fma_f32"] if self.workload.precision == "f32" else limits["fma_f64"]
            self.read_bandwidth[n] = max(self.read_bandwidth.get(n, 0), limits["read_bandwidth"])
            self.fma_peak[n] = max(self.fma_peak.get(n, 0), fma)


def compare(workload: Workload, engines: Mapping[str, Make], settings: Settings) -> Outcome:
    """Builds, verifies, times and frees the engines of one workload."""
    outcome = Outcome(workload)
    if not fits(outcome, engines, _COPIES):
        return outcome
    outcome.probe(settings.threads)
    checks = _checks(workload)
    measure(outcome, engines, settings, lambda name: checks)
    # The engines are gone: the probe needs as much memory as the network.
    outcome.probe(settings.threads)
    return outcome


def fits(outcome: Outcome, engines: Iterable[str], copies: int) -> bool:
    """Whether `copies` copies of the weights fit into the free memory. If not, no engine is measured."""
    needed, free = copies * outcome.workload.nbytes, environment.available_memory()
    if free is None or needed <= free:
        return True
    problem = f"needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} are free"
    outcome.failures = dict.fromkeys(engines, problem)
    return False


@dataclass(frozen=True)
class Check:
    """Inputs of a network, each (batch, inputs), and the test of the answers.

    `check` takes all answers, (number of inputs * batch, outputs), and raises verify.WrongAnswerError.
    """

    workload: Workload
    inputs: Sequence[Array]
    check: Callable[[Array], verify.Agreement]

    def answer(self, engine: Engine) -> Array:
        """The engine's answers to all inputs."""
        # A copy of each: the next call may overwrite it.
        answers = [engine.run(x).copy() for x in _prepare(engine)(self.inputs)]
        if engine.takes_rows and self.workload.batch == 1:
            answers = [answer[np.newaxis] for answer in answers]
        return np.concatenate(answers)


@dataclass(frozen=True)
class Checks:
    """What an engine must answer: the first layers of the network, and the whole network twice.

    `last` is checked before and after the engine is timed.
    """

    head: Check
    first: Check
    last: Check


def measure(
    outcome: Outcome, engines: Mapping[str, Make], settings: Settings, checks: Callable[[str], Checks]
) -> None:
    """Adds the timings, failures and absent engines to `outcome`; `checks` takes the name of an engine."""
    inputs = outcome.workload.inputs()
    session = Session(failures=outcome.failures, absent=outcome.absent)
    for name, make in engines.items():
        session.add(
            name,
            lambda name=name, make=make: _contenders(name, make, checks(name), settings.threads),  # type: ignore[misc]
        )
    # Every round starts with another input.
    turns = ([*inputs[r % len(inputs) :], *inputs[: r % len(inputs)]] for r in range(settings.rounds))
    session.take_turns(turns, TurnSettings(_WARM_UP_S, settings.turn_s))
    session.verify_again()
    for c in session.contenders:
        assert c.agreement is not None
        assert c.threads is not None
        outcome.timings.append(
            Timing(c.engine, c.threads, tuple(c.times_ns), c.agreement.error, c.agreement.allowed)
        )


def _checks(workload: Workload) -> Checks:
    """Checks that allow rounding errors in the precision of the workload, on two different inputs."""

    def check(workload: Workload, x: Array) -> Check:
        return Check(workload, [x], partial(verify.check, reference_of(workload, x)))

    inputs = workload.inputs()
    return Checks(
        check(workload.head(SHALLOW), inputs[0]), check(workload, inputs[0]), check(workload, inputs[-1])
    )


def reference_of(workload: Workload, x: Array) -> verify.Reference:
    """The oracle's answer to x, (batch, inputs), and what rounding explains in the workload's precision."""
    return verify.reference_of(
        workload.parameters(),
        x,
        workload.precision,
        workload.activation,
        output_activation=workload.output_activation,
    )


def _contenders(name: str, make: Make, checks: Checks, threads: Sequence[int]) -> list[Contender]:
    """The engine at each number of threads, after right answers to all checks except the last.

    Raises ImportError, verify.WrongAnswerError.
    """
    # Not kept: the engines of the head are freed before those of the whole network are built.
    _checked(make, checks.head, threads)
    return [
        Contender(
            name,
            call=engine.run,
            answer=lambda engine=engine: checks.last.answer(engine),  # type: ignore[misc]
            check=checks.last.check,
            prepare=_prepare(engine),
            active=engine.active,
            threads=n,
        )
        for n, engine in zip(threads, _checked(make, checks.first, threads), strict=True)
    ]


def _checked(make: Make, check: Check, threads: Sequence[int]) -> list[Engine]:
    """The engine at each number of threads, each after a right answer. Raises verify.WrongAnswerError."""
    with_threads = make(check.workload, check.workload.parameters())
    engines = [with_threads(n) for n in threads]
    for engine in engines:
        with engine.active():
            answer = check.answer(engine)
        check.check(answer)
    return engines


def _prepare(engine: Engine) -> Callable[[Sequence[Array]], list[Array]]:
    """Turns batches into what the engine takes: for a batch of one, some take its row."""
    return lambda batches: [x[0] if engine.takes_rows and len(x) == 1 else x for x in batches]
