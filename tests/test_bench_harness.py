"""The harness: a wrong engine gets no time, and times are those of the clock. The clock is made up."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from tinyrs.bench import harness
from tinyrs.bench.harness import Clock, Contender, Percentiles, Session, TurnSettings
from tinyrs.bench.verify import Agreement, WrongAnswerError

MS = 1_000_000


@dataclass
class MadeUpTime:
    """A clock that only advances when an engine runs or the harness sleeps."""

    now_ns: int = 0
    cpu_ns: int = 0
    # Threads of the engine before that still spin: they stop at this time.
    spinning_until_ns: int = 0
    slept_s: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(lambda: self.now_ns, lambda: self.cpu_ns, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        spinning = min(self.now_ns + int(seconds * 1e9), self.spinning_until_ns) - self.now_ns
        self.cpu_ns += max(0, spinning)
        self.now_ns += int(seconds * 1e9)


@dataclass
class Doubler:
    """An engine that doubles its input. Call n takes `durations_ns[n]`, then the last one again and again."""

    time: MadeUpTime
    name: str = "doubler"
    durations_ns: Sequence[int] = (MS,)
    # Answers from this one on are wrong.
    wrong_from: int | None = None
    calls: list[object] = field(default_factory=list)
    answers: int = 0

    def call(self, x: float) -> float:
        self.time.now_ns += self.durations_ns[min(len(self.calls), len(self.durations_ns) - 1)]
        self.calls.append(x)
        return 2 * x

    def answer(self) -> float:
        self.answers += 1
        self.time.now_ns += 7 * MS
        return 0.0 if self.wrong_from is not None and self.answers > self.wrong_from else 42.0

    def contender(self) -> Contender:
        return Contender(self.name, self.call, self.answer, check)


def check(answer: float) -> Agreement:
    if answer != 42:
        raise WrongAnswerError(f"expected 42, got {answer}")
    return Agreement(0.0, 0.5)


def session(time: MadeUpTime, *engines: Doubler) -> Session:
    made = Session(time.clock())
    for engine in engines:
        made.add(engine.name, lambda engine=engine: [engine.contender()])  # type: ignore[misc]
    return made


def test_a_wrong_engine_is_not_timed() -> None:
    time = MadeUpTime()
    right, wrong = Doubler(time, "right"), Doubler(time, "wrong", wrong_from=0)
    measured = session(time, right, wrong)
    measured.take_turns([[1.0]] * 3, TurnSettings(warm_up_s=0))
    measured.verify_again()
    assert [c.engine for c in measured.contenders] == ["right"]
    assert measured.failures == {"wrong": "expected 42, got 0.0"}
    assert (len(right.calls), wrong.calls) == (3, [])


def test_an_engine_that_becomes_wrong_loses_its_times() -> None:
    time = MadeUpTime()
    measured = session(time, Doubler(time, "right"), Doubler(time, "spoilt", wrong_from=1))
    measured.take_turns([[1.0]], TurnSettings(warm_up_s=0))
    measured.verify_again()
    assert [c.engine for c in measured.contenders] == ["right"]
    assert measured.failures == {"spoilt": "right before it was timed, wrong after: expected 42, got 0.0"}


def test_a_missing_library_is_absent_and_no_failure() -> None:
    def missing() -> list[Contender]:
        raise ImportError

    measured = session(MadeUpTime())
    measured.add("missing", missing)
    assert (measured.absent, measured.failures, measured.contenders) == (["missing"], {}, [])


def test_one_wrong_number_of_threads_excludes_the_engine() -> None:
    time = MadeUpTime()
    measured = session(time)
    measured.add("engine", lambda: [Doubler(time).contender(), Doubler(time, wrong_from=0).contender()])
    assert measured.contenders == []
    assert set(measured.failures) == {"engine"}


def test_a_noisy_clock_moves_the_high_percentiles_only() -> None:
    """5 of 100 calls are interrupted for 80 ms: the median is that of a quiet machine."""
    time = MadeUpTime()
    noisy = Doubler(time, durations_ns=[80 * MS if n % 20 == 7 else MS + n for n in range(100)])
    measured = session(time, noisy)
    measured.take_turns([[float(n) for n in range(100)]], TurnSettings(warm_up_s=0))
    (contender,) = measured.contenders
    assert contender.times_ns == list(noisy.durations_ns)
    assert contender.passes == [1] * 100
    percentiles = Percentiles.of(contender.times_ns)
    assert percentiles.median_ms == pytest.approx(1, abs=1e-3)
    assert percentiles.p90_ms == pytest.approx(1, abs=1e-3)
    assert percentiles.p99_ms == pytest.approx(80)


def test_percentiles_are_interpolated() -> None:
    percentiles = Percentiles.of([n * MS for n in range(1, 102)])
    assert percentiles == Percentiles(median_ms=51, p90_ms=91, p99_ms=100)


def test_the_first_pass_is_the_first_verification_unless_it_was_measured() -> None:
    time = MadeUpTime()
    measured = session(time, Doubler(time))
    known = Doubler(time, "known").contender()
    known.first_ns = 3
    measured.add("known", lambda: [known])
    measured.verify_again()
    assert [c.first_ns for c in measured.contenders] == [7 * MS, 3]


def test_engines_take_turns_and_each_round_starts_with_another() -> None:
    time, order, ticks = MadeUpTime(), list[str](), list[int]()
    engines = [Doubler(time, name) for name in "abc"]
    measured = session(time, *engines)
    for contender in measured.contenders:

        def prepare(inputs: Sequence[float], name: str = contender.engine) -> Sequence[float]:
            order.append(name)
            return inputs

        contender.prepare = prepare
    measured.take_turns([[1.0, 2.0], [3.0], [4.0], [5.0]], TurnSettings(warm_up_s=0), ticks.append)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert ticks == [2, 2, 2] + [1] * 9
    assert all(engine.calls == [1, 2, 3, 4, 5] for engine in engines)


def test_warm_up_is_not_timed_and_uses_the_last_inputs_first() -> None:
    time = MadeUpTime()
    engines = [Doubler(time, name) for name in "ab"]
    measured = session(time, *engines)
    measured.take_turns([[1.0, 2.0, 3.0]], TurnSettings(warm_up_s=0.002))
    for engine, contender in zip(engines, measured.contenders, strict=True):
        assert engine.calls == [3, 2, 1, 2, 3]
        assert contender.times_ns == [MS] * 3


def test_an_engine_that_is_alone_is_still_warm() -> None:
    time = MadeUpTime()
    engine = Doubler(time)
    session(time, engine).take_turns([[1.0], [2.0]], TurnSettings(warm_up_s=0.002))
    assert engine.calls == [1, 2]
    assert time.slept_s == []


@pytest.mark.parametrize(("call_ns", "calls"), [(MS, 20), (100 * MS, 3), (1000, 1000)])
def test_a_turn_of_a_given_length_has_as_many_calls_as_fit(call_ns: int, calls: int) -> None:
    time = MadeUpTime()
    measured = session(time, Doubler(time, durations_ns=[call_ns]))
    measured.take_turns([[1.0, 2.0]], TurnSettings(warm_up_s=0.002, turn_s=0.02))
    assert measured.contenders[0].times_ns == [call_ns] * calls


def test_one_call_of_many_passes_is_one_time() -> None:
    time, ticks = MadeUpTime(), list[int]()
    measured = session(time, Doubler(time, durations_ns=[4 * MS, 9 * MS]))
    (contender,) = measured.contenders
    contender.prepare = lambda inputs: [sum(inputs)]
    measured.take_turns([[1.0, 2.0, 3.0, 4.0], [5.0]], TurnSettings(warm_up_s=0), ticks.append)
    assert contender.times_ns == [4 * MS, 9 * MS]
    assert contender.passes == ticks == [4, 1]


def test_an_engine_is_active_whenever_it_runs_and_the_collector_rests() -> None:
    time, active = MadeUpTime(), list[str]()
    engine = Doubler(time)
    contender = engine.contender()

    @contextmanager
    def activity() -> Iterator[None]:
        active.append("on")
        yield
        active.append("off")

    def call(x: float) -> None:
        assert active[-1] == "on"
        assert not gc.isenabled()

    contender.active, contender.call = activity, call
    measured = session(time)
    measured.add("engine", lambda: [contender])
    measured.take_turns([[1.0]], TurnSettings(warm_up_s=0))
    measured.verify_again()
    assert active == ["on", "off"] * 3
    assert gc.isenabled()


def test_the_wait_ends_when_threads_are_idle() -> None:
    time = MadeUpTime(spinning_until_ns=100 * MS)
    harness.wait_until_idle(time.clock())
    assert time.now_ns == pytest.approx(125 * MS)


def test_the_wait_gives_up_on_threads_that_never_idle() -> None:
    time = MadeUpTime(spinning_until_ns=10**15)
    harness.wait_until_idle(time.clock())
    assert time.now_ns == pytest.approx(500 * MS)


def test_engines_wait_for_each_other() -> None:
    time = MadeUpTime()
    measured = session(time, Doubler(time, "a"), Doubler(time, "b"))
    measured.take_turns([[1.0]] * 3, TurnSettings(warm_up_s=0))
    assert len(time.slept_s) == 2 * 3


def test_no_engine_takes_no_turn() -> None:
    measured = session(MadeUpTime())
    measured.take_turns([[1.0]], TurnSettings(warm_up_s=0))
    assert measured.contenders == []
