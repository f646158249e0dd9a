"""Polars and DuckDB score Parquet files as one call does; run by `make scale`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import cases_of_scale
import pytest
from cases_of_scale import Case, check_equal, example
from tinyrs.scale import Scorer


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return cases_of_scale.make_case(tmp_path)


def arguments(name: str, case: Case) -> tuple[str, str]:
    """The source and the target."""
    target = f"{Path(case.model).parent}/scored.parquet"
    pattern = f"{case.source}/*.parquet"
    return (f"FROM '{pattern}'" if name == "duckdb_score" else pattern), target


@pytest.mark.parametrize("name", ["polars_score", "duckdb_score"])
def test_scores_are_those_of_one_call(name: str, case: Case) -> None:
    source, target = arguments(name, case)
    scorer = Scorer(case.model)
    example(name).score(scorer.predictor if name == "duckdb_score" else scorer, source, target)
    check_equal(target, case.expected)


@pytest.mark.parametrize("name", ["polars_score", "duckdb_score"])
def test_a_killed_process_leaves_no_half_file(name: str, case: Case) -> None:
    source, target = arguments(name, case)
    code = (
        f"import {name}, cases_of_scale\n"
        f"scorer = cases_of_scale.WatchedScorer({case.model!r}, processes=1, kill=True)\n"
        f"{name}.score(scorer, {source!r}, {target!r})"
    )
    for status in (-signal.SIGKILL, 0):
        assert not Path(target).exists()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
    check_equal(target, case.expected)
