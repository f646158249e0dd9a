"""What several test files share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import datasets

ROOT = Path(__file__).resolve().parent.parent

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture
def run_tool(tmp_path: Path) -> Tool:
    """Runs a script of the repository, as a user would: in another process and another folder."""

    def run(
        script: str, *args: str, before: str = "", stderr: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        """`before` is Python that runs first in the script's process."""
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


def one_line(stderr: str) -> bool:
    """Whether an error is what a user should see: a line, not a traceback."""
    return stderr.count("\n") == 1 and stderr.endswith("\n") and ": error: " in stderr


@pytest.fixture(scope="session")
def digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """scikit-learn's 1,797 handwritten digits: (rows, 64) in [0, 1], and what they show."""
    data = datasets.load_digits()
    return data.data / 16, data.target
