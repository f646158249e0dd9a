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
    cases = [((Case(layers, 8, "tanh"), "tinyrs"), t) for layers, t in enumerate(times, start=1)]
    turns = {key: compare.turn_medians(t.tolist(), [1] * len(t), [PASSES] * TURNS) for key, t in cases}
    return compare.Run(Path("x.json"), turns, {key: float(np.quantile(t, 0.1)) for key, t in cases})


def verdicts(comparisons: int, slowdown: float, *, process: float = 0.0, runs: int = 1) -> Counter[str]:
    """The verdicts of comparisons of `runs` runs each, the second program slower by a factor."""
    found: Counter[str] = Counter()
    for seed in range(comparisons):
        rng = np.random.default_rng(seed)
        before, after = [], []
        for _ in range(runs):
            # Neighbouring runs share half of what the machine makes of a run.
            shared = np.exp(process * rng.normal())
            before.append(run(shared * pass_times(rng, process=process)))
            after.append(run(shared * pass_times(rng, slowdown, process)))
        (result,) = compare.compare(before, after)
        found[result.verdict] += 1
    return found


def test_a_slowdown_of_3_percent_is_found_in_9_of_10_runs() -> None:
    found = verdicts(100, 1.03)
    assert found[compare.SLOWER] >= 90
    assert found[compare.FASTER] == 0


def test_at_most_1_of_20_runs_of_the_same_program_is_called_a_change() -> None:
    assert verdicts(100, 1.0)[compare.SAME] >= 95


def test_single_passes_as_the_unit_would_call_noise_a_change() -> None:
    """The simulated noise deserves its name: a test of passes is wrong far more often than 1 in 20."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    alarms = [stats.mannwhitneyu(pass_times(rng), pass_times(rng)).pvalue < compare.ALPHA for _ in range(100)]
    assert sum(alarms) > 15


def test_one_run_each_would_call_the_noise_between_processes_a_change() -> None:
    assert verdicts(40, 1.0, process=0.02)[compare.SAME] < 30


def test_pairs_of_runs_on_a_busy_machine_show_a_slowdown_of_3_percent() -> None:
    """Runs differ by 2 % from one another, and their passes by more: twenty pairs find 3 % in 9 of 10."""
    found = verdicts(20, 1.03, process=0.02, runs=20)
    assert found[compare.SLOWER] >= 18
    assert found[compare.FASTER] == 0


def test_pairs_of_runs_of_the_same_program_are_rarely_called_a_change() -> None:
    assert verdicts(40, 1.0, process=0.02, runs=10)[compare.SAME] >= 38


def test_few_pairs_are_not_judged() -> None:
    assert verdicts(2, 2.0, runs=7) == {compare.TOO_FEW: 2}
    assert verdicts(2, 2.0, runs=8) == {compare.SLOWER: 2}


def test_equal_runs_are_the_same() -> None:
    same = [run(pass_times(np.random.default_rng(i))) for i in range(9)]
    (found,) = compare.compare(same, same)
    assert (found.ratio, found.low, found.high, found.p, found.verdict) == (1, 1, 1, 1, compare.SAME)
    assert (found.unit, found.counts) == ("runs", (9, 9))
    with pytest.raises(UsageError, match="expected as many runs before as after, got 9 and 8"):
        compare.compare(same, same[:8])


def test_p_values_are_corrected_for_the_number_of_cases() -> None:
    assert compare._holm([0.01, 0.04, 0.03, 1.0]) == pytest.approx([0.04, 0.09, 0.09, 1.0])
    rng = np.random.default_rng(3)
    before, after = pass_times(rng), pass_times(rng, 1.02)
    (alone,) = compare.compare([run(before)], [run(after)])
    first, *_ = compare.compare([run(before, *[before] * 19)], [run(after, *[before] * 19)])
    assert first.p == pytest.approx(min(1, 20 * alone.p))


def test_the_interval_holds_the_ratio() -> None:
    rng = np.random.default_rng(0)
    (found,) = compare.compare([run(pass_times(rng))], [run(pass_times(rng, 0.9))])
    assert found.low < found.ratio < found.high < 1
    assert found.ratio == pytest.approx(found.after_ms / found.before_ms)
    assert 0.87 < found.ratio < 0.93
    assert found.verdict == compare.FASTER


def test_too_few_turns_are_not_called_the_same() -> None:
    key = (CASE, "tinyrs")
    few = compare.Run(Path("x"), {key: np.array([1.0, 1.01, 1.02])})
    (found,) = compare.compare([few], [compare.Run(Path("y"), {key: np.array([2.0, 2.01, 2.02])})])
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
    assert "One run each cannot show how much runs of the same program differ" in done.out
    (found,) = tinyrs_cli("bench", "compare", "b.json", "a.json", "--json").json["comparisons"]
    assert (found["verdict"], found["dimension"], found["counts"]) == ("faster", 8, [TURNS, TURNS])

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


# Stands for a benchmark: notes that it ran in `order`, and copies its results from a file.
PROGRAM = """
import pathlib, shutil, sys
name, source, flag, target = sys.argv[1:]
with open("order", "a") as order:
    order.write(name)
if not pathlib.Path(source).exists():
    sys.exit("something\\nno results")
shutil.copy(source, target)
"""


def test_programs_are_run_in_turn(tinyrs_cli: Run) -> None:
    rng = np.random.default_rng(0)
    for name, slowdown in (("a.json", 1.0), ("b.json", 1.1)):
        write(name, pass_times(rng, slowdown))
    Path("p.py").write_text(PROGRAM)
    before, after = (f"{sys.executable} p.py {name} {name}.json" for name in "ab")
    done = tinyrs_cli("bench", "compare", "--runs", "8", before, after, "--keep", "kept", "--json")
    assert done.err == ""
    (found,) = done.json["comparisons"]
    assert (found["verdict"], found["counts"], found["unit"]) == ("slower", [8, 8], "runs")
    assert Path("order").read_text() == "abba" * 4
    # The results that were kept are compared in the same way.
    (again,) = tinyrs_cli("bench", "compare", "kept/before", "kept/after", "--json").json["comparisons"]
    assert again == found
    assert "Wilcoxon test of pairs of runs" in tinyrs_cli("bench", "compare", "kept/before", "kept/after").out

    done = tinyrs_cli("bench", "compare", "--runs", "8", before, after, "--keep", "kept")
    assert (done.status, "kept/before: expected a folder to create, but it exists" in done.err) == (2, True)
    done = tinyrs_cli("bench", "compare", "--runs", "8", before, before.replace("a.json", "c.json"))
    assert (done.status, done.err.endswith("exit status 1: no results\n")) == (2, True)
    done = tinyrs_cli("bench", "compare", "--runs", "8", "no-such-program", after)
    assert (done.status, "no-such-program --json" in done.err) == (2, True)
    done = tinyrs_cli("bench", "compare", "a.json", "b.json", "--keep", "kept")
    assert (done.status, "argument --keep: needs --runs" in done.err) == (2, True)
    Path("empty").mkdir()
    done = tinyrs_cli("bench", "compare", "empty", "a.json")
    assert "empty: expected a folder with the JSON results of a benchmark, found none in it" in done.err


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
    assert (found["ratio"], found["verdict"], found["counts"]) == (1, compare.SAME, [12, 12])
    with pytest.raises(UsageError, match="irectory"):
        compare.load(Path())
