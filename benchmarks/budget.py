#!/usr/bin/env python3
"""Compares the default classifier with its int8 students of a tenth of the parameters.

    ./benchmarks/budget.py --csv b.csv                   # the first fold of every set; continues b.csv
    ./benchmarks/budget.py --folds 3 --sets vehicle pima
    ./benchmarks/budget.py --sets penbased               # the latency with 16 numbers and 10 classes

The sets are those of accuracy.py, and so are the tables that it prints. A student is what `fit_to_budget`
finds for the size of a network in int8 with a tenth of the parameters. A last table has parameters and the
median time of `predict_one`.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from classifiers.data_sets import DATA_SETS, N_FOLDS
from classifiers.folds import measure_folds
from classifiers.models import students
from classifiers.report import tables
from classifiers.scores import Row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--folds", type=int, choices=range(1, N_FOLDS + 1), default=1, metavar="N", help="of ten (default: 1)"
    )
    parser.add_argument(
        "--sets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), metavar="SET", help="default: all"
    )
    parser.add_argument(
        "--csv",
        type=Path,
        help="a file of results: those that it has are not measured again, others are added",
    )
    flags = parser.parse_args()
    # The libraries warn about columns that look like row numbers.
    warnings.filterwarnings("ignore")
    rows = measure_folds(students(), flags.sets, flags.folds, flags.csv)
    rows = [row for row in rows if row.set in flags.sets]
    print(f"{tables(rows)}\n\n{costs(rows)}")


def costs(rows: list[Row]) -> str:
    """A Markdown table of the parameters and the latencies of each set: means over its folds."""
    rows = [row for row in rows if row.parameters]
    models = list(dict.fromkeys(row.model for row in rows))
    header = ["set", *(f"parameters, {m}" for m in models), *(f"us of one row, {m}" for m in models)]
    lines = [header, ["---"] * len(header)]
    for name in dict.fromkeys(row.set for row in rows):
        of_set = [[row for row in rows if row.set == name and row.model == m] for m in models]
        parameters = [f"{np.mean([row.parameters or 0 for row in found]):,.0f}" for found in of_set]
        latencies = [f"{np.mean([row.one_row_us or 0 for row in found]):.2f}" for found in of_set]
        lines.append([name, *parameters, *latencies])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
