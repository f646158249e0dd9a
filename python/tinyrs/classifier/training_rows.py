"""What `fit` trains on, whether it is in memory or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyrs.classifier.evaluation import EvaluationSet
from tinyrs.classifier.members import Callback, Members
from tinyrs.classifier.recipe import TrainingOptions
from tinyrs.history import History, Record


class TrainingRows(Protocol):
    """The rows that `fit` trains on, and the sets that it evaluates on; it validates on the last one.

    Attributes
    ----------
    n_rows : int
        The number of rows, with those held out.
    n_training : int
        The number of rows that the first network is trained on.
    n_features : int
    evaluation : list of EvaluationSet
    class_frequencies : array of shape (n_classes,)
        What label smoothing mixes in.
    """

    @property
    def n_rows(self) -> int: ...
    @property
    def n_training(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def evaluation(self) -> list[EvaluationSet]: ...
    @property
    def class_frequencies(self) -> npt.NDArray[np.float64]: ...

    def shown(self) -> tuple[Any, Any]:
        """The features and targets that scikit-learn's callbacks are shown."""

    def without_validation(self) -> TrainingRows:
        """The same rows for a single network, none of which are held out."""

    def train(
        self,
        members: Members,
        options: Sequence[TrainingOptions],
        callbacks: Sequence[Callback],
        n_threads: int | None,
    ) -> History:
        """Trains all networks in place, each on its rows and with its options.

        Returns one history, whose records are the means over the networks. The callbacks are called in this
        thread after each epoch of all networks; training stops after an epoch in which one of them returns
        True. After an exception, no network is being trained any more.
        """


def mean_record(records: Sequence[Record], n_rows: Sequence[int], n_validated: Sequence[int] = ()) -> Record:
    """The record of an epoch of several networks, which were trained side by side.

    `n_rows` and `n_validated` are the numbers of rows that each was trained on and that each validated on.
    """
    mean: dict[str, Any] = dict(records[0])
    mean["loss"] = float(np.average([record["loss"] for record in records], weights=n_rows))
    mean["seconds"] = max(record["seconds"] for record in records)
    mean["samples_per_second"] = sum(n_rows) / mean["seconds"]
    for name in ("validation_loss", "validation_score"):
        if name in mean:
            mean[name] = float(np.average([record[name] for record in records], weights=n_validated))
    return mean  # type: ignore[return-value]
