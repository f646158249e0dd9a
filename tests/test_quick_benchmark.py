"""quick_benchmark.py, run as a command: its output, files and exit status."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path

import pytest
from conftest import LIMITS, Tool, one_line

SMALL = ["-p", "f32", "-n", "5", "-l", "3", "-d", "16", "-a", "sigmoid"]
FIRST_LINE = r"Total time for 5 run\(s\) was \d+\.\d{6} ms"
WITHOUT_EXTRAS = "sys.modules.update(dict.fromkeys(['yaml', 'threadpoolctl', 'tqdm', 'matplotlib']))"
WRONG_ENGINE = """
import tinyrs.bench.engines as e
right = e.ENGINES["tinyrs"]
def wrong(case, layers, target):
    engine = right(case, layers, target)
    return e.Engine(lambda x: [y * y.dtype.type(1.01) for y in engine.answer(x)], engine.run)
e.ENGINES["tinyrs"] = wrong
"""


@pytest.mark.parametrize("mode", ["backward", "train"])
def test_backward_and_training_passes(run_benchmark: Tool, mode: str) -> None:
    flags = ["-b", "4", "--pass", mode, "--engine", "both", "-t", "1"]
    done = run_benchmark("quick_benchmark.py", *SMALL, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    first, _, third, *rest = done.stdout.splitlines()
    assert re.fullmatch(FIRST_LINE, first)
    assert third.startswith(f"{mode} pass, 3 layers of 16 x 16, sigmoid, f32, 4 samples a pass")
    assert any(line.startswith("samples a second") for line in rest)
    # The passes of training are timed together.
    assert any(line.startswith("mean ") for line in rest) == (mode == "train")
    assert any(line.startswith(("median", "p90", "p99")) for line in rest) == (mode != "train")


@pytest.mark.parametrize("precision", ["f16", "bf16", "int8", "int8_weights"])
def test_low_precision(run_benchmark: Tool, tmp_path: Path, precision: str) -> None:
    done = run_benchmark("quick_benchmark.py", *SMALL, "-p", precision, "-b", "3", "--json", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    weights = 3 * 16 * 16 * (1 if precision.startswith("int8") else 2)
    vectors = 3 * 16 * 4 * (2 if precision.startswith("int8") else 1)
    assert result["weight_bytes"] == weights + vectors
    peak = {"bf16": "multiply_add_bf16", "int8": "multiply_add_int8"}.get(precision, "fma_f32")
    assert result["limit_gflops"] == LIMITS[peak] / 1e9
    assert f"3 layers of 16 x 16, sigmoid, {precision}, 3 samples a pass" in done.stdout
    unit = "Gop/s in int8" if precision == "int8" else "GFLOP/s"
    assert f"{result['limit_gflops']:.0f} {unit})" in done.stdout


@pytest.mark.parametrize("script", ["quick_benchmark.py", "benchmark.py"])
@pytest.mark.parametrize("missing", ["tinyrs", "numpy", "tinyrs._tinyrs"])
def test_without_the_environment_two_lines_say_how_to_get_it(
    run_tool: Tool, script: str, missing: str
) -> None:
    done = run_tool(script, *SMALL, before=f"sys.modules[{missing!r}] = None")
    assert (done.returncode, done.stdout) == (2, "")
    error, advice = done.stderr.splitlines()
    assert error.startswith(f"{script}: error: ")
    assert missing in error
    assert advice == f"install tinyrs: make dev, then run .venv/bin/python {script} ..."


def test_first_line_and_details(run_tool: Tool) -> None:
    done = run_tool("quick_benchmark.py", *SMALL, "--engine", "both")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch(FIRST_LINE, first)
    text = "\n".join(rest)
    for expected in ("3 layers of 16 x 16", "median", "p90", "p99", "first run", "passes a second"):
        assert expected in text
    for expected in ("GFLOP/s", "GB/s", "share of the limit", "largest error", "time / numpy's"):
        assert expected in text
    for expected in ("Peak memory", "cpu", "usable cores", "numpy", "commit"):
        assert expected in text


@pytest.mark.parametrize(
    "flags",
    [
        ["-p", "f64"],
        ["-p", "f8", "-a", "tanh"],
        ["-p", "f4", "-t", "1"],
        ["-b", "7"],
        ["--engine", "numpy"],
        ["-d", "1", "-l", "1", "--warmup", "0"],
        ["--epsilon", "1e-3", "--seed", "9"],
        [
            "--precision=f32",
            "--nepochs=5",
            "--layers=2",
            "--dimension=17",
            "--activation=tanh",
            "--threads=1",
        ],
    ],
)
def test_quiet_prints_only_the_first_line(run_benchmark: Tool, flags: list[str]) -> None:
    done = run_benchmark("quick_benchmark.py", *SMALL, *flags, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(FIRST_LINE + "\n", done.stdout)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-l", "0"], "argument -l/--layers: expected an integer of at least 1, got 0"),
        (["-d", "-3"], "argument -d/--dimension: expected an integer of at least 1, got -3"),
        (["-n", "many"], "argument -n/--nepochs: expected an integer of at least 1, got 'many'"),
        (["-b", "0"], "argument -b/--batch: expected an integer of at least 1, got 0"),
        (["-t", "0"], "argument -t/--threads: expected an integer of at least 1, got 0"),
        (["-a", "gelu"], "argument -a/--activation: expected one of sigmoid, tanh, got 'gelu'"),
        (["-p", "f128"], "argument -p/--precision: expected one of f32, f64, f4, f8, f16, "),
        (
            ["-p", "int8", "--pass", "train"],
            "-p/--precision: int8 networks have forward passes only",
        ),
        (
            ["-p", "bf16", "--engine", "both"],
            "-p/--precision: the engine numpy has no bf16 networks",
        ),
        (["--engine", "torch"], "argument --engine: expected one of tinyrs, numpy, both, got 'torch'"),
        (["--epsilon", "-1"], "argument --epsilon: expected a number from 0 to 80, got '-1'"),
        (["--seed", "-1"], "argument --seed: expected an integer of at least 0, got -1"),
        (["--warmup", "-1"], "argument --warmup: expected an integer of at least 0, got -1"),
        (
            ["-l", "100", "-d", "10000000"],
            "argument -l/--layers, -d/--dimension, -b/--batch: needs ",
        ),
        (["-b", "1000000000000"], "argument -l/--layers, -d/--dimension, -b/--batch: needs "),
        (["-d", "1" + "0" * 400], "argument -d/--dimension: expected an integer of at most 2**63, got 1000"),
        (["--json", "missing/x.json"], "argument --json: cannot write missing/x.json: No such file"),
        (["--csv", "."], "argument --csv: cannot write .: Is a directory"),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the system's part of the messages is another")
def test_errors_are_one_line_that_names_the_flag(run_tool: Tool, flags: list[str], message: str) -> None:
    done = run_tool("quick_benchmark.py", *SMALL, *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr)
    assert message in done.stderr


def test_no_time_for_a_wrong_answer(run_benchmark: Tool, tmp_path: Path) -> None:
    flags = [*SMALL, "--engine", "both", "--json", "x.json"]
    done = run_benchmark("quick_benchmark.py", *flags, before=WRONG_ENGINE)
    assert done.returncode == 1
    assert "Total time" not in done.stdout
    assert one_line(f"quick_benchmark.py: {done.stderr}")
    assert re.search(r"wrong answer.*: tinyrs: output .*; off by \S+, but only \S+ is allowed", done.stderr)
    document = json.loads((tmp_path / "x.json").read_text())
    assert [result["engine"] for result in document["results"]] == ["numpy"]
    assert len(document["failures"]) == 1


def test_no_output_for_a_wrong_answer_of_the_only_engine(run_benchmark: Tool, tmp_path: Path) -> None:
    done = run_benchmark("quick_benchmark.py", *SMALL, "--json", "x.json", before=WRONG_ENGINE)
    assert (done.returncode, done.stdout) == (1, "")
    assert not (tmp_path / "x.json").exists()


def test_files(run_benchmark: Tool, tmp_path: Path) -> None:
    flags = ["--engine", "both", "--json", "x.json", "--csv", "x.csv", "--quiet"]
    done = run_benchmark("quick_benchmark.py", *SMALL, *flags)
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["schema"] == 3
    ours, numpys = document["results"]
    assert (ours["engine"], numpys["engine"], numpys["numpy_ratio"]) == ("tinyrs", "numpy", 1.0)
    assert f"{ours['total_ms']:.6f}" in done.stdout
    assert sum(ours["times_ms"]) == pytest.approx(ours["total_ms"])
    assert 0 <= ours["error"] < 1e-4
    with (tmp_path / "x.csv").open() as file:
        assert [row["engine"] for row in csv.DictReader(file)] == ["tinyrs", "numpy"]


def test_a_file_is_kept_until_there_are_results(run_tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("old")
    stop = "import tinyrs.bench.runner as r\ndef run(*_): raise KeyboardInterrupt\nr.run = run"
    done = run_tool("quick_benchmark.py", *SMALL, "--json", "x.json", "--csv", "x.csv", before=stop)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "quick_benchmark.py: interrupted\n"
    assert (tmp_path / "x.json").read_text() == "old"
    assert not (tmp_path / "x.csv").exists()


def test_numpy_alone_is_enough(run_benchmark: Tool) -> None:
    done = run_benchmark("quick_benchmark.py", *SMALL, "--engine", "both", "--quiet", before=WITHOUT_EXTRAS)
    assert (done.returncode, done.stderr) == (0, "")
    done = run_benchmark("quick_benchmark.py", *SMALL, "--engine", "both", "-t", "1", before=WITHOUT_EXTRAS)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr)
    assert "pip install 'tinyrs[bench]'" in done.stderr


def test_peak_memory_is_that_of_one_network(run_tool: Tool, tmp_path: Path) -> None:
    """The limit of the headline benchmark, checked on a smaller network."""
    flags = ["-p", "f32", "-n", "3", "-l", "30", "-d", "1024", "-a", "sigmoid", "--json", "x.json"]
    assert run_tool("quick_benchmark.py", *flags, "--quiet").returncode == 0
    (result,) = json.loads((tmp_path / "x.json").read_text())["results"]
    if result["peak_memory"] is None:
        pytest.skip("the peak memory is unknown on this system")
    assert result["weight_bytes"] < result["peak_memory"] <= 1.15 * result["weight_bytes"] + 60e6


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_progress_bar_on_a_terminal_for_long_runs_only(run_benchmark: Tool, seconds: float) -> None:
    pytest.importorskip("tqdm")
    import fcntl
    import pty
    import struct
    import termios

    slow = f"""
import time, tinyrs.bench.harness as h
time_calls = h.time_calls
h.time_calls = lambda *turn: (time_calls(*turn), time.sleep({seconds}))[0]
"""
    ours, theirs = pty.openpty()
    # tqdm shows nothing on a terminal of width 0.
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = run_benchmark("quick_benchmark.py", *SMALL, "-n", "2", "--quiet", before=slow, stderr=theirs)
    os.set_blocking(ours, False)
    try:
        shown = os.read(ours, 100_000).decode()
    except BlockingIOError:
        shown = ""
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert re.fullmatch(r"Total time for 2 run\(s\) was \S+ ms\n", done.stdout)
    assert ("pass" in shown) == (seconds > 1)


def test_help_names_every_flag(run_tool: Tool) -> None:
    done = run_tool("quick_benchmark.py", "--help")
    assert done.returncode == 0
    flags = """
        nepochs precision layers dimension activation threads epsilon batch engine seed warmup json csv quiet
    """
    assert set(re.findall(r"--([a-z]+)", done.stdout)) >= set(flags.split())
