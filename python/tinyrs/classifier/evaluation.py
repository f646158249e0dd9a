"""Evaluation sets, and the curves of their metrics over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrs.classifier.data import Dataset, Floats
from tinyrs.classifier.members import Members
from tinyrs.classifier.recipe import logits
from tinyrs.history import Record
from tinyrs.tuning.basic_metrics import accuracy, log_loss
from tinyrs.tuning.calibration import fit_temperature
from tinyrs.tuning.epoch_selection import Losses, row_losses
from tinyrs.tuning.metrics import EpochMetric, TrueLabels


@dataclass(frozen=True)
class EvaluationSet:
    """Rows that the network is evaluated on after each epoch.

    Attributes
    ----------
    data : Dataset
        The rows as features.
    true : TrueLabels
        Their labels.
    encoded : array of shape (rows, encoded columns) or CSR
        The rows as the preprocessing encodes them.
    parts : sequence of slice, optional
        The rows that each member of an ensemble held out. They cover the set once: a row is predicted by the
        member that was not trained on it. By default all members predict all rows, and the mean counts.
    """

    data: Dataset
    true: TrueLabels
    encoded: Any
    parts: Sequence[slice] | None = None

    def rows(self, part: slice) -> EvaluationSet:
        """The rows of a part."""
        rows = np.arange(len(self.data.targets))[part]
        return EvaluationSet(self.data.rows(rows), self.true.rows(rows), self.encoded[part])

    def probabilities(self, members: Members, n_threads: int | None) -> Floats:
        """What the members predict, (rows, outputs)."""
        features = self.data.features
        if self.parts is None:
            return members.averaged().forward(features, n_threads=n_threads)
        pairs = zip(members, self.parts, strict=True)
        return np.concatenate(
            [network.forward(features[part], n_threads=n_threads) for network, part in pairs]
        )

    def member_logits(self, members: Members, n_threads: int | None) -> tuple[Floats, Dataset]:
        """The logits of each member for its rows, one member after the other, and these rows."""
        parts = self.parts or [slice(None)] * len(members)
        pairs = list(zip(members, parts, strict=True))
        z = [logits(network, self.data.features[part], n_threads) for network, part in pairs]
        if self.parts is not None or len(members) == 1:
            return np.concatenate(z), self.data
        rows = np.tile(np.arange(len(self.data.targets)), len(members))
        return np.concatenate(z), self.data.rows(rows)


def read_pairs(eval_set: Any) -> list[tuple[Any, Any]]:
    """The pairs (X, y) in `eval_set`, which is a pair, a list of pairs, or None.

    Raises
    ------
    ValueError
        If it is something else, or an empty list.
    """
    if eval_set is None:
        return []
    pairs = [eval_set] if isinstance(eval_set, tuple) else eval_set
    if not isinstance(pairs, list) or not pairs or any(not _is_pair(pair) for pair in pairs):
        got = f"a {type(eval_set).__name__}" if not isinstance(eval_set, (list, tuple)) else "something else"
        raise ValueError(f"eval_set: expected (X, y) or a list of such tuples, got {got}")
    return pairs


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2


class Evaluation:
    """A callback of `Network.fit` that computes all metrics on all evaluation sets after each epoch.

    Parameters
    ----------
    members : Members
        The networks that are trained.
    sets : list of EvaluationSet
        The last one decides about early stopping.
    metrics : list of EpochMetric
        The first one decides about early stopping.
    patience : int or None
        The number of epochs without an improvement after which the callback ends the training.
    n_threads : int or None
    calibrate : bool
        Whether epochs are compared by the log loss after calibration; see `row_losses`.

    Attributes
    ----------
    curves : dict
        ``curves["valid_0"]["auc"]`` is the list of the values after each epoch.
    score : float
        The value that decides, after the last epoch; negated if lower is better, -inf if it is NaN.
    """

    def __init__(
        self,
        members: Members,
        sets: Sequence[EvaluationSet],
        metrics: Sequence[EpochMetric],
        patience: int | None,
        n_threads: int | None,
        *,
        calibrate: bool = True,
    ) -> None:
        self._members, self._sets, self._metrics = members, sets, metrics
        self._patience, self._n_threads, self._calibrate = patience, n_threads, calibrate
        self.curves: dict[str, dict[str, list[float]]] = {
            f"valid_{i}": {metric.name: [] for metric in metrics} for i in range(len(sets))
        }
        self.score = self._best_score = -math.inf
        self._epochs_without_improvement = 0

    def __call__(self, record: Record) -> bool:
        """Returns True if training should stop."""
        if "validation_loss" not in record:  # several networks share the last set
            last = self._sets[-1]
            p = last.probabilities(self._members, self._n_threads)
            record["validation_loss"] = log_loss(last.data.targets, p)
            record["validation_score"] = accuracy(last.data.targets, p)
        for i, evaluation_set in enumerate(self._sets):
            # Accuracy and loss on the last set are known.
            known: Mapping[str, Any] = record if i == len(self._sets) - 1 else {}
            for name, value in self._evaluate(evaluation_set, known).items():
                self.curves[f"valid_{i}"][name].append(value)
        first = self._metrics[0]
        value = self.curves[f"valid_{len(self._sets) - 1}"][first.name][-1]
        self.score = -math.inf if math.isnan(value) else value if first.greater_is_better else -value
        improved = self.score > self._best_score
        self._best_score = max(self.score, self._best_score)
        self._epochs_without_improvement = 0 if improved else self._epochs_without_improvement + 1
        return self._patience is not None and self._epochs_without_improvement >= self._patience

    def _evaluate(self, evaluation_set: EvaluationSet, known: Mapping[str, Any]) -> dict[str, float]:
        """The value of each metric on one set; `known` holds those that need no pass of the network."""
        values, p = {}, None
        for metric in self._metrics:
            if metric.record_field is not None and metric.record_field in known:
                values[metric.name] = float(known[metric.record_field])
                continue
            if p is None:
                p = evaluation_set.probabilities(self._members, self._n_threads)
            values[metric.name] = metric.value(evaluation_set.true, p)
        return values

    def losses(self) -> Losses:
        """The loss of each row of the last set by the first metric, (rows,); see `BestEpoch`.

        A metric that is not a mean over the rows gives a single loss, (1,).
        """
        first, n_rows = self._metrics[0], len(self._sets[-1].data.targets)
        if first.record_field is None:
            return np.array([-self.score])
        z, data = self._sets[-1].member_logits(self._members, self._n_threads)
        losses = row_losses(
            z,
            data.targets,
            data.weights,
            by_accuracy=first.record_field == "validation_score",
            calibrate=self._calibrate,
        )
        return np.asarray(losses.reshape(-1, n_rows).mean(axis=0))

    def temperature(self) -> float:
        """The temperature that calibrates the members on the rows of the last set that they predict."""
        z, data = self._sets[-1].member_logits(self._members, self._n_threads)
        return fit_temperature(z, data.targets, data.weights)
