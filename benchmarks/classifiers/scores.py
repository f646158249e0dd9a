"""What is measured of a model on one fold, and the file that keeps it."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from tinyrs import Predictor
from tinyrs.bench import latency

from classifiers.data_sets import DataSet

# The rows whose predictions one by one are timed.
TIMED_ROWS = 256
Probabilities = npt.NDArray[np.float64]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """The result of one model on one fold.

    Attributes
    ----------
    auc, average_precision : float
        The mean over the classes, each against the others; of two classes, those of the rarer one.
    ece : float
        Expected calibration error, 15 bins.
    test_rows, changed_labels : int or None
        The rows of the test, and those with another label than in full precision. None for models that are
        not quantized, and in files of before 2026-11-27.
    parameters, one_row_us : int and float, or None
        Of a model with a `predictor_`: the parameters of its network, and the median time of `predict_one`
        in microseconds.
    """

    set: str
    imbalanced: bool
    fold: int
    model: str
    error: float
    log_loss: float
    auc: float
    average_precision: float
    ece: float
    fit_seconds: float
    predict_seconds: float
    test_rows: int | None = None
    changed_labels: int | None = None
    parameters: int | None = None
    one_row_us: float | None = None


def measure(
    name: str,
    data: DataSet,
    fold: int,
    label: str,
    model: Any,
    clock: Clock = time.perf_counter,
) -> Row:
    """Fits a clone of `model` on the training rows of a fold and scores it on the test rows.

    `clock` returns seconds.
    """
    train, test = list(data.folds())[fold]
    model = clone(model)
    start = clock()
    model.fit(data.X.iloc[train], data.y[train])
    fitted = clock()
    p = np.asarray(model.predict_proba(data.X.iloc[test]), dtype=np.float64)
    predicted = clock()
    p /= p.sum(axis=1, keepdims=True)
    y, classes = data.y[test], np.asarray(model.classes_)
    labels = classes[p.argmax(axis=1)]
    right = labels == y
    full_precision = getattr(model, "full_precision_", None)
    predictor = getattr(model, "predictor_", None)
    auc, precision = _ranking(y, p, classes)
    return Row(
        set=name,
        imbalanced=data.imbalanced,
        fold=fold,
        model=label,
        error=float(1 - right.mean()),
        log_loss=float(log_loss(y, p, labels=classes)),
        auc=auc,
        average_precision=precision,
        ece=calibration_error(p, right),
        fit_seconds=fitted - start,
        predict_seconds=predicted - fitted,
        test_rows=None if full_precision is None else len(test),
        changed_labels=None
        if full_precision is None
        else int((labels != full_precision.predict(data.X.iloc[test])).sum()),
        parameters=None if predictor is None else predictor.network.n_parameters,
        one_row_us=None if predictor is None else _one_row_us(predictor, data.X.iloc[test]),
    )


def _one_row_us(predictor: Predictor, X: pd.DataFrame) -> float:
    """The median time of `predict_one` with rows of X as lists, in microseconds."""
    rows = X.iloc[:TIMED_ROWS].astype(object).to_numpy().tolist()
    return latency.measure(predictor.predict_one, rows, seconds=0.2).p50_us


def _ranking(y: npt.NDArray[Any], p: Probabilities, classes: npt.NDArray[Any]) -> tuple[float, float]:
    """The area under the ROC curve and the average precision; NaN for one class of two."""
    counts = np.array([(y == label).sum() for label in classes])
    if len(classes) == 2 and not counts.all():
        return math.nan, math.nan
    chosen = [int(counts.argmin())] if len(classes) == 2 else np.flatnonzero(counts).tolist()
    pairs = [(y == classes[k], p[:, k]) for k in chosen]
    return (
        float(np.mean([roc_auc_score(*pair) for pair in pairs])),
        float(np.mean([average_precision_score(*pair) for pair in pairs])),
    )


def calibration_error(p: Probabilities, right: npt.NDArray[np.bool_], bins: int = 15) -> float:
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


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of `append_row`.

    Raises
    ------
    ValueError
        If it has other columns, as the file of another version may.
    """
    parse: dict[str, Any] = {
        "str": str,
        "int": int,
        "float": float,
        "bool": "True".__eq__,
        "int | None": lambda text: int(text) if text else None,
        "float | None": lambda text: float(text) if text else None,
    }
    with path.open(newline="") as file:
        lines = csv.DictReader(file)
        expected, got = [column.name for column in fields(Row)], list(lines.fieldnames or ())
        if got != expected:
            raise ValueError(f"{path}: expected the columns {', '.join(expected)}, got {', '.join(got)}")
        return [Row(**{c.name: parse[str(c.type)](line[c.name]) for c in fields(Row)}) for line in lines]


def append_row(path: Path, row: Row) -> None:
    """Adds a line to a CSV file, which starts with the names of the columns."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [column.name for column in fields(Row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def done(rows: Iterable[Row]) -> set[tuple[str, int, str]]:
    """What `rows` have results of: set, fold and model."""
    return {(row.set, row.fold, row.model) for row in rows}
