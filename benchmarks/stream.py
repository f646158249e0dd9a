#!/usr/bin/env python3
"""Times the scoring of a large Parquet file to another one, beside what the cores could do at best.

    ./benchmarks/stream.py --rows 100_000_000

The rows have 16 numbers in f32. The limit is the number of cores times the speed of `predict_proba` with one
thread. Each way is a new process: `predict_batches` of a dataset of pyarrow, of batches of Polars, and of a
query of DuckDB, which also writes the result. `no_model` reads the same rows and writes as many predictions,
but computes none: no way needs less besides the model. Prints rows per second, the share of the limit, the
processor time, and the peak memory. Needs the extra `cli`, Polars and DuckDB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tinyrs
from pyarrow import dataset, parquet
from tinyrs.tabular.batches import BatchSource

COLUMNS = 16
ROW_GROUP = 1 << 19
BLOCK = 1 << 16
NAMES = [f"x{i}" for i in range(COLUMNS)]


def numbers(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Random numbers (rows, COLUMNS)."""
    return np.random.default_rng(seed).normal(size=(rows, COLUMNS)).astype(np.float32)


def write_rows(path: Path, rows: int) -> None:
    """Writes a Parquet file of random numbers."""
    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    with parquet.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for done in range(0, rows, ROW_GROUP):
            X = numbers(min(ROW_GROUP, rows - done), done)
            writer.write_table(pa.table(list(X.T.copy()), schema=schema), row_group_size=ROW_GROUP)


def train(path: Path, hidden: tuple[int, ...]) -> None:
    """Saves a model of the right size, trained for one epoch."""
    X = numbers(20_000, 1)
    y = np.floor(10 / (1 + np.exp(X[:, 0] + X[:, 1] * X[:, 2]))).astype(int)
    clf = tinyrs.TinyClassifier(hidden, max_iter=1, random_state=0)
    clf.fit(pa.table(list(X.T), names=NAMES), y).save(path)


def one_thread_speed(predictor: tinyrs.Predictor, rounds: int = 9) -> float:
    """Rows per second of `predict_proba` with one thread, the median of `rounds`."""
    X = numbers(BLOCK, 2)
    predictor.predict_proba(X, n_threads=1)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        predictor.predict_proba(X, n_threads=1)
        seconds.append(time.perf_counter() - start)
    return len(X) / statistics.median(seconds)


def write_stream(stream: pa.RecordBatchReader, target: str) -> None:
    """Writes record batches to a Parquet file."""
    with parquet.ParquetWriter(target, stream.schema, use_dictionary=["label"]) as writer:
        for batch in stream:
            writer.write_batch(batch, row_group_size=ROW_GROUP)


def score_dataset(predictor: tinyrs.Predictor, source: str, target: str) -> None:
    write_stream(predictor.predict_batches(dataset.dataset(source)), target)


def score_polars(predictor: tinyrs.Predictor, source: str, target: str) -> None:
    import polars as pl

    batches = pl.scan_parquet(source).collect_batches(chunk_size=BLOCK, maintain_order=True)
    write_stream(predictor.predict_batches(batches), target)


def score_duckdb(predictor: tinyrs.Predictor, source: str, target: str) -> None:
    import duckdb

    # A connection answers one query at a time.
    with duckdb.connect() as reader, duckdb.connect() as writer:
        rows = reader.read_parquet(source).to_arrow_reader(BLOCK)
        writer.from_arrow(predictor.predict_batches(rows)).write_parquet(target)


def score_nothing(predictor: tinyrs.Predictor, source: str, target: str) -> None:
    """Writes the predictions of one block again and again, for all rows that are read."""
    predicted = next(iter(predictor.predict_batches(pa.table(list(numbers(BLOCK, 3).T), names=NAMES))))
    rows = BatchSource(dataset.dataset(source), NAMES, (), BLOCK, "ignore")
    batches = (predicted.slice(0, len(batch)) for batch in rows.batches())
    write_stream(pa.RecordBatchReader.from_batches(predicted.schema, batches), target)


WAYS: dict[str, Callable[[tinyrs.Predictor, str, str], None]] = {
    "no_model": score_nothing,
    "predict_batches": score_dataset,
    "polars": score_polars,
    "duckdb": score_duckdb,
}


def run_one(way: str, folder: Path) -> None:
    """Scores the file in `folder`, and prints the seconds as JSON; runs in a process of its own."""
    predictor = tinyrs.load(folder / "model")
    assert isinstance(predictor, tinyrs.Predictor)
    start = time.perf_counter()
    WAYS[way](predictor, str(folder / "rows.parquet"), str(folder / "scored.parquet"))
    print(json.dumps({"seconds": time.perf_counter() - start}))


def measure(way: str, folder: Path) -> tuple[float, float, float]:
    """The seconds of one way, and the processor seconds and the peak memory in MB of its process."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{way} failed")
    found: dict[str, Any] = json.loads(output)
    return float(found["seconds"]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the file (default: %(default)s)")
    widths = tinyrs.TinyClassifier().hidden_layer_sizes
    parser.add_argument("--hidden", nargs="+", type=int, default=widths, help="widths of the hidden layers")
    parser.add_argument("--way", choices=WAYS, nargs="+", default=list(WAYS), help="ways to measure")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.folder:
        run_one(flags.way[0], flags.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder / "model", tuple(flags.hidden))
        write_rows(folder / "rows.parquet", flags.rows)
        predictor = tinyrs.load(folder / "model")
        assert isinstance(predictor, tinyrs.Predictor)
        cores = tinyrs.get_num_threads()
        for way in flags.way:
            # Before and after each way: the speed of a shared machine changes.
            before = one_thread_speed(predictor)
            seconds, processor, memory = measure(way, folder)
            limit = cores * (before + one_thread_speed(predictor)) / 2
            speed = flags.rows / seconds
            of = f"{cores} x {limit / cores / 1e6:.3f} M rows/s"
            print(
                f"{way:16} {seconds:8.2f} s  {speed / 1e6:6.3f} M rows/s  {speed / limit:6.1%} of {of}  "
                f"{processor:8.2f} s of processors  {memory:6.0f} MB",
                flush=True,
            )
            scored = parquet.ParquetFile(folder / "scored.parquet")
            assert scored.metadata.num_rows == flags.rows, scored.metadata


if __name__ == "__main__":
    main()
