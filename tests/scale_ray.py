"""The examples for Ray on two local processes, one of which is killed; run by `make scale`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cases_of_scale
import pytest
import ray
from cases_of_scale import COLUMNS, Case, Watch, WatchedScorer, check_equal, example


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # Ray reads row groups together up to this size, by default 128 MiB: more than all rows here.
    os.environ["RAY_DATA_PARQUET_BIN_PACKING_BYTES"] = "50000"
    # Two for the trials of a search, one for what starts them.
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return cases_of_scale.make_case(tmp_path)


@pytest.mark.parametrize("kill", [False, True])
def test_scores_are_those_of_one_call(case: Case, kill: bool, tmp_path: Path) -> None:
    target = str(tmp_path / "scored")
    scorer = WatchedScorer(case.model, columns=COLUMNS, kill=kill)
    example("ray_score").score(scorer, case.source, target)
    check_equal(target, case.expected)
    scorer.watch.check()


@pytest.mark.parametrize("kill", [False, True])
def test_a_search_finds_what_one_process_finds(digits: Any, kill: bool, tmp_path: Path) -> None:
    half = 60  # of the epochs: 6 fits of 20
    watch = Watch(tmp_path / "watch", kill_after=half if kill else None)
    cases_of_scale.check_search(example("ray_search").search, digits, watch)


@pytest.mark.parametrize("kill", [False, True])
def test_tune_stops_poor_trials(
    digits: Any, kill: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path / "watch", kill_after=20 if kill else None)  # epochs
    monkeypatch.setattr(example("ray_search"), "trial", partial(cases_of_scale.watched_trial, watch))
    results = example("ray_search").tune_with_pruning(*digits, 6, str(tmp_path / "trials"))
    watch.check()
    assert results.num_errors == 0
    assert len(results) == 6
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
