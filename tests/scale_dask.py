"""The examples for Dask on two local processes, one of which is killed; run by `make scale`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases_of_scale
import dask.dataframe as dd
import joblib
import numpy as np
import pytest
from cases_of_scale import COLUMNS, Case, KillOnce, check_equal, example
from distributed import Client, LocalCluster
from tinyrs.scale import Scorer


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return cases_of_scale.make_case(tmp_path)


@pytest.mark.parametrize("scorer", [Scorer, KillOnce])
def test_scores_are_those_of_one_call(client: Client, case: Case, scorer: Any, tmp_path: Path) -> None:
    example("dask_score").score(scorer(case.model, columns=COLUMNS), case.source, str(tmp_path / "scored"))
    check_equal(str(tmp_path / "scored"), case.expected)
    assert Path(f"{case.model}.killed").exists() == (scorer is KillOnce)


def test_a_search_finds_what_one_process_finds(client: Client, digits: Any) -> None:
    def found() -> dict[str, Any]:
        results = example("dask_search").search(*digits, width=[8, 32]).cv_results_
        return {name: list(results[name]) for name in results if "time" not in name}

    alone = found()
    with joblib.parallel_config("dask"):
        assert found() == alone


@pytest.mark.parametrize("kill", [False, True])
def test_an_ensemble_is_that_of_one_process(
    client: Client, kill: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensembles, table = example("dask_ensemble"), cases_of_scale.make_rows(900).drop_columns("id").to_pandas()
    rows = dd.from_pandas(table, npartitions=3)
    parts = [part.compute() for part in rows.partitions]
    alone = [ensembles.train(part, "kind", seed) for seed, part in enumerate(parts)]
    if kill:
        monkeypatch.setattr(ensembles, "train", cases_of_scale.KillingTrainer(tmp_path / "killed"))
    members = ensembles.ensemble(rows, "kind")
    assert [member.to_bytes() for member in members] == [member.to_bytes() for member in alone]
    expected = np.mean([member.predict_proba(table) for member in alone], axis=0)
    assert (ensembles.predict_proba(members, table) == expected).all()
    assert (tmp_path / "killed").exists() == kill


@pytest.mark.parametrize("threads_per_worker", [1, 2])
def test_workers_use_no_more_threads_than_dask_gives_them(threads_per_worker: int) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=threads_per_worker, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        # Dask sets OMP_NUM_THREADS=1: each task is to use one thread.
        assert client.submit(cases_of_scale.threads).result() == (1, 0)
