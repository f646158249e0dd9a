"""The runner: engines are verified, take turns on the same inputs, and their times become results."""

from __future__ import annotations

import csv
import gc
import io
import json
import re
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tinyrs
from tinyrs import oracle
from tinyrs.bench import engines, environment, harness, report, runner, workload
from tinyrs.bench.config import Case, Plan
from tinyrs.bench.results import Limit, Measurement, Results
from tinyrs.oracle import Array, Layer

CASE = Case(layers=4, dimension=24, activation="sigmoid")
Spoil = Callable[[int, Array], Array]


class Recorder:
    """An engine that records its inputs. `spoil` may change the answer of the n-th call."""

    def __init__(self, name: str, log: list[tuple[str, bytes]], spoil: Spoil) -> None:
        self.name, self.log, self.spoil = name, log, spoil
        self.alive: list[int] = []

    def build(self, case: Case, layers: Iterable[Layer], target: Array) -> engines.Engine:
        engine = engines.numpy_engine(case, layers, target)
        calls = iter(range(1_000_000))
        self.alive.append(case.layers)

        def recorded(x: Array) -> list[Array]:
            self.log.append((self.name, x.tobytes()))
            return [self.spoil(next(calls), answer) for answer in engine.answer(x)]

        weakref.finalize(recorded, self.alive.remove, case.layers)
        return engines.Engine(recorded, recorded)


@pytest.fixture
def log() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture
def recorders(log: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    """Replaces both engines; the limits of the machine are made up, and nothing waits or warms up."""
    made = {name: Recorder(name, log, lambda _, answer: answer) for name in ("tinyrs", "numpy")}
    for name, recorder in made.items():
        monkeypatch.setitem(engines.ENGINES, name, recorder.build)
    monkeypatch.setattr(runner, "machine_limit", lambda case: Limit("memory", 1e-6, 1e9, 1e9))
    monkeypatch.setattr(harness, "wait_until_idle", lambda clock: None)
    monkeypatch.setattr(runner, "_TURN_SETTINGS", harness.TurnSettings(warm_up_s=0))
    return made


def plan(**fields: object) -> Plan:
    values: dict[str, object] = {"cases": (CASE,), "nepochs": 25, "engines": ("tinyrs", "numpy"), **fields}
    return Plan(**values)  # type: ignore[arg-type]


def test_engines_take_turns_on_the_same_inputs_which_are_used_once(
    recorders: dict[str, Recorder], log: list[tuple[str, bytes]]
) -> None:
    ticks: list[int] = []
    measurements, failures = runner.run(CASE, plan(warmup=2, repeats=2), ticks.append)
    assert failures == []
    assert [(m.engine, len(m.times_ns)) for m in measurements] == [("tinyrs", 50), ("numpy", 50)]
    assert sum(ticks) == 100
    # Without the two verifications of each engine before the turns, and the one after.
    timed = log[4:-2]
    seen = {name: [x for engine, x in timed if engine == name] for name in recorders}
    assert seen["tinyrs"] == seen["numpy"]
    assert len(set(seen["tinyrs"])) == 2 + 50
    turns = sum(before != after for (before, _), (after, _) in pairwise(timed))
    assert turns >= 10


def test_a_wrong_engine_is_not_timed_and_the_other_is(
    recorders: dict[str, Recorder], log: list[tuple[str, bytes]]
) -> None:
    recorders["tinyrs"].spoil = lambda _, answer: answer * np.float32(1.01)
    measurements, failures = runner.run(CASE, plan(), lambda passes: None)
    assert [m.engine for m in measurements] == ["numpy"]
    assert len(failures) == 1
    assert failures[0].startswith("tinyrs: output [")
    assert "off by" in failures[0]
    assert sum(name == "tinyrs" for name, _ in log) == 1


def test_an_engine_that_goes_wrong_while_it_is_timed_is_not_reported(recorders: dict[str, Recorder]) -> None:
    recorders["numpy"].spoil = lambda call, answer: answer if call < 10 else answer * 0
    measurements, failures = runner.run(CASE, plan(), lambda passes: None)
    assert [m.engine for m in measurements] == ["tinyrs"]
    assert "right before it was timed, wrong after" in failures[0]


def test_an_engine_that_ignores_its_input_is_wrong() -> None:
    """The output of a deep network hardly depends on its input; that of its first layers does."""
    deep = Case(layers=60, dimension=24, activation="sigmoid", threads=1)

    def ignore(case: Case, layers: Iterable[Layer], target: Array) -> engines.Engine:
        engine = engines.numpy_engine(case, layers, target)
        return engines.Engine(lambda x: engine.answer(x * 0), engine.run)

    x, target = next(workload.inputs(deep, 0)), workload.targets(deep, 0)
    (right,) = engines.numpy_engine(deep, workload.parameters(deep, 0), target).answer(x)
    (ignorant,) = ignore(deep, workload.parameters(deep, 0), target).answer(x)
    assert np.abs(ignorant - right).max() < 1e-6
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engines.ENGINES, "tinyrs", ignore)
        measurements, failures = runner.run(deep, plan(engines=("tinyrs",)), lambda passes: None)
    assert measurements == []
    assert "off by" in failures[0]


