"""A table and a model for the tests of `predict_frame` and `predict_batches`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tinyrs import Predictor, TinyClassifier

ROWS = 1000


def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Columns of several types, of which "id" is not for the model."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(rows),
            "a": rng.normal(size=rows).astype(np.float32),
            "b": rng.integers(0, 9, rows),
            "c": rng.choice(["x", "y"], rows),
            "d": pa.array([None if i % 7 == 0 else i % 2 == 0 for i in range(rows)]),
        }
    )


def trained() -> Predictor:
    """A model of the columns "a" to "d"."""
    X = table()
    y = np.where(np.asarray(X["a"]) > 0, "yes", "no")
    clf = TinyClassifier((8,), max_iter=2, random_state=0).fit(X.drop_columns("id"), y)
    predictor: Predictor = clf.predictor()
    return predictor


def probabilities(predicted: pa.Table) -> npt.NDArray[np.float64]:
    return np.column_stack([predicted["probability_no"], predicted["probability_yes"]])
