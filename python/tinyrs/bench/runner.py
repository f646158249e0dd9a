"""Measures the engines of a plan on one case: verify, then time.

Each repeat is cut into turns of consecutive passes, and in each turn every engine runs the same inputs. A
turn has several passes, because a pass finds in the caches what the previous one left there: that should
be its own data. For training, a turn is one timed call of `fit`: a call for each pass would add the cost of
starting `fit` to each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

import tinyrs
from tinyrs.bench import engines, environment, verify, verify_training, workload
from tinyrs.bench.config import Case, Plan
from tinyrs.bench.engines import Engine
from tinyrs.bench.harness import Contender, Progress, Session, TurnSettings
from tinyrs.bench.results import Limit, Measurement
from tinyrs.oracle import Array

# The least turns of each engine, so that engines alternate and the progress bar moves, and the most, which
# comparisons of runs need. Between them, a turn has `_TURN_PASSES` passes.
_TURNS, _MAX_TURNS = 10, 30
_TURN_PASSES = 5
# The output of a deep network hardly depends on its input; that of its first two layers does, and shows
# whether the engine used the right one.
_SHALLOW = 2
_TURN_SETTINGS = TurnSettings(warm_up_s=2e-4)


def run(case: Case, plan: Plan, progress: Progress) -> tuple[list[Measurement], list[str]]:
    """Measures `plan.engines` on `case`; returns the measurements, and why the other engines have none.

    Raises UsageError if the number of NumPy's threads cannot be set as requested.
    """
    requested, available = case.threads, tinyrs.get_num_threads()
    threads = min(requested or available, available)
    case = replace(case, threads=threads)
    with engines.blas_threads(threads, required=requested is not None and "numpy" in plan.engines):
        # The probe needs as much memory as the network: it runs before the network exists, and after.
        limit = machine_limit(case)
        measurements, failures = _measure(case, plan, limit, progress)
        if measurements:
            limit = min(limit, machine_limit(case), key=lambda limit: limit.seconds)
    numpy_ms = next((m.pass_ms for m in measurements if m.engine == "numpy"), None)
    return [
        replace(m, limit=limit, numpy_ratio=m.pass_ms / numpy_ms if numpy_ms else None) for m in measurements
    ], failures


def machine_limit(case: Case) -> Limit:
    """The least time in which this machine could do a pass with `case.threads` threads."""
    threads = case.threads or tinyrs.get_num_threads()
    # With the size of this network, since that decides which caches help.
    limits = tinyrs.machine_limits(threads, working_set=case.held_bytes)
    bandwidth = limits["read_bandwidth"]
    peaks = {
        "f64": limits["fma_f64"],
        "bf16": limits["multiply_add_bf16"],
        "int8": limits["multiply_add_int8"],
    }
    # Weights of the other formats are multiplied in f32.
    flops = peaks.get(case.precision, limits["fma_f32"])
    reading, computing = case.traffic_bytes / bandwidth, case.flops / flops
    if computing > reading:
        return Limit("arithmetic", computing, bandwidth, flops)
    cached = case.held_bytes <= environment.private_cache(threads)
    return Limit("cache" if cached else "memory", reading, bandwidth, flops)


def _measure(case: Case, plan: Plan, limit: Limit, progress: Progress) -> tuple[list[Measurement], list[str]]:
    """Builds, verifies, times and frees the engines."""
    x = workload.verification_input(case, plan.seed, engines.CHECKED_STEPS)
    session = Session()
    try:
        expected = {part: _Expected.of(part, plan.seed, x) for part in (case.head(_SHALLOW), case)}
    except verify.WrongAnswerError as wrong:
        return [], [f"{name}: {wrong}" for name in plan.engines]
    for name in plan.engines:
        session.add(name, lambda name=name: _contenders(name, expected, plan.seed, x))  # type: ignore[misc]
    samples = workload.inputs(case, plan.seed)
    session.warm_up(islice(samples, plan.warmup))
    session.take_turns(_turns(case, plan, samples), _TURN_SETTINGS, progress)
    peak = environment.peak_memory()
    session.verify_again()
    measurements = []
    for c in session.contenders:
        assert c.first_ns is not None
        assert c.agreement is not None
        measurements.append(
            Measurement(
                case,
                c.engine,
                c.first_ns,
                times_ns=tuple(c.times_ns),
                passes=tuple(c.passes),
                turns=tuple(c.turns),
                error=c.agreement.error,
                allowed_error=c.agreement.allowed,
                limit=limit,
                peak_memory=peak,
            )
        )
    return measurements, [f"{name}: {problem}" for name, problem in session.failures.items()]


@dataclass(frozen=True)
class _Expected:
    """The right answer of a case."""

    reference: verify.Reference | verify_training.TrainingReference

    @classmethod
    def of(cls, case: Case, seed: int, x: Array) -> _Expected:
        layers = workload.parameters(case, seed)
        if case.mode == "forward":
            return cls(verify.reference(case, layers, x))
        return cls(verify_training.reference(case, layers, x, workload.targets(case, seed)))

    def check(self, answer: list[Array]) -> verify.Agreement:
        """Raises WrongAnswerError."""
        if isinstance(self.reference, verify.Reference):
            (output,) = answer
            return verify.check(self.reference, output)
        return verify_training.check(self.reference, answer)


def _contenders(name: str, expected: dict[Case, _Expected], seed: int, x: Array) -> list[Contender]:
    """The engine on the whole case, the last of `expected`, after right answers on the cases before it.

    Raises WrongAnswerError.
    """
    *heads, case = expected
    for head in heads:
        # Freed before the whole network takes its memory.
        expected[head].check(_engine(name, head, seed).answer(x))
    engine, first_ns = _engine(name, case, seed), None
    prepare: Callable[[Sequence[Array]], Sequence[Array]] = list
    if engine.together:
        prepare = _stacked
        # `answer` trains a copy: the first steps of what is timed are these.
        start = time.perf_counter_ns()
        engine.run(x)
        first_ns = (time.perf_counter_ns() - start) // engines.CHECKED_STEPS
    return [
        Contender(
            name,
            call=engine.run,
            answer=lambda: engine.answer(x),
            check=expected[case].check,
            prepare=prepare,
            first_ns=first_ns,
        )
    ]


def _engine(name: str, case: Case, seed: int) -> Engine:
    return engines.ENGINES[name](case, workload.parameters(case, seed), workload.targets(case, seed))


def _stacked(batches: Sequence[Array]) -> list[Array]:
    """All batches as one argument."""
    return [batches[0] if len(batches) == 1 else np.vstack(batches)]


def _turns(case: Case, plan: Plan, samples: Iterator[Array]) -> Iterator[list[Array]]:
    """The inputs of each turn: `plan.nepochs` for each repeat."""
    per_turn = _passes_per_turn(case, plan)
    for _ in range(plan.repeats):
        for start in range(0, plan.nepochs, per_turn):
            yield list(islice(samples, min(per_turn, plan.nepochs - start)))


def _passes_per_turn(case: Case, plan: Plan) -> int:
    """Passes of a turn, so that all turns are about equally long.

    In a short turn of training, few passes would share the constant cost of a call of `fit`.
    """
    turns = _TURNS
    if case.mode != "train":
        turns = min(max(turns, plan.repeats * plan.nepochs // _TURN_PASSES), _MAX_TURNS)
    turns = max(1, turns // plan.repeats)
    if case.mode == "train":
        turns = max(1, min(turns, plan.nepochs // workload.TRAIN_PASSES))
    turns = max(turns, -(-plan.nepochs // workload.longest_turn(case)))
    return -(-plan.nepochs // turns)
