#!/usr/bin/env python3
"""Searches hyperparameters on a Ray cluster: with scikit-learn, and with Ray Tune, which stops poor trials.

./examples/scale/ray_search.py
"""

from __future__ import annotations

import argparse
from typing import Any

import joblib
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.util.joblib import register_ray
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from tinyrs import TinyClassifier
from tinyrs.history import Record


def search(X: Any, y: Any, **grid: list[Any]) -> GridSearchCV:
    """The fitted search. The fits run in processes of Ray."""
    # No refit after the choice of the epoch: the search only needs the scores.
    model = TinyClassifier(n_ensemble=1, max_iter=20, refit=False, random_state=0)
    register_ray()
    again = {"max_restarts": -1, "max_task_retries": -1}  # if a process is lost
    with joblib.parallel_config("ray", n_jobs=-1, ray_remote_args=again):
        return GridSearchCV(model, grid, cv=3).fit(X, y)


def report(record: Record) -> None:
    """Reports an epoch to Ray Tune, which ends the process of a trial that it stops."""
    tune.report({"score": record["validation_score"], "epoch": record["epoch"]})


def trial(config: dict[str, Any], X: Any, y: Any) -> None:
    model = TinyClassifier(max_iter=32, random_state=0, callbacks=[report], **config)
    model.fit(X, y)


def tune_with_pruning(X: Any, y: Any, trials: int, storage: str | None = None) -> tune.ResultGrid:
    """Random trials, of which half stop after 4 epochs, half of the rest after 8, and so on."""
    space = {"width": tune.randint(4, 128), "learning_rate_init": tune.loguniform(1e-3, 0.3)}
    scheduler = ASHAScheduler("epoch", "score", "max", max_t=32, grace_period=4, reduction_factor=2)
    tuner = tune.Tuner(
        tune.with_parameters(trial, X=X, y=y),
        param_space=space,
        tune_config=tune.TuneConfig(num_samples=trials, scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=storage, failure_config=tune.FailureConfig(max_failures=1)),
    )
    return tuner.fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=16, help="number of trials (default: %(default)s)")
    flags = parser.parse_args()
    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), test_size=1 / 3, random_state=0)
    ray.init()
    found = search(X, y, width=[32, 128], learning_rate_init=[0.02, 0.04])
    print(f"grid: test accuracy {found.score(X_test, y_test):.2%} with {found.best_params_}")
    best = tune_with_pruning(X, y, flags.trials).get_best_result("score", "max", scope="all")
    print(f"Tune: best validation score {best.metrics['score']:.2%} with {best.config}")


if __name__ == "__main__":
    main()
