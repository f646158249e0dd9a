"""What `fit` and `partial_fit` do to a draft of a `TinyClassifier`; see `draft.py`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y, validate_data

from tinyrs._tinyrs import Network
from tinyrs.classifier import parameters
from tinyrs.classifier.data import (
    MIN_ROWS_TO_SPLIT,
    Dataset,
    Indices,
    check_labels,
    class_frequencies,
    class_indices,
    native_table,
    read_table,
    row_weights,
    train_validation_split,
)
from tinyrs.classifier.evaluation import Evaluation, EvaluationSet, read_pairs
from tinyrs.classifier.held_out import HeldOut, column_importance
from tinyrs.classifier.recipe import (
    TrainingOptions,
    add_outputs,
    default_epochs,
    initial_network,
    logits,
    new_optimizer,
    train,
)
from tinyrs.history import History, ProgressBar, Record
from tinyrs.tabular.max_abs_scaler import MaxAbsScaler
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.preprocessor_fit import fit_preprocessor
from tinyrs.tabular.type_checks import is_frame
from tinyrs.tuning.calibration import divide_logits, fit_temperature
from tinyrs.tuning.epoch_selection import BestEpoch, candidate_epochs
from tinyrs.tuning.metrics import EpochMetric, Metric, TrueLabels, read_metrics
from tinyrs.tuning.sklearn_callbacks import EpochTasks, with_callbacks

if TYPE_CHECKING:
    from tinyrs.classifier.estimator import TinyClassifier

Callback = Callable[[Record], object]

# precision="auto" is f64 for fewer rows than this.
F32_MIN_ROWS = 200


@dataclass(frozen=True)
class _Rows:
    """The rows that `fit` trains on, and the sets that it evaluates on; it validates on the last one."""

    all: Dataset
    train: Indices
    evaluation: list[EvaluationSet]
    class_frequencies: npt.NDArray[np.float64]


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
        _set_precision(draft, table.n_rows)
    targets = _targets(draft, y)
    train_rows, validation_rows = np.arange(table.n_rows), None
    if draft.early_stopping and not pairs:
        train_rows, validation_rows = train_validation_split(targets, draft.validation_fraction, rng)
    if not (draft.warm_start and hasattr(draft, "network_")):
        # Fitted to the validation rows too: it sees no labels, and the refit must have the same inputs.
        draft.preprocessor_ = fit_preprocessor(table, _categorical_indices(draft), weights)
    encoded = draft.preprocessor_.encode(table)
    data = Dataset(draft._features(encoded), targets, weights)
    sets = [_evaluation_set(draft, *pair) for pair in pairs]
    if validation_rows is not None:
        held_out = data.rows(validation_rows)
        true = TrueLabels(y[validation_rows], held_out.targets, draft.classes_)
        sets = [EvaluationSet(held_out, true, encoded[validation_rows])]
    if draft.importance:
        _check_importance(draft, sets)
    del encoded  # it may be as large as the table

    seed = int(rng.randint(2**31 - 1))
    sizes = _layer_sizes(draft, data)
    continued = draft.warm_start and hasattr(draft, "network_") and draft.network_.layer_sizes == tuple(sizes)
    network = copy.copy(draft.network_) if continued else _initial_network(draft, sizes, seed)
    _fit_network(draft, network, _Rows(data, train_rows, sets, frequencies), metrics, seed)
    # The moments of an earlier partial_fit belong to another network.
    draft._optimizer = None


def _evaluation_set(draft: TinyClassifier, X: Any, y: Any) -> EvaluationSet:
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


def _check_importance(draft: TinyClassifier, sets: list[EvaluationSet]) -> None:
    """Raises ValueError if `importance=True` cannot be measured on the validation rows."""
    if not sets:
        raise ValueError(
            "importance=True: expected validation rows to measure it on, got none: pass an eval_set, or "
            f"early_stopping=True and at least {MIN_ROWS_TO_SPLIT} rows"
        )
    if isinstance(draft.preprocessor_, MaxAbsScaler):
        raise ValueError("importance=True: expected a dense X, got a sparse matrix: pass X.toarray()")


def _fit_network(
    draft: TinyClassifier, network: Network, rows: _Rows, metrics: list[EpochMetric], seed: int
) -> None:
    """Trains, chooses the epoch and the temperature, trains again on all rows; sets the attributes."""
    data, validation = rows.all, rows.evaluation[-1].data if rows.evaluation else None
    epochs = draft.max_iter or default_epochs(len(data.targets))
    options = _training_options(draft, epochs, seed, rows.class_frequencies)
    initial_parameters = network.parameters()
    refit = draft.refit and not draft.warm_start and len(rows.train) < len(data.targets)
    evaluation = best_epoch = None
    if validation is not None:
        evaluation = Evaluation(
            network,
            rows.evaluation,
            metrics,
            draft.n_iter_no_change,
            draft._threads,
            calibrate=draft.calibrate,
        )
        candidates = candidate_epochs(draft.schedule, epochs)
        best_epoch = BestEpoch(network, candidates, evaluation.losses)
    tasks = EpochTasks.of(
        draft,
        epochs,
        data.features,
        data.targets,
        lambda: {"network_": copy.copy(network), "temperature_": 1.0},
    )
    with _progress_bar(draft, epochs * (1 + refit)) as bar:
        shown = [bar.update] if bar else []
        history = train(
            network,
            new_optimizer(),
            data.rows(rows.train),
            # With validation rows, `evaluation` decides when to stop.
            dataclasses.replace(options, patience=None if evaluation else draft.n_iter_no_change),
            validation=validation,
            callbacks=_present(*(draft.callbacks or ()), evaluation, best_epoch, tasks, *shown),
        )
        best, temperature = len(history) - 1, 1.0
        draft._held_out = draft._importances = None
        if validation is not None and best_epoch is not None:
            best = best_epoch.restore()
            if draft.calibrate:
                temperature = fit_temperature(
                    logits(network, validation.features), validation.targets, validation.weights
                )
            calibrated = copy.copy(network)
            divide_logits(calibrated, temperature)
            _measure(draft, calibrated, rows.evaluation[-1], metrics[0], refit)
        if refit:
            # On 14 sets of benchmarks/accuracy.py (38 folds) the refit lowered the mean error on 10 sets and
            # raised it on 3; the mean log loss was 0.294 instead of 0.300.
            network.set_parameters(initial_parameters)
            if bar is not None:
                bar.relabel("refit", best + 1)
            callbacks = [lambda record: record["epoch"] == best, *shown]
            train(network, new_optimizer(), data, options, callbacks=callbacks)
    divide_logits(network, temperature)
    _set_fitted(draft, network, history, best, temperature)
    draft.evals_result_ = evaluation.curves if evaluation is not None else {}
    if tasks is not None:
        tasks.close()


def _measure(
    draft: TinyClassifier, network: Network, rows: EvaluationSet, metric: EpochMetric, refit: bool
) -> None:
    """Sets what the calibrated network says about the rows that it was not trained on."""
    p = network.forward(rows.data.features, n_threads=draft._threads)
    draft._held_out = HeldOut(rows.data.targets, p, refit, rows.encoded)
    if draft.importance and isinstance(draft.preprocessor_, Preprocessor):
        draft._importances = column_importance(
            network, draft.preprocessor_, rows, metric, n_threads=draft._threads
        )


@contextmanager
def _progress_bar(draft: TinyClassifier, epochs: int) -> Iterator[ProgressBar | None]:
    """A progress bar if `verbose` asks for one; closed at the end."""
    if not draft.verbose:
        yield None
        return
    with closing(ProgressBar(epochs)) as bar:
        yield bar


def _present(*callbacks: Callback | None) -> list[Callback]:
    return [callback for callback in callbacks if callback is not None]


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
        _set_precision(draft, table.n_rows)
    targets = _targets(draft, y)
    if first:
        draft.preprocessor_ = fit_preprocessor(table, _categorical_indices(draft))
    data = Dataset(draft._features(draft.preprocessor_.encode(table)), targets, weights)
    optimizer = None
    if first:
        network = _initial_network(draft, _layer_sizes(draft, data), int(rng.randint(2**31 - 1)))
    elif known is not None and len(known) < len(draft.classes_):
        indices = np.asarray(np.searchsorted(draft.classes_, known))
        network = add_outputs(draft.network_, indices, len(draft.classes_))
    else:
        network, optimizer = copy.copy(draft.network_), copy.copy(draft._optimizer)
    frequencies = _class_frequencies(draft, y, sample_weight)
    options = dataclasses.replace(
        _training_options(draft, 1, int(rng.randint(2**31 - 1)), frequencies),
        learning_rate=draft.learning_rate_init / 10,
        schedule="constant",
    )
    draft._optimizer = optimizer or new_optimizer()
    with _progress_bar(draft, 1) as bar:
        callbacks = _present(*(draft.callbacks or ()), bar.update if bar else None)
        history = train(network, draft._optimizer, data, options, callbacks=callbacks)
    # They were measured with another network.
    draft._held_out = draft._importances = None
    if first:
        _set_fitted(draft, network, history, best_iteration=0, temperature=1.0)
        draft.evals_result_ = {}
    else:
        draft.network_ = network
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


def _set_precision(draft: TinyClassifier, n_rows: int) -> None:
    automatic = "f64" if n_rows < F32_MIN_ROWS else "f32"
    draft._precision = automatic if draft.precision == "auto" else draft.precision


def _categorical_indices(draft: TinyClassifier) -> list[int]:
    names = getattr(draft, "feature_names_in_", [])
    return parameters.categorical_indices(draft.categorical_features, names, draft.n_features_in_)


def _layer_sizes(draft: TinyClassifier, data: Dataset) -> list[int]:
    """The number of features, the sizes of the hidden layers, and the number of outputs."""
    n_outputs = data.targets.shape[1] if data.targets.ndim == 2 else len(draft.classes_)
    hidden = parameters.hidden_sizes(draft.hidden_layer_sizes, draft.n_layers, draft.width)
    return [data.features.shape[1], *hidden, n_outputs]


def _initial_network(draft: TinyClassifier, sizes: Sequence[int], seed: int) -> Network:
    return initial_network(
        sizes,
        activation=draft.activation,
        output_activation="sigmoid" if draft._multilabel else "softmax",
        precision=draft._precision,
        seed=seed,
    )


def _training_options(
    draft: TinyClassifier, epochs: int, seed: int, frequencies: npt.NDArray[np.float64]
) -> TrainingOptions:
    return TrainingOptions(
        learning_rate=draft.learning_rate_init,
        schedule=draft.schedule,
        batch_size=draft.batch_size,
        epochs=epochs,
        weight_decay=draft.alpha,
        dropout=draft.dropout,
        label_smoothing=draft.label_smoothing,
        smoothing_prior=frequencies.tolist(),
        seed=seed,
        n_threads=draft._threads,
    )


def _set_fitted(
    draft: TinyClassifier, network: Network, history: History, best_iteration: int, temperature: float
) -> None:
    draft.network_ = network
    draft.n_iter_, draft.best_iteration_, draft.temperature_ = len(history), best_iteration, temperature
    draft.loss_curve_ = history["loss"].tolist()
    validated = "validation_score" in history.records[0]
    draft.validation_scores_ = history["validation_score"].tolist() if validated else None
