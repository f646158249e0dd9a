"""What each metric is, from targets and probabilities, and the metrics that `eval_metric` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import average_precision_score, f1_score, get_scorer, get_scorer_names, roc_auc_score

from tinyrs.tuning.basic_metrics import Array, Floats, accuracy, log_loss, predicted

# The name of a metric, a scorer of scikit-learn, or a function of (y_true, y_proba) whose higher values are
# better.
Metric = str | Callable[..., float]


@dataclass(frozen=True)
class TrueLabels:
    """The labels of the rows of an evaluation set.

    Attributes
    ----------
    labels : array of shape (rows,) or (rows, labels)
        As the user knows them: classes, or an indicator matrix.
    targets : array of shape (rows,) or (rows, labels)
        As the network knows them: class indices, or an indicator matrix.
    classes : array of shape (n_classes,)
        The label of each class index.
    """

    labels: Array
    targets: Array
    classes: Array

    @property
    def multilabel(self) -> bool:
        return self.targets.ndim == 2

    def rows(self, rows: npt.NDArray[np.intp]) -> TrueLabels:
        """The labels of these rows."""
        return TrueLabels(self.labels[rows], self.targets[rows], self.classes)


@dataclass(frozen=True)
class EpochMetric:
    """A metric that is computed after each epoch.

    Attributes
    ----------
    name : str
    value : callable
        Computes it from `TrueLabels` and probabilities of shape (rows, classes).
    greater_is_better : bool
    record_field : str or None
        The field of the epoch's `Record` that holds the value for the rows that `Network.fit` validates on.
    """

    name: str
    value: Callable[[TrueLabels, Floats], float]
    greater_is_better: bool = True
    record_field: str | None = None


def read_metrics(eval_metric: Metric | Sequence[Metric]) -> list[EpochMetric]:
    """The metrics that `eval_metric` names: one, or a list of which the first chooses the epoch.

    Raises
    ------
    ValueError
        If the list is empty, a name is unknown, or two metrics have the same name.
    """
    given = [eval_metric] if isinstance(eval_metric, str) or callable(eval_metric) else list(eval_metric)
    metrics = [_read_metric(metric) for metric in given]
    names = [metric.name for metric in metrics]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"eval_metric: expected one or more metrics of different names, got {names}")
    return metrics


def _read_metric(metric: Metric) -> EpochMetric:
    if callable(metric):
        # A scorer of make_scorer or get_scorer takes (estimator, X, y); a plain function (y_true, y_proba).
        if hasattr(metric, "_score_func"):
            return EpochMetric(metric._score_func.__name__, _of_scorer(metric, as_indices=False))
        name = getattr(metric, "__name__", type(metric).__name__)
        return EpochMetric(name, lambda true, p: float(metric(true.labels, p)))
    if metric in _METRICS:
        return _METRICS[metric]
    if metric in get_scorer_names():
        # With class indices as labels, the positive class of two is always the second.
        return EpochMetric(metric, _of_scorer(get_scorer(metric), as_indices=True))
    raise ValueError(
        f"eval_metric: expected one of {', '.join(_METRICS)}, the name of a scikit-learn scorer, or a "
        f"function of (y_true, y_proba), got {metric!r}"
    )


# As in `basic_metrics`, the functions take `targets` and `p`.


def balanced_accuracy(targets: Array, p: Floats) -> float:
    """The mean recall of the classes that have rows."""
    if targets.ndim == 2:
        raise ValueError("eval_metric: 'balanced_accuracy' is not defined for a multilabel y")
    rows = np.bincount(targets, minlength=p.shape[1])
    right = np.bincount(targets, predicted(targets, p) == targets, minlength=p.shape[1])
    return float((right[rows > 0] / rows[rows > 0]).mean())


def f1(targets: Array, p: Floats) -> float:
    """The F1 score of the second of two classes, else the mean of all classes."""
    average = "binary" if p.shape[1] == 2 and targets.ndim == 1 else "macro"
    return float(f1_score(targets.astype(int), predicted(targets, p), average=average, zero_division=0))


def one_against_rest(targets: Array, p: Floats) -> Iterator[tuple[npt.NDArray[np.bool_], Floats]]:
    """For each class or label, which rows have it (rows,) and its probabilities (rows,).

    Of two classes, only the second. A class that all rows or none have is left out: rows cannot be ranked.
    """
    for index in range(1 if p.shape[1] == 2 and targets.ndim == 1 else 0, p.shape[1]):
        positive = targets[:, index] > 0.5 if targets.ndim == 2 else targets == index
        if positive.any() and not positive.all():
            yield positive, p[:, index]


def _mean_over_classes(name: str, score: Callable[[Array, Floats], float]) -> EpochMetric:
    """The mean of `score` over the pairs of `one_against_rest`."""

    def value(targets: Array, p: Floats) -> float:
        scores = [score(*pair) for pair in one_against_rest(targets, p)]
        if not scores:
            raise ValueError(f"eval_metric: {name!r} needs validation rows of two classes, got one class")
        return float(np.mean(scores))

    return EpochMetric(name, _of_targets(value))


def _of_targets(value: Callable[[Array, Floats], float]) -> Callable[[TrueLabels, Floats], float]:
    return lambda true, p: value(true.targets, p)


_METRICS = {
    "accuracy": EpochMetric("accuracy", _of_targets(accuracy), record_field="validation_score"),
    **{
        name: EpochMetric(
            name, _of_targets(log_loss), greater_is_better=False, record_field="validation_loss"
        )
        for name in ("log_loss", "loss")
    },
    "auc": _mean_over_classes("auc", roc_auc_score),
    "average_precision": _mean_over_classes("average_precision", average_precision_score),
    "balanced_accuracy": EpochMetric("balanced_accuracy", _of_targets(balanced_accuracy)),
    "f1": EpochMetric("f1", _of_targets(f1)),
}


class _Probabilities(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier that predicts fixed probabilities (rows, classes), for scikit-learn's scorers."""

    def __init__(self, p: Floats, classes: Array, multilabel: bool) -> None:
        self.p, self.classes_, self.multilabel = p, classes, multilabel

    def predict_proba(self, X: Any) -> Floats:
        return self.p

    def predict(self, X: Any) -> Array:
        if self.multilabel:
            return (self.p > 0.5).astype(int)
        labels: Array = self.classes_[self.p.argmax(axis=1)]
        return labels


def _of_scorer(scorer: Callable[..., float], *, as_indices: bool) -> Callable[[TrueLabels, Floats], float]:
    """The metric of a scikit-learn scorer, which is shown class indices or the labels of the user."""

    def value(true: TrueLabels, p: Floats) -> float:
        y, classes = (true.targets, np.arange(p.shape[1])) if as_indices else (true.labels, true.classes)
        return float(scorer(_Probabilities(p, classes, true.multilabel), p, y))

    return value
