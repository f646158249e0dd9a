"""Teachers: the probabilities of a classifier of any library, and the training of the default one."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from tinyrs.budget.store import Store
from tinyrs.classifier import TinyClassifier
from tinyrs.classifier.data import Floats
from tinyrs.tabular.sources import read_frame
from tinyrs.tabular.type_checks import is_frame


class Teacher(Protocol):
    """A fitted classifier, such as a TinyClassifier, or one of LightGBM, CatBoost or scikit-learn."""

    classes_: npt.NDArray[Any]

    def predict_proba(self, X: Any) -> npt.NDArray[Any]: ...


def take(X: Any, rows: npt.NDArray[np.intp]) -> Any:
    """Rows of a data frame or an array: `rows` is (rows,), or the row of each cell (rows, columns)."""
    if not is_frame(X):
        return X[rows] if rows.ndim == 1 else X[rows, np.arange(X.shape[1])]
    frame = read_frame(X)
    if rows.ndim == 1:
        return frame[rows].to_native()
    import narwhals.stable.v1 as nw

    columns = {name: frame[name][rows[:, i]].to_native() for i, name in enumerate(frame.columns)}
    if frame.implementation.is_pandas_like():
        columns = {name: column.reset_index(drop=True) for name, column in columns.items()}
    return nw.from_dict(columns, backend=frame.implementation).to_native()


def teacher_probabilities(teacher: Teacher, X: Any, classes: npt.NDArray[Any]) -> Floats:
    """What the teacher predicts for X, (rows, classes), in the order of `classes`.

    Raises
    ------
    ValueError
        If the teacher has other classes, or does not predict finite probabilities of this shape.
    """
    known = np.asarray(teacher.classes_)
    if sorted(known.tolist()) != classes.tolist():
        raise ValueError(f"teacher: expected the classes of y, {classes.tolist()}, got {known.tolist()}")
    p = np.asarray(teacher.predict_proba(X), dtype=np.float64)
    if p.shape != (len(X), len(classes)) or not np.isfinite(p).all():
        expected = f"finite probabilities of shape {(len(X), len(classes))}"
        raise ValueError(f"teacher: expected {expected} from predict_proba, got shape {p.shape}")
    return p[:, np.argsort(known)]


def unfitted(teacher: Teacher | None) -> TinyClassifier | None:
    """The classifier to train as a teacher; None if `teacher` is fitted."""
    if teacher is None:
        return TinyClassifier()
    return teacher if isinstance(teacher, TinyClassifier) and not hasattr(teacher, "network_") else None


def train_teacher(
    template: TinyClassifier,
    X: Any,
    labels: npt.NDArray[Any],
    seconds: float,
    seed: int,
    n_threads: int | None,
    store: Store,
) -> Teacher:
    """A classifier like `template`, trained for about `seconds`."""
    teacher = clone(template)
    trained_from = X, labels, seed, teacher.get_params()
    limit = seconds if math.isfinite(seconds) else None
    teacher.set_params(max_time=limit, n_threads=n_threads, random_state=seed)
    trained: Teacher | None = store.get(
        "teacher", trained_from, lambda: teacher.fit(X, labels), TinyClassifier.load
    )
    assert trained is not None
    return trained
