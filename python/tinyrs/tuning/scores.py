"""Metrics of predicted probabilities on rows with known labels, with 95 % confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.tuning import intervals
from tinyrs.tuning.basic_metrics import log_loss
from tinyrs.tuning.intervals import Interval

ClassIndices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

N_BINS = 10
# The longest name of a class in `score_lines`, in characters.
MAX_NAME = 14
CALIBRATION_ERROR = "mean gap between probability and accuracy"


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram: rows grouped by the probability of the predicted class, arrays (N_BINS,)."""

    confidence: npt.NDArray[np.float64]  # mean probability of the predicted class
    accuracy: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]

    @classmethod
    def of(cls, confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> Reliability:
        """The diagram of predictions of these probabilities (rows,), and whether each is right (rows,)."""
        bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
        rows = np.bincount(bins, minlength=N_BINS)
        divisor = np.maximum(rows, 1)
        return cls(
            np.bincount(bins, confidence, N_BINS) / divisor,
            np.bincount(bins, correct, N_BINS) / divisor,
            rows,
        )


@dataclass(frozen=True)
class Metrics:
    """How well predicted probabilities agree with the true classes. `Metrics.of` computes it.

    The areas under curves compare each class with all others and are averaged over the classes; of two
    classes, only the second is compared with the first, as in scikit-learn. Intervals are 95 % confidence
    intervals. A value that cannot be measured is NaN, such as the recall of a class without rows.
    """

    classes: tuple[str, ...]
    rows: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float  # the mean recall of the classes with rows
    balanced_accuracy_interval: Interval
    auc: float  # area under the ROC curve
    auc_interval: Interval
    average_precision: float  # area under the precision-recall curve
    average_precision_interval: Interval
    log_loss: float
    calibration_error: float
    baseline: float  # accuracy of always predicting the most frequent class
    confusion: npt.NDArray[np.int64]  # (true class, predicted class)
    precision: npt.NDArray[np.float64]  # (classes,); NaN for a class that was never predicted
    precision_intervals: list[Interval]  # of each class
    recall: npt.NDArray[np.float64]  # (classes,); NaN for a class without rows
    recall_intervals: list[Interval]
    reliability: Reliability

    @classmethod
    def of(
        cls,
        probabilities: Floats,
        y: ClassIndices,
        classes: npt.NDArray[Any],
        threshold: float | None = None,
    ) -> Metrics:
        """The metrics of `probabilities` (rows, classes) for rows of the true classes `y` (rows,).

        `threshold` is that of `predicted_classes`.
        """
        # Imported here: it takes a second, which `tinyrs predict` does not need.
        from sklearn.metrics import accuracy_score, confusion_matrix

        p, rows = np.asarray(probabilities, dtype=np.float64), len(y)
        predicted = predicted_classes(p, threshold)
        accuracy = float(accuracy_score(y, predicted))
        confusion = confusion_matrix(y, predicted, labels=np.arange(len(classes)))
        precision, precision_intervals = _shares(np.diag(confusion), confusion.sum(axis=0))
        recall, recall_intervals = _shares(np.diag(confusion), confusion.sum(axis=1))
        balanced, balanced_interval = _mean_recall(recall, recall_intervals)
        auc, auc_interval, average_precision, average_precision_interval = areas(y, p)
        # The confidence is that of the predicted class, which with a threshold may be below 1/2.
        reliability = Reliability.of(p[np.arange(rows), predicted], predicted == y)
        # The expected calibration error. scikit-learn has none, and its calibration_curve returns no counts.
        gaps = np.abs(reliability.confidence - reliability.accuracy) * reliability.rows
        return cls(
            classes=tuple(map(str, classes.tolist())),
            rows=rows,
            accuracy=accuracy,
            accuracy_interval=intervals.proportion(accuracy, rows),
            balanced_accuracy=balanced,
            balanced_accuracy_interval=balanced_interval,
            auc=auc,
            auc_interval=auc_interval,
            average_precision=average_precision,
            average_precision_interval=average_precision_interval,
            log_loss=log_loss(y, p),
            calibration_error=float(gaps.sum() / rows),
            baseline=float(np.bincount(y).max() / rows),
            confusion=confusion,
            precision=precision,
            precision_intervals=precision_intervals,
            recall=recall,
            recall_intervals=recall_intervals,
            reliability=reliability,
        )

    def as_json(self) -> dict[str, Any]:
        per_class = zip(
            self.classes,
            self.precision,
            self.precision_intervals,
            self.recall,
            self.recall_intervals,
            self.confusion.sum(axis=1),
            strict=True,
        )
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "accuracy_interval": self.accuracy_interval.as_json(),
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_interval": self.balanced_accuracy_interval.as_json(),
            "auc": _none_if_nan(self.auc),
            "auc_interval": self.auc_interval.as_json(),
            "average_precision": _none_if_nan(self.average_precision),
            "average_precision_interval": self.average_precision_interval.as_json(),
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "baseline_accuracy": self.baseline,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "per_class": [
                {
                    "class": name,
                    "precision": _none_if_nan(p),
                    "precision_interval": p_interval.as_json(),
                    "recall": _none_if_nan(r),
                    "recall_interval": r_interval.as_json(),
                    "rows": int(rows),
                }
                for name, p, p_interval, r, r_interval, rows in per_class
            ],
        }

    def score_lines(self) -> list[str]:
        """Each score with its interval and a value to compare it with."""
        n_classes = len(self.classes)
        share = float(self.confusion[1].sum() / self.rows) if n_classes == 2 else None
        scores = [
            (
                "accuracy",
                f"{self.accuracy:.2%}",
                f"always the most frequent class: {self.baseline:.2%}",
                self.accuracy_interval.text(),
            ),
            (
                "balanced accuracy",
                f"{self.balanced_accuracy:.2%}",
                f"mean recall; any constant class: {1 / np.sum(self.confusion.sum(axis=1) > 0):.2%}",
                self.balanced_accuracy_interval.text(),
            ),
            ("AUC", _four_digits(self.auc), "random order: 0.5", self.auc_interval.text(percent=False)),
            (
                "average precision",
                _four_digits(self.average_precision),
                "mean over the classes"
                if share is None
                else f"of {_quoted(self.classes[1])}; random order: {share:.4f}",
                self.average_precision_interval.text(percent=False),
            ),
            ("log loss", f"{self.log_loss:.4f}", f"uniform probabilities: {np.log(n_classes):.4f}", ""),
            ("calibration error", f"{self.calibration_error:.4f}", CALIBRATION_ERROR, ""),
        ]
        return [f"  {name:17}  {value:>7}  {interval:16}  ({note})" for name, value, note, interval in scores]

    def most_frequent_errors(self, n: int) -> list[tuple[int, int, int]]:
        """At most `n` pairs of classes that were confused: (rows, true class, predicted class)."""
        errors = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-errors, axis=None, kind="stable")[:n]
        pairs = [(int(errors.flat[k]), *divmod(int(k), len(self.classes))) for k in order]
        return [pair for pair in pairs if pair[0] > 0]


