#!/usr/bin/env python3
"""Tunes the width and the learning rate on handwritten digits with Optuna, which prunes unpromising trials.

./examples/optuna_pruning.py
"""

from __future__ import annotations

import argparse

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tinyrs import TinyClassifier
from tinyrs.history import Record


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20, help="number of trials (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=60, help="epochs per trial (default: %(default)s)")
    flags = parser.parse_args()

    X_train, X_test, y_train, y_test = train_test_split(
        *load_digits(return_X_y=True), test_size=1 / 3, random_state=0
    )

    def objective(trial: optuna.Trial) -> float:
        def prune(record: Record) -> None:
            trial.report(record["validation_score"], record["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        # One network and no final fit on all rows: the search only needs the validation score.
        model = TinyClassifier(
            n_ensemble=1,
            width=trial.suggest_int("width", 4, 256, log=True),
            learning_rate_init=trial.suggest_float("learning_rate_init", 1e-3, 0.3, log=True),
            max_iter=flags.epochs,
            refit=False,
            callbacks=[prune],
            random_state=0,
        ).fit(X_train, y_train)
        assert model.validation_scores_ is not None
        return model.validation_scores_[model.best_iteration_]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=3),
    )
    study.optimize(objective, n_trials=flags.trials)

    pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
    print(f"{pruned} of {flags.trials} trials were pruned; best: {study.best_params}")
    model = TinyClassifier(**study.best_params, max_iter=flags.epochs, random_state=0)
    accuracy = model.fit(X_train, y_train).score(X_test, y_test)
    print(f"test accuracy {accuracy:.2%} on {len(y_test)} digits")


if __name__ == "__main__":
    main()
