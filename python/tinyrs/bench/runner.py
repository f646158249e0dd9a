"""Verify, then time.

Several engines take turns: each repeat is cut into a few turns of consecutive epochs, and in each turn every
engine runs the same samples. So whatever drifts (clock, neighbours, temperature) hits all alike. A turn is
more than one pass because a pass finds in the caches what the one before left there, and should find its own.
Training takes the passes of a turn in one call, as it would an epoch, and each is given the same part of its
time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

import tinyrs
from tinyrs.bench import engines, environment, verify, verify_training, workload
from tinyrs.bench.config import Case, Plan
from tinyrs.bench.engines import Engine
from tinyrs.bench.results import Limit, Measurement
from tinyrs.oracle import Array

# Called between turns with the number of passes that were timed since the last call.
Progress = Callable[[int], object]

# What the passes of an engine are cut into, so that engines can alternate and progress be shown.
_TURNS = 10
# A deep network that contracts forgets its input: this many layers still show whether the right one was used.
_SHALLOW = 2
# OpenBLAS's threads go on spinning for 2^28 ticks (about 100 ms) after their work is done, on the cores
# that the next engine needs: with two threads on two cores, each pass then took twice its time. A thread's
# processor time is counted in ticks of up to 10 ms, so it takes a longer look to see that all are idle.
_LOOK_S = 0.025
_GIVE_UP_S = 0.5
# How long an engine runs unmeasured at the start of its turn, to find its own data in the caches.
_WARM_NS = 200_000


def run(case: Case, plan: Plan, progress: Progress) -> tuple[list[Measurement], list[str]]:
    """Measures `plan.engines` on `case`: what was measured, and why not for those that gave a wrong answer.

    Raises UsageError where NumPy's threads cannot be set as asked.
    """
    asked, threads = case.threads, tinyrs.get_num_threads()
    case = replace(case, threads=min(asked or threads, threads))
    with engines.blas_threads(case.threads or threads, must=asked is not None and "numpy" in plan.engines):
        # The probe needs as much memory as the network: before that is there, and again when it is gone.
        limit = machine_limit(case)
        measurements, failures = _measure(case, plan, limit, progress)
        if measurements:
            limit = min(limit, machine_limit(case), key=lambda limit: limit.seconds)
    numpy_ms = next((m.median_ms for m in measurements if m.engine == "numpy"), None)
    return [
        replace(m, limit=limit, numpy_ratio=m.median_ms / numpy_ms if numpy_ms else None)
        for m in measurements
    ], failures


def machine_limit(case: Case) -> Limit:
    """The least time in which this machine could do a pass with `case.threads` threads."""
    threads = case.threads or tinyrs.get_num_threads()
    # Exactly the bytes of this network: it depends on them which caches help.
    reached = tinyrs.machine_limits(threads, working_set=case.held_bytes)
    bandwidth = reached["read_bandwidth"]
    flops = reached["fma_f32"] if case.precision == "f32" else reached["fma_f64"]
    reading, computing = case.traffic_bytes / bandwidth, case.flops / flops
    if computing > reading:
        return Limit("arithmetic", computing, bandwidth, flops)
    cached = case.held_bytes <= environment.private_cache(threads)
    return Limit("cache" if cached else "memory", reading, bandwidth, flops)


@dataclass
class _Contender:
    """One engine while it is being timed."""

    name: str
    engine: Engine
    first_ns: int
    agreement: verify.Agreement
    times_ns: list[int] = field(default_factory=list)


def _measure(case: Case, plan: Plan, limit: Limit, progress: Progress) -> tuple[list[Measurement], list[str]]:
    """Builds the engines, checks, times and frees them."""
    head = case.head(_SHALLOW)
    x = workload.to_check(case, plan.seed, engines.CHECKED_STEPS)
    contenders, failures = [], []
    try:
        expected = {part: _Expected.of(part, plan.seed, x) for part in (head, case)}
    except verify.WrongAnswerError as wrong:
        return [], [f"{name}: {wrong}" for name in plan.engines]
    for name in plan.engines:
        try:
            if head != case:
                # Gone again before memory is taken for the whole.
                _verified(name, head, expected[head], plan.seed, x)
            contenders.append(_verified(name, case, expected[case], plan.seed, x))
        except verify.WrongAnswerError as wrong:
            failures.append(f"{name}: {wrong}")

    _time(contenders, case, plan, progress)
    peak = environment.peak_memory()

    measurements = []
    for c in contenders:
        try:
            # Still right after all that? A buffer that is reused may have been used for something else.
            expected[case].check(c.engine.answer(x))
        except verify.WrongAnswerError as wrong:
            failures.append(f"{c.name}, after having been right at first: {wrong}")
            continue
        error, allowed = c.agreement.error, c.agreement.allowed
        measurements.append(
            Measurement(case, c.name, c.first_ns, tuple(c.times_ns), error, allowed, limit, peak)
        )
    return measurements, failures


@dataclass(frozen=True)
class _Expected:
    """What a case's answer must be."""

    reference: verify.Reference | verify_training.TrainingReference

    @classmethod
    def of(cls, case: Case, seed: int, x: Array) -> _Expected:
        layers = workload.parameters(case, seed)
        if case.mode == "forward":
            return cls(verify.reference(case, layers, x))
        return cls(verify_training.reference(case, layers, x, workload.targets(case, seed)))

    def check(self, answer: list[Array]) -> verify.Agreement:
        """Raises verify.WrongAnswerError."""
        if isinstance(self.reference, verify.Reference):
            (output,) = answer
            return verify.check(self.reference, output)
        return verify_training.check(self.reference, answer)


