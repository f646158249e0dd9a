"""Which sizes of student are within the budget: measured on this machine before they are trained.

The weights do not matter for latency and size, so untrained networks are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.bench.latency import Latency, measure
from tinyrs.budget.candidates import Budget
from tinyrs.budget.students import new_student
from tinyrs.predictor import Predictor
from tinyrs.tabular.preprocessor import Preprocessor

# The widths of hidden layers, and the numbers of hidden layers.
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
DEPTHS = (1, 2, 3)
# The formats of the weights that are tried by default.
FORMATS = ("f32", "f16", "int8")
# How long to measure one latency: of a candidate, and of the final model.
SECONDS, FINAL_SECONDS = 0.03, 0.5


class StudentMeter:
    """Makes predictors of students, and measures them.

    Parameters
    ----------
    budget : Budget
    calls : sequence
        The inputs of timed calls: rows as lists for a `batch_size` of 1, else arrays or frames.
    classes : array of shape (n_classes,)
    feature_names : sequence of str or None
    formats : sequence of str
        The formats of the weights to try.
    seed : int
    """

    def __init__(
        self,
        budget: Budget,
        calls: Sequence[Any],
        classes: npt.NDArray[Any],
        feature_names: Sequence[str] | None,
        formats: Sequence[str],
        seed: int,
    ) -> None:
        self.budget, self.calls, self.classes = budget, calls, classes
        self.feature_names, self.formats, self.seed = feature_names, formats, seed

    def predictor(self, network: Network, preprocessor: Preprocessor, weights: str) -> Predictor:
        """A student for deployment, with its weights in this format."""
        predictor = Predictor(
            network,
            preprocessor,
            self.classes,
            feature_names=self.feature_names,
            training={"budget": str(self.budget)},
        )
        return predictor if weights == "f32" else predictor.quantize(weights)

    def latency(self, predictor: Predictor, seconds: float = SECONDS) -> Latency:
        """The latency of a call as the budget means it."""
        call = predictor.predict_one if self.budget.batch_size == 1 else predictor.predict_proba
        return measure(call, self.calls, seconds=seconds, min_calls=50)

    def allows(self, latency: Latency, n_bytes: int) -> bool:
        """Whether a model of this latency and size is within the budget."""
        return self.budget.allows(self.budget.us(latency), n_bytes)

    def sizes(self, preprocessor: Preprocessor) -> dict[tuple[int, ...], list[str]]:
        """The hidden layers to try, and the formats of weights in which they fit.

        For each depth and format, these are the largest width that fits and two thirds and a third of it, as
        near as `WIDTHS` has them: larger students are not always better.
        """
        found: dict[tuple[int, ...], list[str]] = {}
        for weights in self.formats:
            for depth in DEPTHS:
                largest = self._largest(depth, preprocessor, weights)
                if largest is None:
                    continue
                for share in (1, 2 / 3, 1 / 3):
                    nearest = int(np.abs(np.array(WIDTHS) - WIDTHS[largest] * share).argmin())
                    formats = found.setdefault((WIDTHS[nearest],) * depth, [])
                    if weights not in formats:
                        formats.append(weights)
            if self._fits((), preprocessor, weights):
                found.setdefault((), []).append(weights)
        return found

    def _largest(self, depth: int, preprocessor: Preprocessor, weights: str) -> int | None:
        """The index of the largest width that fits, by bisection; None if not even the smallest does."""
        low, high = -1, len(WIDTHS) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._fits((WIDTHS[middle],) * depth, preprocessor, weights):
                low = middle
            else:
                high = middle - 1
        return None if low < 0 else low

    def _fits(self, hidden: tuple[int, ...], preprocessor: Preprocessor, weights: str) -> bool:
        student = new_student(hidden, preprocessor, len(self.classes), self.seed)
        predictor = self.predictor(student, preprocessor, weights)
        n_bytes = len(predictor.to_bytes())
        # Only if the size fits is the latency measured.
        return self.budget.allows(0.0, n_bytes) and self.allows(self.latency(predictor), n_bytes)
