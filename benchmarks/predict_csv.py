#!/usr/bin/env python3
"""Times `tinyrs predict` on a large CSV file, and pyarrow only reading the same file.

    ./benchmarks/predict_csv.py --rows 10_000_000 --hidden 32

Each command is a new process, and its start-up counts. The commands take turns, so that noise of the machine
affects all of them. Prints the median of the seconds and the largest peak memory. Needs the extra `cli`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

CHUNK = 250_000


def write(path: Path, rows: int, labelled: bool) -> None:
    """Writes rows of ten numbers with four decimals; the label can be learned by a small network."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for done in range(0, rows, CHUNK):
            X = rng.normal(size=(min(CHUNK, rows - done), 10)).round(4)
            columns = {f"x{i}": X[:, i] for i in range(10)}
            if labelled:
                columns["y"] = np.where(X[:, 0] + X[:, 1] * X[:, 2] > 0, "yes", "no")
            csv.write_csv(pa.table(columns), file, csv.WriteOptions(include_header=done == 0))


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """The wall time of the command in seconds, and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the file (default: %(default)s)")
    parser.add_argument("--hidden", nargs="+", default=["32"], help="widths of the hidden layers")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each command (default: %(default)s)")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "train.csv", 20_000, labelled=True)
        write(folder / "new.csv", flags.rows, labelled=False)
        train = ["train", "train.csv", "--target", "y", "-o", "m", "--epochs", "5"]
        measure(["-m", "tinyrs", *train, "--ensemble", "1", "--hidden", *flags.hidden], folder)
        commands = {
            "pyarrow.csv.read_csv (all in memory)": [
                "-c",
                "from pyarrow import csv; csv.read_csv('new.csv')",
            ],
            "pyarrow.csv.open_csv (streaming)": [
                "-c",
                "from pyarrow import csv; print(sum(map(len, csv.open_csv('new.csv'))))",
            ],
            "tinyrs predict": ["-m", "tinyrs", "predict", "m", "new.csv", "-o", "out.csv"],
        }
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
        for _ in range(flags.rounds):
            for what, command in commands.items():
                found[what].append(measure(command, folder))
    for what, runs in found.items():
        took, memory = statistics.median(s for s, _ in runs), max(mb for _, mb in runs)
        print(f"{what:38} {took:7.2f} s  {flags.rows / took / 1e6:5.2f} M rows/s  {memory:6.0f} MB")


if __name__ == "__main__":
    main()