def predicted_classes(probabilities: Floats, threshold: float | None = None) -> ClassIndices:
    """The predicted class of each row (rows,) from `probabilities` (rows, classes).

    The most probable class; with a threshold, which needs two classes, the second class if its probability is
    at least that.
    """
    if threshold is None:
        return np.asarray(probabilities.argmax(axis=1))
    return np.asarray(probabilities[:, 1] >= threshold, dtype=np.int64)


def best_threshold(score: str, probabilities: Floats, y: ClassIndices) -> float:
    """The threshold with the highest "f1" of the second class, or "balanced_accuracy", on these rows."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    if score == "f1":
        precision, recall, thresholds = precision_recall_curve(y, probabilities[:, 1])
        value = (2 * precision * recall / np.maximum(precision + recall, 1e-12))[:-1]
    else:
        false_positives, recall, thresholds = roc_curve(y, probabilities[:, 1])
        # The first threshold is infinite.
        value, thresholds = (recall - false_positives)[1:], thresholds[1:]
    return float(thresholds[value.argmax()])


def _shares(
    counts: npt.NDArray[np.int64], totals: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], list[Interval]]:
    """`counts / totals` of each class, NaN where the total is 0, and the interval of each."""
    shares = np.divide(counts, totals, out=np.full(len(totals), np.nan), where=totals > 0)
    return shares, [intervals.proportion(*pair) for pair in zip(shares, totals, strict=True)]


def _mean_recall(recall: npt.NDArray[np.float64], recall_intervals: list[Interval]) -> tuple[float, Interval]:
    present = np.flatnonzero(~np.isnan(recall))
    # Recalls are measured on different rows, so they are independent.
    interval = intervals.mean_of_independent(recall[present], [recall_intervals[i] for i in present])
    return float(recall[present].mean()), interval


def areas(targets: npt.NDArray[Any], p: Floats) -> tuple[float, Interval, float, Interval]:
    """The mean AUC and average precision of the classes against the others, each with its interval.

    The interval of an average precision is Wilson's with the number of positive rows (Boyd, Eng and Page 2013
    compare intervals of this number of rows). The classes are measured on the same rows; as if they were
    perfectly correlated, limits are averaged like values, which is on the safe side.

    Parameters
    ----------
    targets, p
        As for `one_against_rest`.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    from tinyrs.tuning.metrics import one_against_rest

    aucs, auc_intervals, averages, average_intervals = [], [], [], []
    for actual, probabilities in one_against_rest(targets, p):
        positives = int(actual.sum())
        aucs.append(roc_auc_score(actual, probabilities))
        auc_intervals.append(intervals.area_under_roc(aucs[-1], positives, len(actual) - positives))
        averages.append(average_precision_score(actual, probabilities))
        average_intervals.append(intervals.proportion(averages[-1], positives))
    if not aucs:
        unknown = Interval(np.nan, np.nan)
        return np.nan, unknown, np.nan, unknown
    return (
        float(np.mean(aucs)),
        Interval(*np.mean(auc_intervals, axis=0).tolist()),
        float(np.mean(averages)),
        Interval(*np.mean(average_intervals, axis=0).tolist()),
    )


def _quoted(name: str) -> str:
    name = repr(name)
    return name if len(name) <= MAX_NAME + 2 else name[: MAX_NAME + 1] + "~"


def _four_digits(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _none_if_nan(share: float) -> float | None:
    return None if np.isnan(share) else float(share)
