"""What the tests of `make scale` share: a model, rows to score, and functions that end their process."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tinyrs
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


class KillOnce:
    """A Scorer that kills its process when it first sees the row in the middle.

    The file that remembers it stands beside the model."""

    def __init__(self, model: str, **options: Any) -> None:
        self.scorer, self.killed = Scorer(model, **options), Path(f"{model}.killed")

    def __call__(self, table: Any) -> Any:
        ids = table["id"]
        if ROWS // 2 in (ids.to_pylist() if hasattr(ids, "to_pylist") else list(ids)):
            kill_once(self.killed)
        return self.scorer(table)

    def predict_batches(self, reader: pa.RecordBatchReader, columns: Sequence[str] | None) -> Any:
        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                self(batch)
                yield batch

        killing = pa.RecordBatchReader.from_batches(reader.schema, batches())
        return self.scorer.predictor.predict_batches(killing, columns=columns)


def kill_once(remembered: Path) -> None:
    """Kills this process, unless the file `remembered` exists, which this makes."""
    try:
        remembered.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def threads() -> tuple[int, int]:
    """How many threads tinyrs may use in this process, and how many it has started so far."""
    model = tinyrs.Network([256, 512, 512, 4], seed=0)
    for _ in range(3):
        model.forward(np.zeros((2000, 256), np.float32))
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return tinyrs.get_num_threads(), sum(name.startswith("tinyrs-") for name in names)


class KillingTrainer:
    """`train` of `dask_ensemble`, which kills its process once."""

    def __init__(self, killed: Path) -> None:
        self.killed = killed

    def __call__(self, rows: Any, target: str, seed: int) -> Any:
        kill_once(self.killed)
        return example("dask_ensemble").train(rows, target, seed)