def test_the_probe_never_runs_while_a_network_exists(
    recorders: dict[str, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = []

    def probe(case: Case) -> Limit:
        gc.collect()
        probed.append([alive for recorder in recorders.values() for alive in recorder.alive])
        return Limit("memory", 2e-6 / len(probed), 1e9, 1e9)

    monkeypatch.setattr(runner, "machine_limit", probe)
    measurements, _ = runner.run(CASE, plan(), lambda passes: None)
    assert probed == [[], []]
    # The lower limit of the two.
    assert {m.limit.seconds for m in measurements} == {1e-6}


def test_limits_of_the_real_machine() -> None:
    small, wide = Case(1, 8, "tanh", batch=512, threads=1), Case(4, 512, "tanh", threads=1)
    assert runner.machine_limit(small).name == "arithmetic"
    limit = runner.machine_limit(wide)
    assert limit.flops is not None
    assert limit.name == ("cache" if wide.weight_bytes <= environment.private_cache(1) else "memory")
    assert limit.seconds == wide.weight_bytes / limit.read_bandwidth > wide.flops / limit.flops


def test_threads_are_limited_to_those_available(recorders: dict[str, Recorder]) -> None:
    case = Case(layers=1, dimension=8, activation="tanh", threads=10_000)
    pytest.importorskip("threadpoolctl")
    measurements, _ = runner.run(case, plan(), lambda passes: None)
    assert {m.case.threads for m in measurements} == {tinyrs.get_num_threads()}


def test_blas_gets_the_requested_threads() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with engines.blas_threads(1, required=True):
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert [pool["num_threads"] for pool in pools] == [1] * len(pools)


def test_the_workload_is_what_it_says() -> None:
    case = Case(layers=3, dimension=200, activation="sigmoid", precision="f32")
    layers = list(workload.parameters(case, 5))
    scale = 1 / np.log(201)
    for (weight, bias), (again, _) in zip(layers, workload.parameters(case, 5), strict=True):
        assert weight.dtype == bias.dtype == np.float32
        assert (weight == again).all()
        # U(-s/2, s/2) and U(-s/2, 1 - s/2): within the range, and close to both ends.
        assert -0.5 * scale <= weight.min() < -0.49 * scale
        assert 0.49 * scale < weight.max() <= 0.5 * scale
        assert -0.5 * scale <= bias.min() < 0.1 - 0.5 * scale
        assert 0.9 - 0.5 * scale < bias.max() <= 1 - 0.5 * scale
    assert len({weight.tobytes() for weight, _ in layers}) == 3
    assert (layers[0][0] != next(workload.parameters(case, 6))[0]).any()
    stream = workload.inputs(case, 5)
    samples = [next(stream) for _ in range(2 * workload.inputs_per_chunk(case))]
    assert len({x.tobytes() for x in samples}) == len(samples)
    assert all((x != 0).all() for x in samples)
    batch = next(workload.inputs(Case(1, 200, "tanh", batch=7), 5))
    assert batch.shape == (7, 200)


def test_the_head_of_a_network_is_its_first_layers() -> None:
    case = Case(layers=5, dimension=9, activation="tanh", precision="f64")
    head = list(workload.parameters(case.head(2), 1))
    whole = list(workload.parameters(case, 1))
    assert [w.tobytes() for w, _ in head] == [w.tobytes() for w, _ in whole[:2]]
    assert case.head(9) == case


def measurement(engine: str = "tinyrs", ratio: float | None = None) -> Measurement:
    case = Case(layers=10, dimension=100, activation="tanh", batch=3, threads=2)
    times = tuple(int(ms * 1e6) for ms in (1, 2, 3, 4, 100))
    limit = Limit("memory", 1.5e-3, 2e9, 3e9)
    return Measurement(case, engine, 7_000_000, times, (1,) * 5, (2, 3), 1e-7, 1e-6, limit, 10**8, ratio)


def test_derived_values() -> None:
    row = measurement().row()
    assert (row["total_ms"], row["median_ms"], row["first_ms"], row["runs"]) == (110, 3, 7, 5)
    assert row["mean_ms"] == 22
    assert row["p90_ms"] == pytest.approx(61.6)
    assert row["weight_bytes"] == 10 * (100 * 100 + 100) * 4
    assert row["gbytes_per_s"] == pytest.approx(404_000 / 3e-3 / 1e9)
    assert row["gflops"] == pytest.approx(2 * 10 * 100 * 100 * 3 / 3e-3 / 1e9)
    assert row["limit_share"] == pytest.approx(0.5)


def test_one_schema_for_json_csv_and_markdown() -> None:
    both = plan(nepochs=5, name="a | b")
    results = Results(both, {"cpu": "a, b"}, [measurement(), measurement("numpy", 1.0)], ["numpy: wrong"])
    document = json.loads(results.to_json())
    assert document["schema"] == 3
    assert document["environment"] == {"cpu": "a, b"}
    assert document["failures"] == ["numpy: wrong"]
    assert [r["times_ms"] for r in document["results"]] == [[1, 2, 3, 4, 100]] * 2
    rows = list(csv.DictReader(io.StringIO(results.to_csv())))
    assert [row["engine"] for row in rows] == ["tinyrs", "numpy"]
    for row, result in zip(rows, document["results"], strict=True):
        assert set(row) == set(result) - {"times_ms", "passes", "turns"} | {"schema", "cpu"}
        assert float(row["median_ms"]) == result["median_ms"]
    lines = [line for line in report.markdown(results).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 2


def test_the_headline_is_the_time_of_the_first_engine() -> None:
    results = Results(plan(nepochs=5), {}, [measurement(), measurement("numpy")])
    assert report.headline(results) == "Total time for 5 run(s) was 110.000000 ms"


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.0000005, "0 ns"), (0.000999, "999 ns"), (0.0123, "12.30 us"), (1.0, "1.000 ms"), (25_000, "25.00 s")],
)
def test_durations(ms: float, text: str) -> None:
    assert report.duration(ms) == text


