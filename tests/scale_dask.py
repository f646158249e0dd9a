"""The examples for Dask on two local processes, one of which is killed; run by `make scale`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases_of_scale
import dask.dataframe as dd
import numpy as np
import pytest
from cases_of_scale import (
    COLUMNS,
    Case,
    Watch,
    WatchedScorer,
    WatchedTrainer,
    check_equal,
    example,
)
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def client(cluster: Client) -> Client:
    cluster.wait_for_workers(2)  # the test before may have killed one
    return cluster


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return cases_of_scale.make_case(tmp_path)


@pytest.mark.parametrize("kill", [False, True])
def test_scores_are_those_of_one_call(client: Client, case: Case, kill: bool, tmp_path: Path) -> None:
    scorer = WatchedScorer(case.model, columns=COLUMNS, kill=kill)
    example("dask_score").score(scorer, case.source, str(tmp_path / "scored"))
    check_equal(str(tmp_path / "scored"), case.expected)
    scorer.watch.check()


@pytest.mark.parametrize("kill", [False, True])
def test_a_search_finds_what_one_process_finds(
    client: Client, digits: Any, kill: bool, tmp_path: Path
) -> None:
    half = 60  # of the epochs: 6 fits of 20
    watch = Watch(tmp_path / "watch", kill_after=half if kill else None)
    cases_of_scale.check_search(example("dask_search").search, digits, watch)


@pytest.mark.parametrize("kill", [False, True])
def test_an_ensemble_is_that_of_one_process(
    client: Client, kill: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensembles, table = example("dask_ensemble"), cases_of_scale.make_rows(1200).drop_columns("id").to_pandas()
    rows = dd.from_pandas(table, npartitions=4)
    parts = [part.compute() for part in rows.partitions]
    alone = [ensembles.train(part, "kind", seed) for seed, part in enumerate(parts)]
    watch = Watch(tmp_path / "watch", kill_after=2 if kill else None)
    monkeypatch.setattr(ensembles, "train", WatchedTrainer(watch))
    members = ensembles.ensemble(rows, "kind")
    watch.check()
    assert [member.to_bytes() for member in members] == [member.to_bytes() for member in alone]
    expected = np.mean([member.predict_proba(table) for member in alone], axis=0)
    assert (ensembles.predict_proba(members, table) == expected).all()


@pytest.mark.parametrize("threads_per_worker", [1, 2])
def test_workers_use_no_more_threads_than_dask_gives_them(threads_per_worker: int) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=threads_per_worker, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        # Dask sets OMP_NUM_THREADS=1: each task is to use one thread.
        assert client.submit(cases_of_scale.threads).result() == (1, 0)
