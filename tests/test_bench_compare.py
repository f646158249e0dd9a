"""`tinyrs bench compare`: what it calls faster or slower, on made-up times; its output and exit status."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Run
from tinyrs.bench import compare
from tinyrs.bench.config import Case, Plan, UsageError
from tinyrs.bench.results import Limit, Measurement, Results

CASE = Case(layers=2, dimension=8, activation="tanh", threads=1)
TURNS, PASSES = 30, 7


def pass_times(
    rng: np.random.Generator, slowdown: float = 1.0, process: float = 0.0
) -> npt.NDArray[np.float64]:
    """Made-up milliseconds of the passes of a run on a machine with other tenants.

    The time drifts by 1 % over about ten passes (a first-order autoregressive process), each pass has noise
    of its own, bursts of load make passes up to twice as slow, and the whole run is off by `process`.
    """
    drift = [float(rng.normal())]
    for step in rng.normal(size=TURNS * PASSES - 1):
        drift.append(0.9 * drift[-1] + np.sqrt(1 - 0.9**2) * step)
    own = np.abs(rng.normal(size=len(drift)))
    times = slowdown * np.exp(0.01 * np.array(drift) + 0.02 * own + process * rng.normal())
    for start in np.flatnonzero(rng.random(len(times)) < 0.003):
        times[start : start + rng.geometric(0.1)] *= rng.uniform(1.1, 2)
    return times


def run(*times: npt.NDArray[np.float64]) -> compare.Run:
    """A run with one case for each array of `times`."""
    turns = {
        (Case(layers, 8, "tanh"), "tinyrs"): compare.turn_medians(t.tolist(), [1] * len(t), [PASSES] * TURNS)
        for layers, t in enumerate(times, start=1)
    }
    return compare.Run(Path("x.json"), turns)


def verdicts(runs: int, slowdown: float, *, process: float = 0.0, same: int = 0) -> Counter[str]:
    """The verdicts of `runs` comparisons, each with `same` more runs of the first program."""
    found: Counter[str] = Counter()
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        before, *more = (run(pass_times(rng, process=process)) for _ in range(1 + same))
        (result,) = compare.compare(before, run(pass_times(rng, slowdown, process)), more)
        found[result.verdict] += 1
    return found


def test_a_slowdown_of_3_percent_is_found_in_9_of_10_runs() -> None:
    found = verdicts(100, 1.03)
    assert found[compare.SLOWER] >= 90
    assert found[compare.FASTER] == 0


def test_at_most_1_of_20_runs_of_the_same_program_is_called_a_change() -> None:
    assert verdicts(200, 1.0)[compare.SAME] >= 190


def test_single_passes_as_the_unit_would_call_noise_a_change() -> None:
    """The simulated noise deserves its name: a test of passes is wrong far more often than 1 in 20."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    alarms = [stats.mannwhitneyu(pass_times(rng), pass_times(rng)).pvalue < compare.ALPHA for _ in range(100)]
    assert sum(alarms) > 15


def test_more_runs_of_the_program_show_the_noise_between_processes() -> None:
    assert verdicts(60, 1.0, process=0.01)[compare.SAME] < 50
    assert verdicts(60, 1.0, process=0.01, same=4)[compare.SAME] >= 57
    assert verdicts(60, 1.06, process=0.01, same=4)[compare.SLOWER] >= 40


def test_p_values_are_corrected_for_the_number_of_cases() -> None:
    assert compare._holm([0.01, 0.04, 0.03, 1.0]) == pytest.approx([0.04, 0.09, 0.09, 1.0])
    rng = np.random.default_rng(3)
    before, after = pass_times(rng), pass_times(rng, 1.02)
    (alone,) = compare.compare(run(before), run(after))
    first, *_ = compare.compare(run(before, *[before] * 19), run(after, *[before] * 19))
    assert first.p == pytest.approx(min(1, 20 * alone.p))


def test_the_interval_holds_the_ratio() -> None:
    rng = np.random.default_rng(0)
    (found,) = compare.compare(run(pass_times(rng)), run(pass_times(rng, 0.9)))
    assert found.low < found.ratio < found.high < 1
    assert found.ratio == pytest.approx(found.after_ms / found.before_ms)
    assert 0.87 < found.ratio < 0.93
    assert found.verdict == compare.FASTER


def test_too_few_turns_are_not_called_the_same() -> None:
    key = (CASE, "tinyrs")
    few = compare.Run(Path("x"), {key: np.array([1.0, 1.01, 1.02])})
    (found,) = compare.compare(few, compare.Run(Path("y"), {key: np.array([2.0, 2.01, 2.02])}))
    assert found.verdict == compare.TOO_FEW


def test_turn_medians_are_times_of_a_pass() -> None:
    assert compare.turn_medians([1, 2, 9, 40], [1, 1, 1, 10], [3, 1]).tolist() == [2, 4]
    with pytest.raises(ValueError, match="4 times do not form turns of"):
        compare.turn_medians([1, 2, 9, 40], [1] * 4, [3])


# Files and the command


