"""Rows that are read in parts: their order, their sample, their statistics and their memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streamed_tables import rows, with_column, write_sorted
from tinyrs.classifier.memory_plan import MemoryPlan, RowCost
from tinyrs.classifier.shuffle import ShuffleBuffer
from tinyrs.classifier.streamed_rows import HeldOutRows
from tinyrs.tabular.preprocessor_fit import fit_table
from tinyrs.tabular.row_sample import RowSample, row_hashes
from tinyrs.tabular.row_source import ReadingOrder, RowSource
from tinyrs.tabular.streamed_statistics import FrequentValues, StreamedStatistics
from tinyrs.tabular.tables import ObjectCells, Table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sorted(tmp_path_factory.mktemp("rows"))


def test_a_sample_chooses_the_rows_that_are_held_out() -> None:
    numbers = np.arange(5000)
    order = np.argsort(row_hashes(numbers, 7))
    held_out = HeldOutRows.of(order[:900], np.zeros(900, np.intp), 7, 3)
    members = held_out.members(numbers)
    assert sorted(np.flatnonzero(members >= 0)) == sorted(order[:900])
    assert held_out.n_rows == tuple(np.bincount(members[members >= 0]).tolist())
    assert min(held_out.n_rows) > 250
    assert (HeldOutRows.none(7, 2).members(numbers) == -1).all()


@pytest.mark.parametrize("size", [64, 1000, 5000])
def test_a_shuffle_buffer_gives_each_row_once_and_mixes(size: int) -> None:
    buffer = ShuffleBuffer(size, 32, [np.zeros(1, np.int64)], np.random.default_rng(0))
    given = [
        r for start in range(0, 5000, 90) for r in buffer.add((np.arange(start, min(start + 90, 5000)),))
    ]
    given += list(buffer.rest())
    assert {len(piece) for (piece,) in given[:-1]} == {32}
    order = np.concatenate([piece for (piece,) in given])
    assert sorted(order) == list(range(5000))
    assert np.abs(order - np.arange(5000)).mean() > size / 4
    assert np.abs(order - np.arange(5000)).max() > size / 2


def test_a_sample_does_not_depend_on_the_batches() -> None:
    table = pa.table({"i": np.arange(5000)})
    found = []
    for size in (5000, 37):
        sample = RowSample(200, seed=3)
        for start in range(0, 5000, size):
            part = table.slice(start, size)
            sample.add(part["i"].to_numpy(), part)
        chosen, numbers = sample.rows()
        assert chosen["i"].to_pylist() == numbers.tolist()
        found.append(numbers.tolist())
    assert found[0] == found[1] == np.argsort(row_hashes(np.arange(5000), 3))[:200].tolist()


def test_a_sample_keeps_quantiles_within_its_bound() -> None:
    """It fails with one chance in a million for each seed: the inequality that `RowSample` names."""
    n, size = 100_000, 4000
    bound = np.sqrt(np.log(2 / 1e-6) / (2 * size))
    for seed in range(5):
        sample = RowSample(size, seed)
        sample.add(np.arange(n), pa.table({"i": np.arange(n)}))
        ranks = np.sort(sample.rows()[1]) / n
        assert np.abs(ranks - np.linspace(0, 1, size)).max() < bound + 1 / size


def test_frequent_values_are_kept_within_their_bound() -> None:
    rng = np.random.default_rng(0)
    values = np.minimum(rng.zipf(1.3, 50_000), 10**6).tolist()
    counted, size = FrequentValues(100), 100
    for start in range(0, len(values), 1000):
        counted.add(ObjectCells.of([str(v) for v in values[start : start + 1000]]))
    exact = {str(v): c for v, c in zip(*np.unique(values, return_counts=True), strict=True)}
    names = counted.names("text")
    assert len(names) <= size
    assert all(
        exact[name] - len(values) / (size + 1) <= count <= exact[name] for name, count in names.items()
    )
    assert {n for n, c in exact.items() if c > len(values) / (size + 1)} <= set(names)


def test_statistics_of_a_stream_are_those_of_its_table() -> None:
    table = Table.read(rows(3000).drop_columns("y"))
    found = StreamedStatistics([])
    for start in range(0, 3000, 700):
        found.add(table.rows(np.arange(start, min(start + 700, 3000))))
    assert found.preprocessor(table) == fit_table(table)


def test_the_parts_of_a_dataset_are_shuffled_and_read_in_turns(folder: Path) -> None:
    source = RowSource(folder, "y")

    def starts(order: ReadingOrder | None = None) -> list[int]:
        return [int(batch.numbers[0]) for batch in source.batches(order)]

    assert starts() == list(range(0, 4000, 200))[:13] + list(range(2500, 4000, 200))
    mixed = starts(ReadingOrder(np.random.default_rng(0), 800, 4, 100))
    assert sorted(mixed) == list(range(0, 4000, 100))
    assert all(second == first + 100 for first, second in zip(mixed[:3], mixed[4:7], strict=True))
    sliced = starts(ReadingOrder(np.random.default_rng(0), 800, 4, 100, slices=4))
    assert sorted(sliced) == [
        *range(0, 2400, 50),
        *range(2400, 2500, 25),
        *range(2500, 3900, 50),
        *range(3900, 4000, 25),
    ]
    numbers = [
        n
        for batch in source.batches(ReadingOrder(np.random.default_rng(0), 800, 4, 7, slices=3))
        for n in batch.numbers
    ]
    assert sorted(numbers) == list(range(4000))
    assert source.largest_part() == 200
    assert source.n_rows() == 4000


def test_any_window_of_parts_comes_from_all_over_a_dataset() -> None:
    def order(n: int, window: int) -> Any:
        return ReadingOrder(np.random.default_rng(n), window, 1, 100).of([1000] * n)

    found = order(100, 10_000)
    for start in range(90):
        places = np.sort(found[start : start + 10] // 10)
        assert places.tolist() == list(range(10))
    for start in range(95):
        places = np.sort(found[start : start + 5] // 10)
        assert np.diff(places).max() <= 4
    for n, window in [(103, 10_000), (103, 1), (103, 10**9), (7, 3000), (1, 1), (0, 1)]:
        assert sorted(order(n, window)) == list(range(n))


def test_rows_can_be_left_out_and_prepared(folder: Path) -> None:
    last = np.sort(row_hashes(np.arange(4000), 1))[999]
    numbers = [n for batch in RowSource(folder, "y").without(1, last).batches() for n in batch.numbers]
    assert sorted(numbers) == np.flatnonzero(row_hashes(np.arange(4000), 1) > last).tolist()
    source = RowSource(
        folder, "y", prepare=lambda table, row: with_column(table, "x0", row + np.arange(len(table)))
    )
    assert sorted(x for batch in source.batches() for x in batch.columns["x0"].to_pylist()) == list(
        range(4000)
    )


def test_the_memory_of_rows_is_counted_and_divided(folder: Path) -> None:
    cost = RowCost.of(next(RowSource(folder, "y").batches()), [])
    assert cost.encoded == 8 + 8 + 4 * 5
    assert cost.features == 8 + 8 + 4 * (4 + 4)  # three colours and the missing ones
    assert cost.in_memory > cost.arrow + 2 * cost.encoded
    plan = MemoryPlan.of(10**8, cost, 10_000, 256)
    assert plan.buffer * cost.encoded + plan.parts * 10_000 * cost.arrow < 0.51 * 10**8
    assert plan.batch_rows * plan.parts <= plan.buffer
    assert MemoryPlan.of(10**8, cost, 10**7, 256).parts == 1
