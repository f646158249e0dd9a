"""What there is to say about a model that was just trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.cli.column_types import Summary
from tinyrs.cli.evaluate import Rows
from tinyrs.cli.metrics import Figures, Floats
from tinyrs.history import Record
from tinyrs.predictor import Predictor

# Permutation importance: so many rows, each column shuffled so often.
ROWS, ROUNDS = 5000, 5


@dataclass(frozen=True)
class Findings:
    """Of `predictor` on `rows` that it was not trained on; `records` has one entry an epoch."""

    predictor: Predictor
    rows: Rows
    what: str  # these rows are
    probabilities: Floats
    figures: Figures
    records: Sequence[Record]
    seconds: float
    columns: Sequence[Summary]

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        rows: Rows,
        what: str,
        records: Sequence[Record],
        seconds: float,
        columns: Sequence[Summary],
    ) -> Findings:
        probabilities = forward(predictor, rows.encoded)
        figures = Figures.of(probabilities, rows.codes, predictor.classes_)
        return cls(predictor, rows, what, probabilities, figures, records, seconds, columns)

    @property
    def target(self) -> str | None:
        found = self.predictor.training.get("target")
        return found if isinstance(found, str) else None

    @property
    def best(self) -> int:
        """The epoch that was kept, from 0."""
        return int(self.predictor.training["best_iteration"])

    def curve(self, name: str) -> npt.NDArray[np.float64]:
        """That number of each epoch."""
        return np.array([record[name] for record in self.records])  # type: ignore[literal-required]

    def importance(self) -> npt.NDArray[np.float64]:
        """By how much the log loss rises when a column is shuffled: (columns,) (Breiman 2001).

        The log loss rather than the accuracy: it also tells when the model only becomes less sure.
        """
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(self.rows.codes))[:ROWS]
        encoded, codes = self.rows.encoded[chosen], self.rows.codes[chosen]
        before = self._log_loss(encoded, codes)
        rises = np.empty(encoded.shape[1])
        for column in range(len(rises)):
            shuffled = encoded.copy()
            losses = []
            for _ in range(ROUNDS):
                shuffled[:, column] = rng.permutation(encoded[:, column])
                losses.append(self._log_loss(shuffled, codes))
            rises[column] = np.mean(losses) - before
        return rises

    def _log_loss(self, encoded: npt.NDArray[Any], codes: npt.NDArray[np.int64]) -> float:
        return Figures.of(forward(self.predictor, encoded), codes, self.predictor.classes_).log_loss

    def least_sure(self, n: int) -> npt.NDArray[np.intp]:
        """The rows at which the two best classes are closest."""
        best = np.sort(self.probabilities, axis=1)[:, -2:]
        return np.argsort(best[:, 1] - best[:, 0], kind="stable")[:n]


def forward(predictor: Predictor, encoded: npt.NDArray[Any]) -> Floats:
    """Probabilities of encoded rows: categories are codes already."""
    preprocessor = predictor.preprocessor
    assert preprocessor is not None, "TinyClassifier has one"
    return preprocessor.forward(predictor.network, encoded)
