"""Accuracy, log loss, calibration and confusion matrix of predicted probabilities, and their text form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ClassIndices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

N_BINS = 10
# With more classes than this, the most frequent errors are printed instead of the confusion matrix.
MAX_MATRIX = 12
MAX_NAME = 14
CALIBRATION_ERROR = "mean gap between probability and accuracy"


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram: rows grouped by the probability of the predicted class, arrays (N_BINS,)."""

    confidence: npt.NDArray[np.float64]  # mean probability of the predicted class
    accuracy: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Metrics:
    """How well predicted probabilities agree with the true classes. `Metrics.of` computes it."""

    classes: tuple[str, ...]
    rows: int
    accuracy: float
    log_loss: float
    calibration_error: float
    baseline: float  # accuracy of always predicting the most frequent class
    confusion: npt.NDArray[np.int64]  # (true class, predicted class)
    precision: npt.NDArray[np.float64]  # (classes,); NaN for a class that was never predicted
    recall: npt.NDArray[np.float64]  # (classes,); NaN for a class without rows
    reliability: Reliability

    @classmethod
    def of(cls, probabilities: Floats, y: ClassIndices, classes: npt.NDArray[Any]) -> Metrics:
        """The metrics of `probabilities` (rows, classes) for rows of the true classes `y` (rows,)."""
        # Imported here: it takes a second, which `--help` does not need.
        from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

        p, rows = np.asarray(probabilities, dtype=np.float64), len(y)
        predicted, labels = p.argmax(axis=1), np.arange(len(classes))
        precision, recall, _, _ = precision_recall_fscore_support(
            y, predicted, labels=labels, zero_division=np.nan
        )
        reliability = _reliability(p.max(axis=1), predicted == y)
        # The expected calibration error. scikit-learn has none, and its calibration_curve returns no counts.
        gaps = np.abs(reliability.confidence - reliability.accuracy) * reliability.rows
        return cls(
            classes=tuple(map(str, classes.tolist())),
            rows=rows,
            accuracy=float(accuracy_score(y, predicted)),
            log_loss=log_loss(p, y),
            calibration_error=float(gaps.sum() / rows),
            baseline=float(np.bincount(y).max() / rows),
            confusion=confusion_matrix(y, predicted, labels=labels),
            precision=precision,
            recall=recall,
            reliability=reliability,
        )

    def as_json(self) -> dict[str, Any]:
        per_class = zip(self.classes, self.precision, self.recall, self.confusion.sum(axis=1), strict=True)
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "baseline_accuracy": self.baseline,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "per_class": [
                {"class": name, "precision": _none_if_nan(p), "recall": _none_if_nan(r), "rows": int(rows)}
                for name, p, r, rows in per_class
            ],
        }

    def score_lines(self) -> list[str]:
        """Accuracy, log loss and calibration error, each with a value to compare it with."""
        scores = [
            ("accuracy", f"{self.accuracy:.2%}", f"always the most frequent class: {self.baseline:.2%}"),
            ("log loss", f"{self.log_loss:.4f}", f"uniform probabilities: {np.log(len(self.classes)):.4f}"),
            ("calibration error", f"{self.calibration_error:.4f}", CALIBRATION_ERROR),
        ]
        return [f"  {name:17}  {value}   ({note})" for name, value, note in scores]

    def confusion_lines(self) -> list[str]:
        """The confusion matrix, or for many classes the most frequent errors."""
        if len(self.classes) > MAX_MATRIX:
            return ["most frequent errors (true class -> predicted class):"] + [
                f"  {count:>7,} {self.classes[true]} -> {self.classes[predicted]}"
                for count, true, predicted in self.most_frequent_errors(10)
            ]
        names = [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "~" for name in self.classes]
        widths = [
            max(len(name), len(f"{column.max():,}"))
            for name, column in zip(names, self.confusion.T, strict=True)
        ]
        corner = "true / predicted"
        left = max(map(len, [*names, corner]))
        head = f"  {corner:{left}}  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))
        return [head] + [
            f"  {name:{left}}  " + "  ".join(f"{count:>{w},}" for count, w in zip(row, widths, strict=True))
            for name, row in zip(names, self.confusion.tolist(), strict=True)
        ]

    def class_lines(self) -> list[str]:
        """Precision, recall and number of rows of each class."""
        width = max(len("class"), *map(len, self.classes))
        head = f"  {'class':{width}}  {'precision':>9}  {'recall':>9}  {'rows':>9}"
        rows = zip(self.classes, self.precision, self.recall, self.confusion.sum(axis=1), strict=True)
        return [head] + [
            f"  {name:{width}}  {_percent(p):>9}  {_percent(r):>9}  {n:>9,}" for name, p, r, n in rows
        ]

    def most_frequent_errors(self, n: int) -> list[tuple[int, int, int]]:
        """At most `n` pairs of classes that were confused: (rows, true class, predicted class)."""
        errors = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-errors, axis=None, kind="stable")[:n]
        pairs = [(int(errors.flat[k]), *divmod(int(k), len(self.classes))) for k in order]
        return [pair for pair in pairs if pair[0] > 0]


def log_loss(probabilities: Floats, y: ClassIndices) -> float:
    """Mean of -log p(true class). Probabilities are raised to float32's smallest normal number first.

    By hand because scikit-learn's log_loss raises float64 probabilities only to 2.2e-16.
    """
    p = np.asarray(probabilities[np.arange(len(y)), y], dtype=np.float64)
    return float(-np.log(np.maximum(p, np.finfo(np.float32).tiny)).mean())


def _reliability(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> Reliability:
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    rows = np.bincount(bins, minlength=N_BINS)
    divisor = np.maximum(rows, 1)
    return Reliability(
        np.bincount(bins, confidence, N_BINS) / divisor, np.bincount(bins, correct, N_BINS) / divisor, rows
    )


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.2%}"


def _none_if_nan(share: float) -> float | None:
    return None if np.isnan(share) else float(share)
