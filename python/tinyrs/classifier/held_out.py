"""What `fit` measures on the rows that it validates on: predictions, and the importance of the columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.classifier.data import Floats
from tinyrs.classifier.evaluation import EvaluationSet
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tuning.basic_metrics import predicted
from tinyrs.tuning.importance import permutation_importance
from tinyrs.tuning.metrics import EpochMetric
from tinyrs.tuning.scores import Reliability


@dataclass(frozen=True)
class HeldOut:
    """The predictions of the calibrated network for the validation rows, before it was trained on them.

    Attributes
    ----------
    targets : array of shape (rows,), class indices, or of shape (rows, labels), 0 or 1
    probabilities : array of shape (rows, classes)
    refitted : bool
        Whether a refit followed.
    encoded : array of shape (rows, encoded columns), CSR, or None
        The rows as the preprocessing encodes them; None in a classifier that was unpickled.
    """

    targets: npt.NDArray[Any]
    probabilities: Floats
    refitted: bool
    encoded: Any


def reliability(targets: npt.NDArray[Any], p: Floats) -> Reliability:
    """How often predictions of each probability are right; in multilabel models, each label is one."""
    p, right = np.asarray(p, dtype=np.float64), predicted(targets, p) == targets
    confidence = np.maximum(p, 1 - p) if targets.ndim == 2 else p.max(axis=1)
    return Reliability.of(confidence.ravel(), right.ravel())


def column_importance(
    network: Network,
    preprocessor: Preprocessor,
    rows: EvaluationSet,
    metric: EpochMetric,
    n_threads: int | None,
) -> npt.NDArray[np.float64]:
    """How much worse `metric` gets when a column of the table is shuffled, (columns,); at least 0."""
    sign = -1 if metric.greater_is_better else 1

    def loss(encoded: npt.NDArray[Any], chosen: npt.NDArray[np.intp]) -> float:
        p = preprocessor.forward(network, encoded, n_threads)
        return sign * metric.value(rows.true.rows(chosen), p)

    found = permutation_importance(rows.encoded, preprocessor.encoded_columns, loss)
    # RFE squares importances and SelectFromModel takes absolute values: below 0, noise would look important.
    return np.asarray(np.maximum(found.mean(axis=1), 0))