def _verified(name: str, case: Case, expected: _Expected, seed: int, x: Array) -> _Contender:
    """The engine of `case`, after it has answered right.

    Raises verify.WrongAnswerError.
    """
    engine = engines.ENGINES[name](case, workload.parameters(case, seed), workload.targets(case, seed))
    start = time.perf_counter_ns()
    if engine.together:
        # The answer comes from a twin that is made for it; the first steps are those of what is timed.
        engine.run(x)
        first_ns = (time.perf_counter_ns() - start) // engines.CHECKED_STEPS
        answer = engine.answer(x)
    else:
        answer = engine.answer(x)
        first_ns = time.perf_counter_ns() - start
    return _Contender(name, engine, first_ns, expected.check(answer))


def _time(contenders: list[_Contender], case: Case, plan: Plan, progress: Progress) -> None:
    """Appends `plan.repeats` * `plan.nepochs` times to each contender's."""
    samples = workload.inputs(case, plan.seed)
    for _ in range(plan.warmup):
        x = next(samples)
        for contender in contenders:
            contender.engine.run(x)
    per_turn = _passes_a_turn(case, plan)
    for _ in range(plan.repeats):
        for start in range(0, plan.nepochs, per_turn):
            turn = list(islice(samples, min(per_turn, plan.nepochs - start)))
            for contender in contenders:
                if len(contenders) > 1:
                    _take_over(contender.engine, turn[0])
                with no_garbage_collection():
                    _time_turn(contender, turn)
                progress(len(turn))


def _passes_a_turn(case: Case, plan: Plan) -> int:
    """In turns as even as can be: the passes of a short one would share what a call of `fit` costs."""
    turns = max(1, _TURNS // plan.repeats)
    if case.mode == "train":
        turns = max(1, min(turns, plan.nepochs // workload.TRAIN_PASSES))
    turns = max(turns, -(-plan.nepochs // workload.longest_turn(case)))
    return -(-plan.nepochs // turns)


def rest() -> None:
    """Waits until the threads of the engine before are idle."""
    give_up = time.perf_counter() + _GIVE_UP_S
    while time.perf_counter() < give_up:
        busy = time.process_time()
        time.sleep(_LOOK_S)
        if time.process_time() - busy < 0.2 * _LOOK_S:
            return


def _take_over(engine: Engine, x: Array) -> None:
    """Waits until the threads of the engine before are idle, then runs this one until it is under way."""
    rest()
    warm = time.perf_counter_ns() + _WARM_NS
    while True:
        engine.run(x)
        if time.perf_counter_ns() > warm:
            break


def _time_turn(contender: _Contender, turn: list[Array]) -> None:
    run, times_ns, clock = contender.engine.run, contender.times_ns, time.perf_counter_ns
    if contender.engine.together:
        x = np.vstack(turn)
        start = clock()
        run(x)
        # One call for all: each pass is given its share.
        times_ns += [(clock() - start) // len(turn)] * len(turn)
        return
    for x in turn:
        start = clock()
        run(x)
        times_ns.append(clock() - start)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Python's collector would choose a pass of its own to run in."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
