"""The examples for Ray on two local processes, one of which is killed; run by `make scale`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases_of_scale
import joblib
import pytest
import ray
from cases_of_scale import COLUMNS, Case, KillOnce, check_equal, example
from ray.util.joblib import register_ray
from tinyrs.scale import Scorer


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # Two for the workers, one for the tasks that list and write files.
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    # The files are small: this asks for several blocks, although Ray may still give them all to one worker.
    context = ray.data.DataContext.get_current()
    context.target_min_block_size, context.target_max_block_size = 1, 60_000
    yield
    ray.shutdown()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return cases_of_scale.make_case(tmp_path)


@pytest.mark.parametrize("scorer", [Scorer, KillOnce])
def test_scores_are_those_of_one_call(case: Case, scorer: Any, tmp_path: Path) -> None:
    target = str(tmp_path / "scored")
    example("ray_score").score(case.model, case.source, target, 2, scorer, columns=COLUMNS)
    check_equal(target, case.expected)
    assert Path(f"{case.model}.killed").exists() == (scorer is KillOnce)


def test_a_search_finds_what_one_process_finds(digits: Any) -> None:
    def found() -> dict[str, Any]:
        results = example("ray_search").search(*digits, width=[8, 32]).cv_results_
        return {name: list(results[name]) for name in results if "time" not in name}

    alone = found()
    register_ray()
    with joblib.parallel_config("ray"):
        assert found() == alone


def test_tune_stops_poor_trials(digits: Any, tmp_path: Path) -> None:
    results = example("ray_search").tune_with_pruning(*digits, 6, str(tmp_path / "trials"))
    assert results.num_errors == 0
    epochs = sorted(result.metrics["epoch"] for result in results)
    assert epochs[0] < 31
    assert results.get_best_result("score", "max", scope="all").metrics["score"] > 0.9


def test_workers_use_no_more_threads_than_ray_gives_them() -> None:
    class Worker:
        def threads(self) -> tuple[str | None, tuple[int, int]]:
            return os.environ.get("OMP_NUM_THREADS"), cases_of_scale.threads()

    def found(processors: int) -> Any:
        worker = ray.remote(num_cpus=processors)(Worker).remote()
        return ray.get(worker.threads.remote())

    # Ray sets OMP_NUM_THREADS to the number of CPUs that it reserves.
    assert found(1) == ("1", (1, 0))
    assert found(2) == ("2", (2, 1))
