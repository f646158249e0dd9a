"""Processes: forks around passes and training, start methods, namespaces, subinterpreters, exits.

Each case of `process_cases.py` runs once; `make processes` runs it many times, because most failures need a
fork at an unlucky moment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import process_cases
import pytest

ROUNDS = os.environ.get("TINYRS_PROCESS_ROUNDS", "1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the cases fork")
@pytest.mark.parametrize("case", process_cases.CASES)
def test_a_process(case: str) -> None:
    result = subprocess.run(
        [sys.executable, Path(process_cases.__file__), case, ROUNDS],
        capture_output=True,
        text=True,
        timeout=120 + 30 * int(ROUNDS),
    )
    assert result.returncode == 0, result.stderr
    if result.stdout.startswith("skipped: "):
        pytest.skip(result.stdout)
    assert result.stdout == f"passed: {case}\n"
