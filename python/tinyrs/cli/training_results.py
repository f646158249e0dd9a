"""What `tinyrs train` prints and reports about the model that it trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tinyrs.cli.column_types import ColumnSummary
from tinyrs.cli.labelled_rows import LabelledRows
from tinyrs.cli.metrics import ClassIndices, Floats, Metrics, log_loss
from tinyrs.history import Record
from tinyrs.predictor import Predictor

# Permutation importance: the number of rows used at most, and of permutations a column.
IMPORTANCE_ROWS, IMPORTANCE_REPEATS = 5000, 5


@dataclass(frozen=True)
class TrainingResults:
    """A trained model, its training history, and rows that it was not trained on.

    With --cv, there is a model for each fold: `rows` and `probabilities` are those of all folds, each
    predicted by the model that was not trained on it; the rest is about the last fold.
    """

    predictor: Predictor  # the model that was measured
    history: Sequence[Record]  # one an epoch
    seconds: float
    rows: LabelledRows
    probabilities: Floats  # (rows, classes), predicted for `rows`
    rows_origin: str  # where `rows` come from, for the reader
    unseen: LabelledRows  # the rows that `predictor` was not trained on: `rows`, or the last fold
    columns: Sequence[ColumnSummary]  # empty for images
    threshold: float | None = None  # see `predicted_classes`
    fold_accuracies: tuple[float, ...] = ()  # with --cv

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics.of(self.probabilities, self.rows.y, self.predictor.classes_, self.threshold)

    @property
    def target(self) -> str | None:
        """The name of the target column; None for images."""
        target = self.predictor.training.get("target")
        return target if isinstance(target, str) else None

    @property
    def n_rows(self) -> int:
        """The number of rows that the model was trained on."""
        return int(self.predictor.training["rows"])

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, from 0."""
        return int(self.predictor.training["best_iteration"])

    def curve(self, name: str) -> npt.NDArray[np.float64]:
        """One entry of the history, such as "loss", for each epoch (epochs,)."""
        return np.array([record[name] for record in self.history])  # type: ignore[literal-required]

    def permutation_importance(self) -> npt.NDArray[np.float64]:
        """The increase of the log loss when a column is shuffled (columns,) (Breiman 2001).

        Log loss rather than accuracy, because it also changes when only the probabilities get worse. By hand
        because scikit-learn's function needs an estimator, and these rows are encoded already.
        """
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(self.unseen.y))[:IMPORTANCE_ROWS]
        encoded, y = self.unseen.encoded[chosen], self.unseen.y[chosen]
        baseline = self._log_loss(encoded, y)
        importance = np.empty(encoded.shape[1])
        for column in range(len(importance)):
            shuffled = encoded.copy()
            losses = []
            for _ in range(IMPORTANCE_REPEATS):
                shuffled[:, column] = rng.permutation(encoded[:, column])
                losses.append(self._log_loss(shuffled, y))
            importance[column] = np.mean(losses) - baseline
        return importance

    def _log_loss(self, encoded: Floats, y: ClassIndices) -> float:
        return log_loss(predict_encoded(self.predictor, encoded), y)

    def least_confident(self, n: int) -> npt.NDArray[np.intp]:
        """Indices of the `n` rows whose prediction would change most easily.

        Those with the smallest margin between the two most probable classes, or to the threshold.
        """
        if self.threshold is not None:
            margin = np.abs(self.probabilities[:, 1] - self.threshold)
        else:
            top_two = np.sort(self.probabilities, axis=1)[:, -2:]
            margin = top_two[:, 1] - top_two[:, 0]
        return np.argsort(margin, kind="stable")[:n]


def predict_encoded(predictor: Predictor, encoded: Floats) -> Floats:
    """Probabilities (rows, classes) of rows whose categories are codes already (rows, columns)."""
    preprocessor = predictor.preprocessor
    assert preprocessor is not None, "every predictor of a TinyClassifier has one"
    return preprocessor.forward(predictor.network, encoded)
