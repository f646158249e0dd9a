"""How good probabilities are, once the answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

BINS = 10
# A confusion matrix with more classes is not read any more; the most frequent confusions are named instead.
MAX_MATRIX = 12


@dataclass(frozen=True)
class Reliability:
    """Rows by how sure the model was: (bins,) each. What was said, what was right, and of how many rows."""

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    rows: Counts


@dataclass(frozen=True)
class Figures:
    """Of `probabilities` (rows, classes) for rows whose classes are `codes` (rows,)."""

    classes: tuple[str, ...]
    rows: int
    accuracy: float
    log_loss: float
    calibration_error: float
    # How often always saying the most frequent class would be right.
    baseline: float
    confusion: Counts  # (classes, classes): what it is, what was said
    reliability: Reliability

    @classmethod
    def of(cls, probabilities: Floats, codes: Counts, classes: npt.NDArray[Any]) -> Figures:
        p, rows, n = np.asarray(probabilities, dtype=np.float64), len(codes), len(classes)
        said = p.argmax(axis=1)
        confusion = np.bincount(codes * n + said, minlength=n * n).reshape(n, n)
        reliability = _reliability(p.max(axis=1), said == codes)
        gaps = np.abs(reliability.confidence - reliability.accuracy) * reliability.rows
        # A probability of 0 would cost infinitely much.
        likelihood = np.maximum(p[np.arange(rows), codes], np.finfo(np.float32).tiny)
        return cls(
            tuple(map(str, classes.tolist())),
            rows,
            float((said == codes).mean()),
            float(-np.log(likelihood).mean()),
            float(gaps.sum() / rows),
            float(np.bincount(codes).max() / rows),
            confusion,
            reliability,
        )

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Of each class: how often it is right when it is said; NaN if it never is."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Of each class: how much of it is found; NaN if there is none."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=1))

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
                {"class": name, "precision": _or_none(p), "recall": _or_none(r), "rows": int(rows)}
                for name, p, r, rows in per_class
            ],
        }

    def lines(self) -> list[str]:
        """The three figures, and what they mean."""
        return [
            f"  accuracy           {self.accuracy:.2%}   (the most frequent class: {self.baseline:.2%})",
            f"  log loss           {self.log_loss:.4f}   (knowing nothing: {np.log(len(self.classes)):.4f})",
            f"  calibration error  {self.calibration_error:.4f}   (how far off the probabilities are)",
        ]

    def confusion_lines(self) -> list[str]:
        """The confusion matrix, what it is by what was said; of many classes the worst pairs."""
        if len(self.classes) > MAX_MATRIX:
            pairs = self.worst_pairs(10)
            return ["most frequent mistakes:"] + [
                f"  {count:>7,} {self.classes[i]} called {self.classes[j]}" for count, i, j in pairs
            ]
        names = [name if len(name) <= 14 else name[:13] + "~" for name in self.classes]
        widths = [
            max(len(name), len(f"{column.max():,}"))
            for name, column in zip(names, self.confusion.T, strict=True)
        ]
        corner = "is / said"
        left = max(map(len, [*names, corner]))
        head = f"  {corner:{left}}  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))
        return [head] + [
            f"  {name:{left}}  " + "  ".join(f"{count:>{w},}" for count, w in zip(row, widths, strict=True))
            for name, row in zip(names, self.confusion.tolist(), strict=True)
        ]

    def class_lines(self) -> list[str]:
        width = max(len("class"), *map(len, self.classes))
        head = f"  {'class':{width}}  {'precision':>9}  {'recall':>9}  {'rows':>9}"
        rows = zip(self.classes, self.precision, self.recall, self.confusion.sum(axis=1), strict=True)
        return [head] + [
            f"  {name:{width}}  {_percent(p):>9}  {_percent(r):>9}  {n:>9,}" for name, p, r, n in rows
        ]

    def worst_pairs(self, n: int) -> list[tuple[int, int, int]]:
        """The most frequent mistakes: how often, what it is, what was said."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:n]
        pairs = [(int(wrong.flat[k]), *divmod(int(k), len(self.classes))) for k in order]
        return [pair for pair in pairs if pair[0] > 0]


def _reliability(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> Reliability:
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    return Reliability(
        np.nan_to_num(_share(np.bincount(bins, confidence, BINS), rows)),
        np.nan_to_num(_share(np.bincount(bins, right, BINS), rows)),
        rows,
    )


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.2%}"


def _or_none(share: float) -> float | None:
    return None if np.isnan(share) else float(share)