def write(path: str, times: npt.NDArray[np.float64], **changes: Any) -> None:
    """Writes the results of a run as the benchmark tools do; `changes` replace fields of the document."""
    measurement = Measurement(
        CASE,
        "tinyrs",
        first_ns=1000,
        times_ns=tuple(int(1e6 * t) for t in times),
        passes=(1,) * len(times),
        turns=(PASSES,) * TURNS,
        error=0.0,
        allowed_error=1e-6,
        limit=Limit("memory", 1e-6, 1e9, 1e9),
        peak_memory=None,
    )
    results = Results(Plan((CASE,), nepochs=len(times)), {"cpu": path}, [measurement])
    Path(path).write_text(json.dumps(json.loads(results.to_json()) | changes))


def test_the_command(tinyrs_cli: Run) -> None:
    rng = np.random.default_rng(0)
    for name, slowdown in (("a.json", 1.0), ("b.json", 1.1)):
        write(name, pass_times(rng, slowdown))
    done = tinyrs_cli("bench", "compare", "a.json", "b.json")
    assert (done.status, done.err) == (0, "")
    assert "slower" in done.out
    assert "cpu: a.json before, b.json after" in done.out
    assert "p < 0.01" in done.out
    assert "Noise between processes is unknown" in done.out
    assert (
        "unknown" not in tinyrs_cli("bench", "compare", "a.json", "b.json", "--same", "a.json", "a.json").out
    )
    (found,) = tinyrs_cli("bench", "compare", "b.json", "a.json", "--json").json["comparisons"]
    assert (found["verdict"], found["dimension"], found["turns"]) == ("faster", 8, [TURNS, TURNS])

    done = tinyrs_cli("bench", "compare", "a.json", "b.json", "--fail-slower", "5%")
    assert done.status == 1
    assert "1 of 1 cases are slower by more than 5 %, the worst by +" in done.err
    done = tinyrs_cli("bench", "compare", "a.json", "b.json", "--fail-slower", "5%", "--json")
    assert done.status == 1
    assert (done.json["comparisons"][0]["verdict"], "slower by more" in done.json["error"]) == (
        "slower",
        True,
    )
    assert tinyrs_cli("bench", "compare", "a.json", "b.json", "--fail-slower", "20%").status == 0
    assert tinyrs_cli("bench", "compare", "b.json", "a.json", "--fail-slower", "0%").status == 0


@pytest.mark.parametrize("wrong", ["5", "-1%", "x%", "inf%", "nan%"])
def test_wrong_percentages(tinyrs_cli: Run, wrong: str) -> None:
    done = tinyrs_cli("bench", "compare", "a.json", "b.json", f"--fail-slower={wrong}")
    assert done.status == 2
    assert f"expected a percentage such as 5%, got '{wrong}'" in done.err


def test_files_that_cannot_be_compared(tinyrs_cli: Run) -> None:
    times = pass_times(np.random.default_rng(0))
    write("a.json", times)
    write("old.json", times, schema=2)
    write("none.json", times, results=[])
    write("broken.json", times, results=[{}])
    Path("text.json").write_text("Total time")
    Path("other.json").write_text("[1]")
    for name, message in {
        "missing.json": "missing.json: No such file or directory",
        "old.json": "old.json: expected version 3 of the schema, got 2, which does not have the turns",
        "none.json": "a.json, none.json: expected results of the same cases, but they have none in common",
        "broken.json": "broken.json: expected the JSON results of a benchmark: KeyError('layers')",
        "text.json": "text.json: expected the JSON results of a benchmark: Expecting value",
        "other.json": "other.json: expected the JSON results of a benchmark, but the field schema is missing",
    }.items():
        done = tinyrs_cli("bench", "compare", "a.json", name)
        assert (done.status, done.out) == (2, "")
        assert message in done.err
        assert done.err.count("\n") == 1


def test_without_scipy(tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.json", pass_times(np.random.default_rng(0)))
    monkeypatch.setitem(sys.modules, "scipy", None)
    done = tinyrs_cli("bench", "compare", "a.json", "a.json")
    assert (done.status, done.err) == (1, "tinyrs: this command needs scipy: pip install 'tinyrs[bench]'\n")


def test_a_baseline_can_be_compared(tinyrs_cli: Run) -> None:
    Path("plan.yaml").write_text(
        "version: 2\nbenchmark:\n  nepochs: 60\n  shape: {layers: 1, dimension: 8}\n"
        "  math: {precision: f32, activation: sigmoid}\n"
    )
    done = tinyrs_cli("bench", "plan.yaml", "--save-baseline")
    assert (done.status, done.out.splitlines()[-1]) == (0, "wrote plan.baseline.json")
    assert "Total time for 60 run(s)" in done.out
    done = tinyrs_cli("bench", "plan.yaml", "--save-baseline", "--json")
    assert done.json == json.loads(Path("plan.baseline.json").read_text())
    (found,) = tinyrs_cli("bench", "compare", "plan.baseline.json", "plan.baseline.json", "--json").json[
        "comparisons"
    ]
    assert (found["ratio"], found["verdict"], found["turns"]) == (1, compare.SAME, [12, 12])
    with pytest.raises(UsageError, match="irectory"):
        compare.load(Path())
