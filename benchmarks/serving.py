#!/usr/bin/env python3
"""Compares trained classifiers by error, latency of one row, rows a second, and dollars per million rows.

    ./benchmarks/serving.py --price c7i.large            # trains and measures: five minutes; prints Markdown
    ./benchmarks/serving.py --price c7i.large --quick    # checks that it works: a second for each measurement

All are trained on the same rows of one table with the defaults of their makers, and measured on the others.
Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from classifiers.data_sets import DATA_SETS
from peers import serving as peers
from sklearn.model_selection import train_test_split
from tinyrs.bench import cli, environment, prices, report
from tinyrs.bench.config import Cost
from tinyrs.bench.serving import run, settings, text
from tinyrs.bench.serving.models import Subject
from tinyrs.bench.serving.outcomes import Result, Served
from tinyrs.bench.serving.rows import Rows
from tinyrs.bench.serving.settings import Settings


def arguments() -> argparse.Namespace:
    parser = cli.Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data",
        choices=list(DATA_SETS),
        default="penbased",
        help="a table of numbers (default: %(default)s)",
    )
    parser.add_argument("--price", type=cli.flag(prices.parse), required=True, help="as in tinyrs bench")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a measurement")
    parser.add_argument("--quick", action="store_true", help="one second for each measurement")
    return parser.parse_args()


def subjects(name: str, folder: Path) -> tuple[list[Subject], str]:
    """The trained classifiers, and what they were trained on."""
    table = DATA_SETS[name]()
    X = table.X.to_numpy(dtype=np.float64)
    classes, y = np.unique(table.y, return_inverse=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    rows_path = folder / "rows.json"
    Rows(X_test.tolist(), y_test.tolist()).write(rows_path)
    found, trained = list[Subject](), dict[str, tuple[Any, float]]()
    for library in peers.LIBRARIES:
        try:
            original = peers.EXPORTED.get(library)
            if original is None:
                subject, model = peers.train(library, X_train, y_train, folder, rows_path)
                trained[library] = model, subject.training_s or 0.0
            else:
                model, seconds = trained[original]
                save = peers.LIBRARIES[library].save
                subject = peers.stored(library, save, model, folder, rows_path, seconds)
        except (ImportError, KeyError) as error:
            print(f"{library}: not installed: {error}", file=sys.stderr)
            continue
        found.append(subject)
    about = f"{name}: {X.shape[1]} columns, {len(classes)} classes, {len(X_train):,} rows"
    return found, f"{about} to train on, {len(X_test):,} to measure"


def cells(result: Result, cost: Cost) -> list[str]:
    """The row of a classifier."""
    single, offline = (
        next(row for row in result.rows(cost) if row["scenario"] == name)
        for name in (settings.SINGLE, settings.OFFLINE)
    )
    verdicts = {single["verdict"], offline["verdict"]}
    return [
        result.model,
        f"{single['error']:.4f}",
        report.duration(single["median_us"] / 1e3),
        report.duration(single["p99_us"] / 1e3),
        f"{offline['rows_per_s']:,.0f}",
        report.money(offline["per_million"]),
        report.money(single["per_million"]),
        f"{result.training_s or 0:.1f}",
        report.money(single["training_cost"]),
        report.megabytes(result.size or 0),
        "VALID" if verdicts == {"VALID"} else "INVALID",
    ]


def main() -> int:
    flags = arguments()
    cost = Cost(flags.price)
    seconds = 1.0 if flags.quick else flags.seconds
    chosen = Settings((settings.OFFLINE, settings.SINGLE), seconds)
    about = environment.describe(Path(__file__).resolve().parent.parent)
    served = Served(chosen, about, cost=cost)
    with tempfile.TemporaryDirectory() as folder:
        models, served.rows_origin = subjects(flags.data, Path(folder))
        run.run(models, served, lambda *found: print(text.progress(*found), file=sys.stderr, flush=True))
    currency = f"{cost.price.currency}, {text.dated(cost)}"
    header = ["", "error", "median of one row", "p99 of one row", "rows / s, offline"]
    header += [f"{currency}: a million rows offline", "a million rows one by one", "training, s", "training"]
    table = [[*header, "size", ""], *(cells(result, cost) for result in served.results)]
    print(text.markdown(table))
    print(f"\n{served.rows_origin}. {about['cpu']}, {about['usable_cores']} cores, commit {about['commit']}.")
    print(report.price(cost))
    for failure in served.failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if served.failures else 0


if __name__ == "__main__":
    sys.exit(cli.run_tool("serving.py", main))
