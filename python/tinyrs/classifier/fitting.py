"""What `fit` and `partial_fit` do to a draft of a `TinyClassifier`; see `draft.py`."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y, validate_data

from tinyrs.classifier import parameters
from tinyrs.classifier.data import (
    Dataset,
    Indices,
    check_labels,
    class_frequencies,
    class_indices,
    native_table,
    read_table,
    row_weights,
    split_rows,
)
from tinyrs.classifier.deadline import Deadline
from tinyrs.classifier.evaluation import EvaluationSet, read_pairs
from tinyrs.classifier.members import Members
from tinyrs.classifier.memory_rows import MemoryRows
from tinyrs.classifier.recipe import add_outputs, dropout_rate, new_optimizer
from tinyrs.classifier.training import (
    fit_members,
    member_seeds,
    new_members,
    present,
    progress_bar,
    set_fitted,
    set_precision,
    training_options,
)
from tinyrs.tabular.preprocessor_fit import fit_preprocessor
from tinyrs.tabular.type_checks import is_frame
from tinyrs.tuning.metrics import Metric, TrueLabels, read_metrics
from tinyrs.tuning.sklearn_callbacks import with_callbacks

if TYPE_CHECKING:
    from tinyrs.classifier.estimator import TinyClassifier


@with_callbacks
def fit(
    draft: TinyClassifier,
    X: Any,
    y: Any,
    sample_weight: npt.ArrayLike | None,
    eval_set: Any,
    eval_metric: Metric | Sequence[Metric],
) -> None:
    """`TinyClassifier.fit` on a draft."""
    draft._validate_params()
    deadline = Deadline(draft.max_time)
    metrics, pairs = read_metrics(eval_metric), read_pairs(eval_set)
    X = native_table(X)
    y = _check_data(draft, X, y, reset=True)
    table, rng = read_table(X), check_random_state(draft.random_state)
    weights = row_weights(y, draft.classes_, sample_weight, draft.class_weight)
    frequencies = _class_frequencies(draft, y, sample_weight)
    if weights is not None and not weights.all():
        counted = np.flatnonzero(weights)
        table, y, weights = table.rows(counted), y[counted], weights[counted]
    if not hasattr(draft, "_precision") or not draft.warm_start:
        set_precision(draft, table.n_rows)
    targets = _targets(draft, y)
    parts: list[tuple[Indices, Indices | None]] = [(np.arange(table.n_rows), None)] * draft.n_ensemble
    if draft.early_stopping and not pairs:
        parts = split_rows(targets, draft.n_ensemble, draft.validation_fraction, rng)
    if not (draft.warm_start and hasattr(draft, "network_")):
        # Fitted to the validation rows too: it sees no labels, and the refit must have the same inputs.
        draft.preprocessor_ = fit_preprocessor(table, categorical_indices(draft, _names(draft)), weights)
    encoded = draft.preprocessor_.encode(table)
    data = Dataset(draft._features(encoded), targets, weights)
    sets = [evaluation_set(draft, *pair) for pair in pairs]
    folds = [rows for _, rows in parts if rows is not None]
    if folds:
        validation_rows, ends = np.concatenate(folds), np.cumsum([len(fold) for fold in folds])
        held_out = data.rows(validation_rows)
        true = TrueLabels(y[validation_rows], held_out.targets, draft.classes_)
        slices = [slice(end - len(fold), end) for fold, end in zip(folds, ends, strict=True)]
        sets = [EvaluationSet(held_out, true, encoded[validation_rows], slices)]
    del encoded  # it may be as large as the table

    rows = MemoryRows(data, [train_rows for train_rows, _ in parts], sets, frequencies)
    fit_members(draft, rows, metrics, deadline, rng)


def evaluation_set(draft: TinyClassifier, X: Any, y: Any) -> EvaluationSet:
    """The rows X and y of an `eval_set`."""
    encoded = draft._encode(X)
    features = draft._features(encoded)
    labels = np.asarray(y)
    if labels.ndim == 2 and not draft._multilabel:
        labels = column_or_1d(labels, warn=True)
    check_consistent_length(features, labels)
    weights = row_weights(labels, draft.classes_, None, draft.class_weight)
    data = Dataset(features, _targets(draft, labels), weights)
    true = TrueLabels(labels, data.targets, draft.classes_)
    return EvaluationSet(data, true, encoded)


def partial_fit(
    draft: TinyClassifier, X: Any, y: Any, classes: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
) -> None:
    """`TinyClassifier.partial_fit` on a draft."""
    first = not hasattr(draft, "network_")
    if first:
        draft._validate_params()
    known = None if first else draft.classes_
    X = native_table(X)
    y = _check_data(draft, X, y, reset=first, classes=classes)
    table, rng = read_table(X), check_random_state(draft.random_state)
    weights = row_weights(y, draft.classes_, sample_weight, draft.class_weight)
    if first:
        set_precision(draft, table.n_rows)
    targets = _targets(draft, y)
    if first:
        draft.preprocessor_ = fit_preprocessor(table, categorical_indices(draft, _names(draft)))
    data = Dataset(draft._features(draft.preprocessor_.encode(table)), targets, weights)
    optimizers = None
    if first:
        members = new_members(draft, data.features.shape[1], member_seeds(draft, rng))
    elif known is not None and len(known) < len(draft.classes_):
        indices = np.asarray(np.searchsorted(draft.classes_, known))
        n_outputs = len(draft.classes_)
        members = Members(add_outputs(network, indices, n_outputs) for network in draft.network_.members)
    else:
        members, optimizers = Members(map(copy.copy, draft.network_.members)), draft._optimizers
    frequencies = _class_frequencies(draft, y, sample_weight)
    # The rows of this call are a part of a stream, however few they are.
    dropout = dropout_rate(draft.dropout, math.inf)
    options = [
        dataclasses.replace(
            training_options(draft, 1, int(rng.randint(2**31 - 1)), frequencies, dropout),
            learning_rate=draft.learning_rate_init / 10,
            schedule="constant",
        )
        for _ in members
    ]
    draft._optimizers = (
        [copy.copy(o) for o in optimizers] if optimizers else [new_optimizer() for _ in members]
    )
    rows = MemoryRows(data, [None] * len(members), [], frequencies)
    with progress_bar(draft, 1) as bar:
        callbacks = present(*(draft.callbacks or ()), bar.update if bar else None)
        history = rows.train(members, options, callbacks, draft._threads, draft._optimizers)
    # They were measured with another network.
    draft._held_out = draft._importances = None
    if first:
        set_fitted(draft, members.averaged(), history, best_iteration=0, temperature=1.0)
        draft.evals_result_ = {}
    else:
        draft.network_ = members.averaged()
        draft.n_iter_ += 1
        draft.loss_curve_ = draft.loss_curve_ + history["loss"].tolist()


def _check_data(
    draft: TinyClassifier, X: Any, y: Any, *, reset: bool, classes: npt.ArrayLike | None = None
) -> npt.NDArray[Any]:
    """Checks X and y as scikit-learn does, sets `classes_`, and returns y as an array."""
    check_labels(y)
    if is_frame(X):
        # Not as an array: NumPy makes objects of columns of several types, and refuses some types.
        validate_data(draft, X, reset=reset, skip_check_array=True)
        y = _check_y(y, multi_output=True, estimator=draft)
        check_consistent_length(X, y)
    else:
        X, y = validate_data(
            draft,
            X,
            y,
            reset=reset,
            multi_output=True,
            dtype=None,
            accept_sparse="csr",
            ensure_all_finite="allow-nan",
        )
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    target_type = type_of_target(y)
    if target_type == "multiclass-multioutput":
        raise ValueError(
            "y: expected one class per row or an indicator matrix of 0 and 1, got several classes per row"
        )
    draft._multilabel = target_type == "multilabel-indicator"
    found = np.arange(y.shape[1]) if draft._multilabel else np.unique(y)
    if classes is not None:
        found = np.union1d(np.asarray(classes), found)
    if not reset:
        found = np.union1d(draft.classes_, found)
    draft.classes_ = found
    return np.asarray(y)


def _targets(draft: TinyClassifier, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels (rows,) as class indices; an indicator matrix (rows, labels) in the network's precision."""
    if draft._multilabel:
        return np.asarray(y, dtype=parameters.DTYPES[draft._precision])
    return class_indices(y, draft.classes_)


def _class_frequencies(
    draft: TinyClassifier, y: npt.NDArray[Any], sample_weight: npt.ArrayLike | None
) -> npt.NDArray[np.float64]:
    """The share of rows with each class or label, (n_classes,), which label smoothing mixes in.

    `class_weight` does not count: with equal shares, smoothing would hide rare classes again.
    """
    targets = y if draft._multilabel else class_indices(y, draft.classes_)
    weights = row_weights(y, draft.classes_, sample_weight, None)
    return class_frequencies(targets, len(draft.classes_), weights)


def categorical_indices(draft: TinyClassifier, names: Sequence[str]) -> list[int]:
    """The indices of the columns of `categorical_features` in a table with these names, if it has any."""
    n_columns = len(names) or draft.n_features_in_
    return parameters.categorical_indices(draft.categorical_features, names, n_columns)


def _names(draft: TinyClassifier) -> Sequence[str]:
    """The names of the columns, empty if they have none."""
    return getattr(draft, "feature_names_in_", ())
