"""The comparison with other libraries: a wrong engine gets no time. Needs none of the libraries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Tool
from peers import processes, report
from peers.engines import Engine, Make, numpy_engine, tinyrs_engine
from peers.low_precision import running as low_precision
from peers.low_precision.engines import ENGINES as LOW_PRECISION_ENGINES
from peers.low_precision.engines import LowPrecision
from peers.processes import Processes
from peers.running import Outcome, Settings, Timing, compare
from peers.targets import TARGETS, Measured
from peers.training import engines as training_engines
from peers.training import report as training_report
from peers.training import running as training
from peers.training.workloads import TrainingWorkload
from peers.workloads import HEADLINE_F32, LARGE_F32, SMALL_TANH, WORKLOADS, Workload
from tinyrs.bench import environment
from tinyrs.oracle import Array, Layer
from tinyrs.oracle_quantized import FORMATS

ROW = Workload("small", (9, 7, 8, 5), 1, "tanh", "softmax")
BATCH = Workload("medium", (6, 6, 6), 4, "relu", "identity", "f64")
LOW_ROW = Workload("small", (24, 40, 30, 5), 1, "tanh", "softmax")
LOW_BATCH = Workload("medium", (24, 30, 20), 4, "relu", "identity")
OURS = {name: engine for name, engine in LOW_PRECISION_ENGINES.items() if low_precision.is_ours(name)}
SETTINGS = Settings(rounds=2, turn_s=0.001, threads=(1, 2))
RIGHT = {"tinyrs": tinyrs_engine, "numpy": numpy_engine}


@pytest.fixture(autouse=True)
def made_up_machine_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(outcome: Outcome, threads: Sequence[int]) -> None:
        outcome.read_bandwidth |= dict.fromkeys(threads, 1e10)
        outcome.fma_peak |= dict.fromkeys(threads, 1e11)

    monkeypatch.setattr(Outcome, "probe", probe)


def changed(change: Callable[[Array, int], Array]) -> Make:
    """The oracle, with `change` applied to each answer and its number."""

    def make(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
        calls: Iterator[int] = iter(range(1_000_000_000))

        def engine(threads: int) -> Engine:
            right = numpy_engine(workload, layers)(threads)
            return replace(right, run=lambda x: change(right.run(x), next(calls)))

        return engine

    return make


def cached(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """The oracle, except that every answer is the first one."""
    answers: list[Array] = []

    def engine(threads: int) -> Engine:
        right = numpy_engine(workload, layers)(threads)

        def run(x: Array) -> Array:
            if not answers:
                answers.append(right.run(x))
            return answers[0]

        return replace(right, run=run)

    return engine


def absent(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    raise ImportError


@pytest.mark.parametrize("workload", [ROW, BATCH], ids=lambda workload: workload.name)
def test_wrong_and_absent_engines_get_no_time(workload: Workload) -> None:
    engines = RIGHT | {
        "zeros": changed(lambda y, _: 0 * y),
        "a percent off": changed(lambda y, _: y * y.dtype.type(1.01)),
        "reversed": changed(lambda y, _: y[..., ::-1]),
        "cached": cached,
        "spoilt later": changed(lambda y, n: y if n < 8 else y + 1),
        "absent": absent,
    }
    outcome = compare(workload, engines, SETTINGS)
    assert {(t.engine, t.threads) for t in outcome.timings} == {(e, n) for e in RIGHT for n in (1, 2)}
    assert set(outcome.failures) == set(engines) - set(RIGHT) - {"absent"}
    assert outcome.absent == ["absent"]
    assert "right before it was timed, wrong after" in outcome.failures["spoilt later"]
    text = report.outcome_table(outcome).text()
    assert "zeros: not timed, output [" in text
    assert "absent: not installed" in text


def test_results_reach_every_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: training_engines.ENGINES[name] for name in ("tinyrs", "numpy")}
    use_training_engines(monkeypatch, few)
    measured = Measured(SETTINGS, [compare(workload, RIGHT, SETTINGS) for workload in (ROW, BATCH)])
    measured.trainings = [training.compare(TrainingWorkload((5, 4, 3), 4, "relu", steps=2), 2, (1, 2))]
    measured.low_precision = [low_precision.compare(LOW_ROW, OURS, SETTINGS)]
    measured.processes = Processes({"tinyrs": 0.1, "onnxruntime": 0.2}, import_s=0.01)
    about = report.describe(Path())
    document = json.loads(report.json(measured, about))
    first = document["forward"][0]
    assert first["work"]["sizes"] == list(ROW.sizes)
    for timing in first["timings"]:
        assert timing["median_ms"] > 0
        assert len(timing["times_ns"]) >= 2 * 3
        assert 0 <= timing["error"] < 1e-6
    assert document["training"][0]["trained"][0]["engine"] == "tinyrs"
    assert {target["text"]: target["value"] for target in document["targets"]}["cold start: onnxruntime"] == 2
    assert [t["engine"] for t in document["low_precision"][0]["timings"]][::2] == list(OURS)
    text = report.markdown(measured, about)
    assert f"| low precision: {LOW_ROW.name} | 1 thread | 2 threads | error |" in text
    assert f"| {ROW.name} | 1 thread | 2 threads | p99 |" in text
    assert "| headline f32, all threads: best peer | at least 1.5 | not measured |  |" in text
    assert "| cold start: onnxruntime | at least 5 | 2.00 | NO |" in text
    report.plot(measured, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def use_training_engines(
    monkeypatch: pytest.MonkeyPatch,
    engines: dict[str, Callable[..., training_engines.Epoch]],
) -> None:
    for module in (training, training_report):
        monkeypatch.setattr(module, "ENGINES", engines)


def timing(engine: str, threads: int, ms: float, error: float = 0) -> Timing:
    return Timing(engine, threads, (int(ms * 1e6),) * 3, error, 1.0)


def test_targets_use_the_fastest_peer_at_its_faster_number_of_threads() -> None:
    outcome = Outcome(HEADLINE_F32, read_bandwidth={1: 2e10, 2: 4e10})
    outcome.timings = [
        timing("tinyrs", 1, 20),
        timing("tinyrs", 2, 21),
        timing("numpy", 1, 30),
        timing("numpy", 2, 50),
        timing("jax", 1, 45),
        timing("jax", 2, 28),
    ]
    measured = Measured(SETTINGS, [outcome])
    values = {target.text: target.value(measured) for target in TARGETS}
    assert values["headline f32, all threads: best peer"] == 28 / 20
    assert values["headline f32, one thread: best peer"] == 30 / 20
    share = values["headline f32, all threads: share of the read bandwidth"]
    assert share == pytest.approx(HEADLINE_F32.nbytes / 21e-3 / 4e10)
    assert values["all threads over one thread, worst workload"] == 21 / 20
    assert values["64-128-128-10, one sample: best peer"] is None
    rows = {row[0]: row[3] for row in report.target_table(measured).rows}
    assert rows["headline f32, all threads: best peer"] == "NO"
    assert rows["headline f32, one thread: best peer"] == "yes"


@pytest.mark.parametrize("workload", [LOW_ROW, LOW_BATCH], ids=lambda workload: workload.name)
@pytest.mark.parametrize("weights", ["f32", *FORMATS])
def test_only_the_error_of_its_format_is_allowed(workload: Workload, weights: str) -> None:
    exact = LowPrecision(weights, numpy_engine)
    wrong = {
        "zeros": changed(lambda y, _: 0 * y),
        "NaN": changed(lambda y, _: y * y.dtype.type(np.nan)),
        "half off": changed(lambda y, _: y * y.dtype.type(1.5)),
        "reversed": changed(lambda y, _: y[..., ::-1]),
        "one value": changed(lambda y, _: y[..., :1]),
        "cached": cached,
        "3 bits": changed(lambda y, _: np.rint(y / abs(y).max() * 4) / 4 * abs(y).max()),
    }
    ours = f"tinyrs {weights}"
    engines = {ours: OURS[ours], "exact": exact}
    engines |= {name: LowPrecision(weights, make) for name, make in wrong.items()}
    engines["absent"] = LowPrecision(weights, absent)
    outcome = low_precision.compare(workload, engines, SETTINGS)
    assert {t.engine for t in outcome.timings} == {ours, "exact"}
    assert set(outcome.failures) == set(wrong)
    assert outcome.absent == ["absent"]
    assert "of the largest output, but only" in outcome.failures["zeros"]
    assert "zeros: not timed, off by" in report.low_precision_table(outcome).text()


def test_errors_in_low_precision_are_relative_and_those_of_the_weights_unquantized() -> None:
    outcome = low_precision.compare(LOW_BATCH, OURS, SETTINGS)
    errors = {name.split()[1]: t.error for name in OURS if (t := outcome.best(name))}
    assert errors["f32"] < 1e-6 < errors["f16"] < 1e-3 < errors["bf16"] < errors["int8"] < 0.05
    assert errors["int8_weights"] < errors["int8"]


def test_a_faster_library_with_a_larger_error_is_not_faster() -> None:
    outcome = Outcome(LARGE_F32)
    outcome.timings = [
        timing("tinyrs f32", 1, 40, 1e-7),
        timing("tinyrs f32", 2, 30, 1e-7),
        timing("tinyrs int8", 2, 10, 2e-2),
        timing("coarse", 2, 5, 2.1e-2),
        timing("equal", 1, 50, 2.04e-2),
        timing("equal", 2, 12, 2.04e-2),
        timing("fine", 1, 20, 1e-3),
        timing("fine", 2, 8, 3e-2),
        timing("exact", 2, 33, 1e-7),
        timing("tinyrs bf16", 2, 15, 1e-3),
    ]
    rows = {row[0]: row[3:] for row in report.low_precision_table(outcome).rows}
    assert rows["tinyrs int8"] == ["2.0e-02", "3.00", "this one", "equal", "1.20"]
    assert rows["tinyrs f32"] == ["1.0e-07", "1.00", "this one", "exact", "1.10"]
    assert rows["tinyrs bf16"] == ["1.0e-03", "2.00", "this one", "fine", "1.33"]
    assert rows["coarse"] == ["2.1e-02", "6.00", "this one", "", ""]
    assert rows["equal"] == ["2.0e-02", "2.50", "tinyrs int8", "", ""]
    assert rows["fine"][:3] == ["3.0e-02", "3.75", "coarse"]
    values = {t.text: t.value(Measured(SETTINGS, low_precision=[outcome])) for t in TARGETS}
    assert values["10 x 1024, batch 256, relu, int8: tinyrs f32"] == 3
    assert values["10 x 1024, batch 256, relu, int8: best peer with no larger error"] == 1.2
    assert values["10 x 1024, batch 256, relu, bf16: tinyrs f32"] == 2
    assert values["100 x 1024, batch 1, sigmoid, f16: tinyrs f32"] is None


def test_the_low_precision_group_runs_without_other_libraries(run_benchmark: Tool) -> None:
    missing = "for name in ('onnx', 'onnxruntime', 'openvino', 'nncf', 'torch'): sys.modules[name] = None"
    # The folder of a script is not added to the path of its run_path.
    path = f"sys.path.insert(0, {str(ROOT / 'benchmarks')!r})"
    small = "import peers.workloads as w; w.LOW_PRECISION_WORKLOADS = (w.SMALL_TANH, w.MEDIUM_256)"
    before = "\n".join((missing, path, small))
    done = run_benchmark("benchmarks/compare.py", "--only", "low-precision", "--quick", before=before)
    assert done.returncode == 0, done.stderr
    for name in OURS:
        assert done.stdout.count(f"\n{name} ") == 2
    assert "openvino int8 (NNCF): not installed" in done.stdout
    assert "not timed" not in done.stdout


def test_a_network_that_does_not_fit_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "available_memory", lambda: 1000)
    outcome = compare(ROW, {"absent": absent}, SETTINGS)
    assert "GB" in outcome.failures["absent"]
    assert "GB" in low_precision.compare(ROW, OURS, SETTINGS).failures["tinyrs int8"]
    assert report.outcome_table(outcome).text()


def test_an_engine_that_trains_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lazy(*_: object) -> training_engines.Epoch:
        return lambda: 0.0

    def stopping(*arguments: Any) -> training_engines.Epoch:
        """Right in the first epoch only: the check after the timed ones finds it."""
        epoch = training_engines.oracle_engine(*arguments)
        losses: list[float] = []

        def first_epoch_only() -> float:
            losses.append(losses[0] if losses else epoch())
            return losses[0]

        return first_epoch_only

    def missing(*_: object) -> training_engines.Epoch:
        raise ImportError

    engines = {"tinyrs": training_engines.tinyrs_engine, "numpy": training_engines.oracle_engine}
    wrong = {"lazy": lazy, "stopping": stopping}
    use_training_engines(monkeypatch, engines | wrong | {"missing": missing})
    comparison = training.compare(TrainingWorkload((5, 8, 3), 4, "tanh", steps=30), 3, (1,))
    assert {t.engine for t in comparison.trained} == {"tinyrs", "numpy"}
    assert {len(t.seconds) for t in comparison.trained} == {3}
    assert set(comparison.wrong_losses) == {"lazy", "stopping"}
    assert comparison.absent == ["missing"]
    cells = {row[0]: row[1] for row in training_report.rows(comparison)}
    assert cells["lazy"] == "wrong loss: not timed"
    assert cells["missing"] == "not installed"


def test_a_cold_start_with_a_wrong_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    module, code = processes.COLD_STARTS["tinyrs"]
    starts = {
        "tinyrs": (module, code),
        "zeros": ("numpy", "import numpy as np\ny = np.zeros((1, 10)).tolist()\n"),
        "absent": ("no_such_module", ""),
    }
    monkeypatch.setattr(processes, "COLD_STARTS", starts)
    result = processes.measure(1)
    assert set(result.cold_s) == {"tinyrs"}
    assert set(result.failures) == {"zeros"}
    assert result.absent == ["absent"]
    assert 0 <= result.idle_s < 0.2


def test_the_workloads_are_what_they_say() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
    assert HEADLINE_F32.nbytes == 100 * (1024 * 1024 + 1024) * 4
    layers, inputs = SMALL_TANH.parameters(), SMALL_TANH.inputs()
    assert sum(W.size + b.size for W, b in layers) == SMALL_TANH.n_parameters
    assert len(np.unique(np.vstack(inputs), axis=0)) == len(inputs) > 100
    assert all(x.shape == (1, 64) and x.all() for x in inputs)


def test_an_unknown_group_is_an_error_that_names_the_groups(run_tool: Tool) -> None:
    done = run_tool("benchmarks/compare.py", "--only", "tiny")
    assert done.returncode == 2
    assert "'headline', 'small', 'medium', 'large', 'low-precision', 'training', 'process'" in done.stderr
