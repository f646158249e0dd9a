"""What `tinyrs train` prints and reports about the model that it trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tinyrs.budget import BudgetSearch
from tinyrs.cli.column_types import ColumnSummary
from tinyrs.cli.labelled_rows import LabelledRows
from tinyrs.history import Record
from tinyrs.predictor import Predictor
from tinyrs.tuning.basic_metrics import log_loss
from tinyrs.tuning.importance import permutation_importance
from tinyrs.tuning.scores import Floats, Metrics

# What readers are shown for the values of --metric and --threshold.
METRIC_NAMES = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "auc": "AUC",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
}


@dataclass(frozen=True)
class TrainingResults:
    """A trained model, its training history, and rows that it was not trained on.

    With --cv, there is a model for each fold: `rows` and `probabilities` are those of all folds, each
    predicted by the model that was not trained on it; the rest is about the last fold.
    """

    predictor: Predictor  # the model that was measured
    history: Sequence[Record]  # one an epoch; empty with --budget
    metric: str  # the option --metric
    metric_curve: Sequence[float]  # on validation rows after each epoch; empty if there are none
    seconds: float
    rows: LabelledRows
    probabilities: Floats  # (rows, classes), predicted for `rows`
    rows_origin: str  # where `rows` come from, for the reader
    unseen: LabelledRows  # the rows that `predictor` was not trained on: `rows`, or the last fold
    columns: Sequence[ColumnSummary]  # empty for images
    threshold: float | None = None  # see `predicted_classes`
    threshold_score: str | None = None  # the score for which `threshold` is the best on `rows`, if any
    fold_accuracies: tuple[float, ...] = ()  # with --cv
    search: BudgetSearch | None = None  # with --budget

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

    @property
    def training_text(self) -> str:
        """How long the training was."""
        if not self.history:
            return f"searched for {self.seconds:.1f} s"
        return (
            f"{len(self.history):,} epochs in {self.seconds:.1f} s; the best was epoch {self.best_epoch + 1}"
        )

    def threshold_text(self, positive: str) -> str:
        """What `threshold` means and where it comes from; `positive` is the name of the second class."""
        text = f"{positive} is predicted from a probability of {self.threshold:.4f}"
        if self.threshold_score is None:
            return text
        name = METRIC_NAMES[self.threshold_score]
        return (
            f"{text}, which gives the best {name} on these rows; as it was chosen on them, this score is "
            "slightly optimistic"
        )

    def curve(self, name: str) -> npt.NDArray[np.float64]:
        """One entry of the history, such as "loss", for each epoch (epochs,)."""
        return np.array([record[name] for record in self.history])  # type: ignore[literal-required]

    def permutation_importance(self) -> npt.NDArray[np.float64]:
        """The increase of the log loss when a column is shuffled (columns,).

        Log loss rather than accuracy, because it also changes when only the probabilities get worse.
        """
        preprocessor, y = self.predictor.preprocessor, self.unseen.y
        assert preprocessor is not None, "every predictor of a TinyClassifier has one"
        found = permutation_importance(
            self.unseen.encoded,
            preprocessor.encoded_columns,
            lambda encoded, rows: log_loss(y[rows], predict_encoded(self.predictor, encoded)),
        )
        return np.asarray(found.mean(axis=1))

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
