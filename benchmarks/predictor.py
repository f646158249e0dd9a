#!/usr/bin/env python3
"""Times a deployed model: loading its file, predicting one row, and predicting a million rows.

    ./benchmarks/predictor.py

The model has 16 numeric features, three hidden layers of 256 and 26 classes, in f32. The million rows are
also predicted by scikit-learn's MLPClassifier of the same sizes. All times are medians.
"""

from __future__ import annotations

import tempfile
import timeit
import warnings
from pathlib import Path

import numpy as np
import tinyrs
from sklearn.neural_network import MLPClassifier
from tinyrs.bench.harness import Clock, Percentiles, time_calls, wait_until_idle

ROWS, ROUNDS = 1_000_000, 7
HIDDEN = (256, 256, 256)


def main() -> None:
    # scikit-learn warns that training for one epoch does not converge.
    warnings.filterwarnings("ignore", module="sklearn")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 16)), rng.integers(0, 26, 2000)
    classifier = tinyrs.TinyClassifier(HIDDEN, n_ensemble=1, max_iter=1, precision="f32", random_state=0)
    predictor = classifier.fit(X, y).predictor()
    mlp = MLPClassifier(HIDDEN, max_iter=1, random_state=0).fit(X, y)
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
    clock, models = Clock(), {"tinyrs": predictor, "MLPClassifier": mlp}
    times_ns: dict[str, list[int]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            wait_until_idle(clock)
            times_ns[name] += time_calls(model.predict_proba, [many], clock)
    ours, theirs = (Percentiles.of(times).median_ms / 1e3 for times in times_ns.values())
    print(
        f"{ROWS:,} rows: tinyrs {ours:.2f} s, MLPClassifier {theirs:.2f} s, {theirs / ours:.1f} times as long"
    )


if __name__ == "__main__":
    main()
