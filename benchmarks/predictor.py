#!/usr/bin/env python3
"""What a deployed model costs: loading its file, one row as an array and as a list, and a million beside
scikit-learn's MLPClassifier.

    ./benchmarks/predictor.py

16 numbers, three hidden layers of 256, 26 classes, f32; medians.
"""

from __future__ import annotations

import tempfile
import time
import timeit
import warnings
from pathlib import Path

import numpy as np
import tinyrs
from sklearn.neural_network import MLPClassifier
from tinyrs.bench.runner import rest

ROWS, ROUNDS = 1_000_000, 7


def main() -> None:
    # One epoch converges to nothing.
    warnings.filterwarnings("ignore", module="sklearn")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 16)), rng.integers(0, 26, 2000)
    predictor = tinyrs.TinyClassifier(max_iter=1, precision="f32", random_state=0).fit(X, y).predictor()
    mlp = MLPClassifier((256, 256, 256), max_iter=1, random_state=0).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        predictor.save(path)
        loads = np.array(timeit.repeat(lambda: tinyrs.load(path), number=20, repeat=7)) / 20
    row = X[0].tolist()
    array, one = (
        np.median(timeit.repeat(ask, number=20_000, repeat=7)) / 20_000 * 1e6
        for ask in (lambda: predictor.predict_proba(X[0]), lambda: predictor.predict_one(row))
    )
    print(
        f"load {np.median(loads) * 1e3:.2f} ms, one row {array:.1f} us, as a list, to its label {one:.1f} us"
    )
    many = rng.normal(size=(ROWS, 16))
    seconds: dict[str, list[float]] = {"tinyrs": [], "MLPClassifier": []}
    for _ in range(ROUNDS):
        for name, model in (("tinyrs", predictor), ("MLPClassifier", mlp)):
            rest()
            start = time.perf_counter()
            model.predict_proba(many)
            seconds[name].append(time.perf_counter() - start)
    ours, theirs = (float(np.median(seconds[name])) for name in seconds)
    print(
        f"{ROWS:,} rows: tinyrs {ours:.2f} s, MLPClassifier {theirs:.2f} s, {theirs / ours:.1f} times as long"
    )


if __name__ == "__main__":
    main()
