"""What the tests of `make scale` share: a model, rows to score, and work that is watched and killed."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tinyrs
from sklearn.base import clone
from tinyrs.scale import Scorer

ROWS, FILES = 20_000, 8
COLUMNS = ["id", "colour"]


def example(name: str) -> Any:
    """The module `examples/scale/NAME.py`. PYTHONPATH holds its folder, for the workers."""
    return importlib.import_module(name)


def make_rows(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Rows with an id, two numbers, some missing, a category, and the class `kind`."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    length = kind * 1.5 + rng.normal(size=rows)
    return pa.table(
        {
            "id": np.arange(rows),
            "length": pa.array(length, mask=rng.random(rows) < 0.1),
            "width": rng.normal(size=rows).astype(np.float32),
            "colour": np.array(["red", "blue", "white"])[(kind + (rng.random(rows) < 0.2)) % 3],
            "kind": np.array(["a", "b", "c"])[kind],
        }
    )


class Case(NamedTuple):
    """What to score, and the result of one process."""

    model: str
    """The file of a model."""
    source: str
    """A folder of Parquet files."""
    expected: pa.Table


def make_case(folder: Path) -> Case:
    rows = make_rows()
    training = make_rows(600, seed=1)
    model = tinyrs.TinyClassifier(hidden_layer_sizes=(32, 32), max_iter=20, random_state=0)
    model.fit(training.drop_columns(["id", "kind"]), training["kind"].to_numpy()).predictor().save(
        folder / "model"
    )
    source = folder / "rows"
    source.mkdir()
    for i in range(FILES):
        part = rows.slice(i * ROWS // FILES, ROWS // FILES)
        pq.write_table(part, source / f"{i:02}.parquet", row_group_size=1000)
    return Case(str(folder / "model"), str(source), Scorer(folder / "model", columns=COLUMNS)(rows))


def check_equal(target: str, expected: pa.Table) -> None:
    """Whether the scored rows in `target` are `expected`, bit by bit, in any order."""
    got = pq.read_table(target).select(expected.column_names).sort_by("id")
    assert got.to_pydict() == expected.to_pydict()


@dataclass(frozen=True)
class Watch:
    """Watches work that several processes share, through a file to which each of them appends lines.

    Attributes
    ----------
    file : Path
    processes : int
        The number of processes that have to start before one of them goes on.
    kill_after : int or None
        The amount of finished work at which a process, once, kills itself.
    """

    file: Path
    processes: int = 2
    kill_after: int | None = None

    def started(self) -> None:
        """Call before a piece of work. TimeoutError if the other processes have none within a minute."""
        self._write("started")
        end = time.monotonic() + 60
        while len({pid for pid, _, _ in self.lines()}) < self.processes:
            if time.monotonic() > end:
                raise TimeoutError(f"expected work in {self.processes} processes, got {self.lines()}")
            time.sleep(0.01)

    def finished(self, amount: int = 1) -> None:
        """Call after a piece of work of this amount, before its result is returned."""
        self._write("finished", amount)
        lines = self.lines()
        if self.kill_after is not None and sum(amount for _, _, amount in lines) >= self.kill_after:
            try:
                self.file.with_suffix(".killed").touch(exist_ok=False)
            except FileExistsError:
                return
            self._write("killed")
            os.kill(os.getpid(), signal.SIGKILL)

    def lines(self) -> list[tuple[int, str, int]]:
        """The process, the event and the amount of each line."""
        words = [line.split() for line in self.file.read_text().splitlines()]
        return [(int(pid), event, int(amount)) for pid, event, amount in words]

    def check(self) -> None:
        """Whether enough processes finished work, and one was killed with work before and after it."""
        lines = self.lines()
        events = [event for _, event, _ in lines]
        assert len({pid for pid, event, _ in lines if event == "finished"}) >= self.processes, lines
        assert events.count("killed") == (self.kill_after is not None), lines
        if self.kill_after is not None:
            at = events.index("killed")
            killed = lines[at][0]
            assert events[:at].count("finished") > 1, lines
            assert {pid for pid, event, _ in lines[at:] if event == "finished"} - {killed}, lines

    def _write(self, event: str, amount: int = 0) -> None:
        with self.file.open("a") as file:
            file.write(f"{os.getpid()} {event} {amount}\n")


class WatchedScorer:
    """A Scorer whose calls are watched, in a file beside the model. With `kill`, half of the rows kill."""

    def __init__(self, model: str, *, processes: int = 2, kill: bool = False, **options: Any) -> None:
        self.scorer = Scorer(model, **options)
        self.watch = Watch(Path(f"{model}.watch"), processes, ROWS // 2 if kill else None)

    def __call__(self, table: Any) -> Any:
        if not len(table):  # only the columns are asked for
            return self.scorer(table)
        self.watch.started()
        scored = self.scorer(table)
        self.watch.finished(len(table))
        return scored

    def predict_batches(self, rows: Any, columns: Sequence[str] | None) -> Any:
        reader = pa.RecordBatchReader.from_stream(rows)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                self(batch)
                yield batch

        watched = pa.RecordBatchReader.from_batches(reader.schema, batches())
        return self.scorer.predictor.predict_batches(watched, columns=columns)


@dataclass(frozen=True)
class WatchedTrainer:
    """`train` of `dask_ensemble`, whose calls are watched."""

    watch: Watch

    def __call__(self, rows: Any, target: str, seed: int) -> Any:
        self.watch.started()
        member = example("dask_ensemble").train(rows, target, seed)
        self.watch.finished()
        return member


@dataclass(frozen=True)
class WatchedEpochs:
    """A callback of `TinyClassifier.fit`, whose epochs are watched."""

    watch: Watch

    def __call__(self, record: Any) -> None:
        self.watch.started()
        self.watch.finished()


def threads() -> tuple[int, int]:
    """How many threads tinyrs may use in this process, and how many it has started so far."""
    model = tinyrs.Network([256, 512, 512, 4], seed=0)
    for _ in range(3):
        model.forward(np.zeros((2000, 256), np.float32))
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return tinyrs.get_num_threads(), sum(name.startswith("tinyrs-") for name in names)


def check_search(search: Callable[..., Any], data: Any, watch: Watch) -> None:
    """Whether the workers of an engine run a search, and find what this process finds."""
    found = search(*data, width=[8, 32], callbacks=[[WatchedEpochs(watch)]])
    watch.check()
    alone = clone(found).fit(*data)
    for name, scores in alone.cv_results_.items():
        if "test_score" in name:
            assert scores.tolist() == found.cv_results_[name].tolist()


def watched_trial(watch: Watch, config: dict[str, Any], X: Any, y: Any) -> None:
    """`trial` of `ray_search`, whose epochs are watched."""
    searches = example("ray_search")
    report = searches.report

    def watched_report(record: Any) -> None:
        WatchedEpochs(watch)(record)
        report(record)

    searches.report = watched_report
    searches.trial(config, X, y)
