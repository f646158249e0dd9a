"""Fixtures and helpers that several test files share."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import datasets

# Programs that a shell starts in the background ignore SIGINT, and so do their children. Tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root() -> Path:
    """The root folder of the repository."""
    return ROOT


@pytest.fixture
def run_tool(tmp_path: Path) -> Tool:
    """Runs a script of the repository in a new process, in an empty folder."""

    def run(
        script: str, *args: str, before: str = "", stderr: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        """`before` is Python code to run in the process before the script."""
        command = [str(ROOT / script), *args]
        if before:
            start = "import runpy, sys; sys.argv = sys.argv[1:]"
            script_itself = "runpy.run_path(sys.argv[0], run_name='__main__')"
            command = ["-c", "\n".join((start, before, script_itself)), *command]
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=120,
        )

    return run


# For tests of benchmarks, instead of what `tinyrs.machine_limits` measures in half a second, twice for each
# network.
LIMITS = {
    "read_bandwidth": 1e10,
    "fma_f32": 1e11,
    "fma_f64": 5e10,
    "multiply_add_bf16": 2e11,
    "multiply_add_int8": 4e11,
}


@pytest.fixture
def run_benchmark(run_tool: Tool) -> Tool:
    """As `run_tool`, with `LIMITS` instead of the measured limits of this machine."""
    made_up = f"import tinyrs\ntinyrs.machine_limits = lambda *_, **__: {LIMITS}\n"

    def run(script: str, *args: str, before: str = "", **options: int) -> subprocess.CompletedProcess[str]:
        return run_tool(script, *args, before=made_up + before, **options)

    return run


def one_line(stderr: str) -> bool:
    """Whether the error output is one line, not a traceback."""
    return stderr.count("\n") == 1 and stderr.endswith("\n") and ": error: " in stderr


@pytest.fixture(scope="session")
def digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """scikit-learn's 1,797 handwritten digits: pixels (rows, 64) in [0, 1], and digits (rows,)."""
    data = datasets.load_digits()
    return data.data / 16, data.target


# The command line.

Run = Callable[..., "Done"]


class Done(NamedTuple):
    """The result of a command: its exit status, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def tinyrs_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `tinyrs ARGS` in this process, in an empty folder."""
    from tinyrs.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: bytes | None = None) -> Done:
        capfd.readouterr()
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main([str(arg) for arg in args])
        return Done(status, *capfd.readouterr())

    return run


def flowers(rows: int, seed: int = 0) -> dict[str, list[Any]]:
    """A table with two columns of numbers, one with missing values, two of strings, and the class `kind`."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    length = np.round(kind * 1.5 + rng.normal(size=rows) * 0.4, 2)
    return {
        "id": [f"{i:04}" for i in range(rows)],
        "length": [
            None if missing else value
            for missing, value in zip(rng.random(rows) < 0.1, length.tolist(), strict=True)
        ],
        "width": np.round(rng.normal(size=rows), 3).tolist(),
        "colour": np.array(["red", "blue, pale", 'the "white"'])[
            (kind + (rng.random(rows) < 0.2)) % 3
        ].tolist(),
        "kind": (kind + 9).tolist(),
    }


def csv_text(table: dict[str, list[Any]], delimiter: str = ",") -> str:
    """The table as CSV, as a spreadsheet writes it."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return stream.getvalue()


@pytest.fixture(scope="session")
def flower_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on `flowers` by `tinyrs train`."""
    from tinyrs.cli.main import main

    folder = tmp_path_factory.mktemp("flowers")
    (folder / "train.csv").write_text(csv_text(flowers(600)))
    model = folder / "model.safetensors"
    arguments = ["train", folder / "train.csv", "--target", "kind", "--drop", "id", "-o", model]
    assert main([*map(str, arguments), "--hidden", "16", "--epochs", "30", "--json"]) == 0
    return model
