#!/usr/bin/env python3
"""Searches hyperparameters with scikit-learn on a Dask cluster: each fit is a task.

./examples/scale/dask_search.py --scheduler tcp://10.0.0.1:8786
"""

from __future__ import annotations

import argparse
from typing import Any

import joblib
from distributed import Client
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from tinyrs import TinyClassifier


def search(X: Any, y: Any, **grid: list[Any]) -> GridSearchCV:
    """The fitted search. The fits run in the workers of joblib's current backend."""
    # No refit after the choice of the epoch: the search only needs the scores.
    model = TinyClassifier(max_iter=20, refit=False, random_state=0)
    return GridSearchCV(model, grid, cv=3).fit(X, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scheduler", help="address of the cluster's scheduler")
    flags = parser.parse_args()
    cluster = {"address": flags.scheduler} if flags.scheduler else {"n_workers": 2, "threads_per_worker": 1}
    with Client(**cluster), joblib.parallel_config("dask"):
        found = search(*load_digits(return_X_y=True), width=[32, 128], learning_rate_init=[0.02, 0.04])
    print(f"accuracy {found.best_score_:.2%} with {found.best_params_}")


if __name__ == "__main__":
    main()
