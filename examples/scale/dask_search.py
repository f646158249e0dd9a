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
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from tinyrs import TinyClassifier


def search(X: Any, y: Any, **grid: list[Any]) -> GridSearchCV:
    """The fitted search. The fits run in the workers of the current client, which may lose one."""
    # No refit after the choice of the epoch: the search only needs the scores.
    model = TinyClassifier(n_ensemble=1, max_iter=20, refit=False, random_state=0)
    # joblib gives an array to one worker, with which it is lost, but sends a list with each fit.
    folds = [(train.tolist(), test.tolist()) for train, test in StratifiedKFold(3).split(X, y)]
    with joblib.parallel_config("dask", scatter=[X, y]):  # a copy for each worker
        return GridSearchCV(model, grid, cv=folds).fit(X, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scheduler", help="address of the cluster's scheduler")
    flags = parser.parse_args()
    cluster = {"address": flags.scheduler} if flags.scheduler else {"n_workers": 2, "threads_per_worker": 1}
    with Client(**cluster):
        found = search(*load_digits(return_X_y=True), width=[32, 128], learning_rate_init=[0.02, 0.04])
    print(f"accuracy {found.best_score_:.2%} with {found.best_params_}")


if __name__ == "__main__":
    main()