def test_the_oracle_is_the_numpy_engine() -> None:
    x = next(workload.inputs(CASE, 0))
    layers = list(workload.parameters(CASE, 0))
    expected = oracle.forward(x, layers, activation="sigmoid", output_activation="same")
    (answer,) = engines.numpy_engine(CASE, layers, workload.targets(CASE, 0)).answer(x)
    assert (answer == expected).all()


@pytest.mark.parametrize("mode", ["backward", "train"])
def test_training_is_verified_and_timed_on_both_engines(mode: str) -> None:
    case = Case(layers=3, dimension=24, activation="tanh", batch=5, mode=mode, threads=1)
    measurements, failures = runner.run(case, plan(cases=(case,)), lambda passes: None)
    assert failures == []
    assert [(m.engine, sum(m.passes)) for m in measurements] == [("tinyrs", 25), ("numpy", 25)]
    for m in measurements:
        assert 0 < m.error <= m.allowed_error
        row = m.row()
        assert row["mode"] == mode
        assert row["samples_per_s"] == pytest.approx(5 * row["passes_per_s"])
        assert m.passes == ((25,) if mode == "train" else (1,) * 25)


def test_passes_that_were_not_timed_one_by_one_have_a_mean_and_no_percentiles() -> None:
    """Two calls of `fit`, of 20 passes in 40 ms and of 5 passes in 60 ms."""
    trained = replace(measurement(), times_ns=(40_000_000, 60_000_000), passes=(20, 5))
    row = trained.row()
    assert [row[name] for name in ("median_ms", "p90_ms", "p99_ms")] == [None] * 3
    assert (row["runs"], row["total_ms"], row["mean_ms"]) == (25, 100, 4)
    assert row["passes_per_s"] == pytest.approx(1e3 / 4)
    assert row["limit_share"] == pytest.approx(1.5 / 4)
    details = report.details([trained])
    assert "mean" in details
    assert not re.search("median|p90|p99", details)
    assert "4.000 ms" in details
    assert report.sweep_cells([], trained)[1:3] == ["4.000 ms", "-"]
    assert report.sweep_note([trained]).startswith("time: mean of a pass.")
    assert report.sweep_note([measurement()]) == "time: median of a pass."
    # Each time of the JSON document was measured.
    results = Results(plan(), {}, [trained])
    (written,) = json.loads(results.to_json())["results"]
    assert (written["times_ms"], written["passes"]) == ([40, 60], [20, 5])
    assert next(csv.DictReader(io.StringIO(results.to_csv())))["p99_ms"] == ""


def test_what_cannot_be_verified_is_not_timed() -> None:
    deep = Case(layers=80, dimension=8, activation="sigmoid", mode="backward", threads=1)
    measurements, failures = runner.run(deep, plan(engines=("tinyrs",)), lambda passes: None)
    assert measurements == []
    assert "cannot be verified" in failures[0]


def test_turns_of_training_are_long_and_even_and_their_memory_is_bounded() -> None:
    def passes(nepochs: int, dimension: int = 16, batch: int = 4, mode: str = "train") -> int:
        return runner._passes_per_turn(
            Case(2, dimension, "tanh", batch=batch, mode=mode), plan(nepochs=nepochs)
        )

    assert [passes(n) for n in (5, 20, 39, 50, 1000)] == [5, 20, 39, 25, 100]
    assert passes(50, mode="forward") == 5
    assert passes(60, dimension=1024, batch=256) == 20  # 1 MiB each
    assert passes(60, dimension=4096, batch=1024) == 3  # 16 MiB each
    assert passes(60, dimension=16384, batch=4096) == 1
