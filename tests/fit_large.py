"""Trains on a Parquet file of many rows under a limit of the address space, which loading it would break.

    python tests/fit_large.py --rows 20_000_000

Prints the peak memory, the error on fresh rows, and that of a model trained in memory on some of the rows;
then the mean errors of five seeds for a small file that is sorted by class, in a megabyte and in memory.
Fails if an error is higher by more than 0.002 than that in memory. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from tinyrs import TinyClassifier

COLUMNS, ROW_GROUP = 8, 1 << 18
LIMIT = 2_000_000_000
TOLERANCE = 0.002


def rows(n: int, seed: int) -> pa.Table:
    """Random rows with the label "y", which their numbers and their category determine up to noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, COLUMNS)).astype(np.float32)
    colour = rng.integers(0, 3, n)
    score = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + colour + 0.3 * rng.normal(size=n)
    columns = {f"x{i}": X[:, i] for i in range(COLUMNS)}
    columns["colour"] = pa.DictionaryArray.from_arrays(pa.array(colour), ["red", "green", "blue"])
    return pa.table({**columns, "y": np.searchsorted([0.0, 1.0, 2.0], score)})


def write(path: Path, n: int) -> None:
    """Writes `n` rows to a Parquet file."""
    with parquet.ParquetWriter(path, rows(1, 0).schema) as writer:
        for seed, start in enumerate(range(0, n, ROW_GROUP)):
            writer.write_table(rows(min(ROW_GROUP, n - start), seed))


def error(clf: TinyClassifier) -> float:
    """The share of wrong labels among fresh rows."""
    test = rows(200_000, 1_000_000)
    return float(1 - clf.score(test.drop_columns("y"), np.asarray(test["y"])))


def fit(path: str, max_memory: int) -> None:
    """Fits in this process, whose address space is limited, and prints the error."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    clf = TinyClassifier((32, 32), random_state=0, verbose=1).fit(path, "y", max_memory=max_memory)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"peak memory {peak:,.0f} MB", file=sys.stderr)
    print(error(clf))


def sorted_rows(folder: Path) -> tuple[float, float]:
    """The mean errors on fresh rows after training on sorted rows in memory, and in a megabyte."""
    path = folder / "sorted.parquet"
    parquet.write_table(rows(50_000, 0).sort_by("y"), path, row_group_size=1000)
    errors = [
        [
            error(TinyClassifier((64, 32), max_iter=10, random_state=seed).fit(path, "y", max_memory=limit))
            for limit in (LIMIT, 1_000_000)
        ]
        for seed in range(5)
    ]
    in_memory, streamed = np.mean(errors, axis=0).tolist()
    return in_memory, streamed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000_000, help="rows (default: %(default)s)")
    parser.add_argument("--max-memory", type=int, default=500_000_000, help="bytes (default: %(default)s)")
    parser.add_argument("--in-memory", type=int, default=1_000_000, help="rows to compare with")
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.fit:
        fit(flags.fit, flags.max_memory)
        return
    # pyarrow's default allocator reserves a gigabyte of address space in advance.
    env = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.parquet"
        write(path, flags.rows)
        start = time.perf_counter()
        command = [sys.executable, __file__, "--fit", str(path), "--max-memory", str(flags.max_memory)]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
        streamed = float(done.stdout)
        print(f"streamed: error {streamed:.4f}, {time.perf_counter() - start:.0f} s")
        in_memory_sorted, streamed_sorted = sorted_rows(Path(name))
    print(f"50,000 sorted rows: error {streamed_sorted:.4f}, in memory {in_memory_sorted:.4f}")
    assert streamed_sorted <= in_memory_sorted + TOLERANCE
    compared = rows(flags.in_memory, 0)
    clf = TinyClassifier((32, 32), random_state=0).fit(compared.drop_columns("y"), np.asarray(compared["y"]))
    print(f"in memory, {flags.in_memory:,} rows: error {error(clf):.4f}")
    assert streamed <= error(clf) + TOLERANCE


if __name__ == "__main__":
    main()
