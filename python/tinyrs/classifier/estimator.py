"""`TinyClassifier`: a scikit-learn estimator for tables, with defaults that need no tuning."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y, validate_data

from tinyrs._tinyrs import Network, Optimizer
from tinyrs.classifier import parameters
from tinyrs.classifier.data import (
    Dataset,
    Indices,
    check_labels,
    class_indices,
    native_table,
    read_table,
    row_weights,
    train_validation_split,
)
from tinyrs.classifier.draft import draft_of
from tinyrs.classifier.prediction import FittedClassifier
from tinyrs.classifier.recipe import (
    TrainingOptions,
    add_outputs,
    default_epochs,
    initial_network,
    logits,
    new_optimizer,
    train,
)
from tinyrs.history import History, Record
from tinyrs.tabular.preprocessor_fit import fit_preprocessor
from tinyrs.tabular.type_checks import is_frame
from tinyrs.tuning.calibration import divide_logits, fit_temperature
from tinyrs.tuning.epoch_selection import METRICS, BestEpoch, Metric, candidate_epochs, selection_rule
from tinyrs.tuning.sklearn_callbacks import CallbackSupportMixin, EpochTasks, with_callbacks

# precision="auto" is f64 for fewer rows than this.
F32_MIN_ROWS = 200


@dataclass(frozen=True)
class _Rows:
    """The rows that `fit` trains on, and those that it validates on, if any."""

    all: Dataset
    train: Indices
    validation: Dataset | None


class TinyClassifier(CallbackSupportMixin, ClassifierMixin, FittedClassifier):  # type: ignore[misc]  # scikit-learn has no types
    """A small neural network for tables, with defaults that need no tuning.

    Tables may have columns of numbers, booleans, strings and categories, with missing values, and may come
    from NumPy, pandas, polars or pyarrow; SciPy's sparse matrices may hold numbers only. The preprocessing is
    part of the model.

    The recipe is RealMLP-TD-S (Holzmuller, Grinsztajn, Steinwart, "Better by default", NeurIPS 2024): three
    wide layers of SELU in the NTK parametrisation, a high learning rate on the schedule "coslog4", and label
    smoothing. `fit` first trains on a part of the rows and validates on the rest. The validation rows choose
    the epoch to keep and the temperature that calibrates the probabilities (Guo et al. 2017). Then `fit`
    trains again on all rows, up to that epoch.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int
        The sizes of the hidden layers.
    activation : {"selu", "sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "identity"}
        The activation of the hidden layers.
    n_layers, width : int, optional
        The number of hidden layers and the size of each, as scalars for a hyperparameter search. Each
        overrides `hidden_layer_sizes`.
    learning_rate_init : float
        The largest learning rate. In the NTK parametrisation, that of a weight is this number divided by the
        square root of its layer's number of inputs.
    schedule : {"coslog4", "constant", "warmup_cosine", "one_cycle", "flat_cosine"}
        The learning rate schedule.
    batch_size : int
        Rows per step.
    max_iter : int, optional
        The number of epochs. By default 256 for up to 1,000 rows, and half as many for four times the rows.
    alpha : float
        Weight decay, decoupled from the gradient as in AdamW.
    dropout : float
        The probability that a hidden value is dropped in a step.
    label_smoothing : float
        The part of each target that is spread evenly over all classes.
    early_stopping : bool
        Split off validation rows, and keep the latest epoch whose validation accuracy is at most half a
        standard error below the best. With the schedule "coslog4" only the ends of its four cycles and the
        last epoch are candidates. An `eval_set` has the same effect.
    validation_fraction : float
        The part of the rows to validate on. Tables of fewer than 50 rows are not split.
    refit : bool
        After the choice of the epoch, train once more on all rows: from the same initial weights, up to that
        epoch. The fitted attributes, the callbacks and the temperature refer to the first training. There is
        no refit with an `eval_set`, nor with `warm_start`, where the next `fit` must not have seen the
        validation rows.
    n_iter_no_change : int, optional
        Stop after this many epochs without a higher validation accuracy; without validation rows, or for
        `eval_metric="log_loss"`, without a lower loss.
    class_weight : dict or "balanced", optional
        The weight of each class; "balanced" gives all classes the same total weight.
    calibrate : bool
        Divide the logits by a temperature fitted to the validation rows.
    categorical_features : "auto" or list of int or str
        Columns of numbers to treat as categories, by index or name. Columns of strings, objects or
        categories always are.
    precision : {"auto", "f32", "f64"}
        The precision of the network. "auto" is f64 for fewer than 200 rows, where it costs nothing, else f32.
    warm_start : bool
        Continue from the present network, if the new data has the same numbers of features and classes.
    verbose : int
        1 shows a progress bar (needs tqdm).
    callbacks : list of callable, optional
        Each is called with the record of each epoch (see `tinyrs.Network.fit`). Training stops after an epoch
        for which one of them returns True.
    n_threads : int, optional
        The largest number of threads to use. The results have the same bits for any number.
    random_state : int, RandomState or None
        Determines the initial weights, the validation rows, the order of rows and the dropout masks.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : array of shape (n_features_in_,)
        The column names of X, if it had any.
    n_iter_ : int
        The number of epochs before the refit.
    best_iteration_ : int
        The epoch that was kept, counted from 0.
    loss_curve_ : list of float
        The training loss of each epoch.
    validation_scores_ : list of float or None
        The validation accuracy after each epoch; None without validation rows.
    temperature_ : float
        What the logits were divided by.
    coefs_, intercepts_ : list of array
        The weights (inputs, outputs) and biases (outputs,) of each layer. Those of the last layer are already
        divided by the temperature.
    network_ : tinyrs.Network
    preprocessor_ : tinyrs.tabular.preprocessor.Preprocessor or tinyrs.tabular.max_abs_scaler.MaxAbsScaler
    """

    _optimizer: Optimizer | None  # the optimizer of partial_fit, with its moments

    _parameter_constraints = parameters.CONSTRAINTS

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (256, 256, 256),
        activation: str = "selu",
        *,
        n_layers: int | None = None,
        width: int | None = None,
        learning_rate_init: float = 0.04,
        schedule: str = "coslog4",
        batch_size: int = 256,
        max_iter: int | None = None,
        alpha: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.1,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        refit: bool = True,
        n_iter_no_change: int | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        calibrate: bool = True,
        categorical_features: Sequence[int | str] | str = "auto",
        precision: str = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        callbacks: Sequence[Callable[[Record], object]] | None = None,
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.n_layers = n_layers
        self.width = width
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.alpha = alpha
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.refit = refit
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.calibrate = calibrate
        self.categorical_features = categorical_features
        self.precision = precision
        self.warm_start = warm_start
        self.verbose = verbose
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.random_state = random_state

    # Training.

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        *,
        eval_set: tuple[Any, Any] | None = None,
        eval_metric: Metric = "accuracy",
    ) -> TinyClassifier:
        """Fits the preprocessing and the network.

        Parameters
        ----------
        X : array, data frame or CSR matrix of shape (rows, columns)
        y : array of shape (rows,) or (rows, labels)
            The class of each row, or an indicator matrix of 0 and 1 for multilabel classification.
        sample_weight : array of shape (rows,), optional
            The weights of the rows, of which only the ratios matter. Rows of weight 0 are left out.
        eval_set : (X, y), optional
            The rows to validate on, instead of a part of X.
        eval_metric : {"accuracy", "log_loss"} or callable
            What chooses the epoch to keep, on the validation rows: the highest accuracy, the lowest loss, or
            the highest value of `eval_metric(y_true, y_proba)`.

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range, or X, y or the weights are not as described.

        Notes
        -----
        After an exception, KeyboardInterrupt included, the estimator is as it was before the call.
        """
        with draft_of(self) as draft:
            draft._fit(X, y, sample_weight, eval_set, eval_metric)
        return self

    @with_callbacks
    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None,
        eval_set: tuple[Any, Any] | None,
        eval_metric: Metric,
    ) -> None:
        """`fit` on a draft."""
        self._validate_params()
        if not callable(eval_metric) and eval_metric not in METRICS:
            raise ValueError(f"eval_metric: expected one of {METRICS} or a callable, got {eval_metric!r}")
        X = native_table(X)
        y = self._check_data(X, y, reset=True)
        table, rng = read_table(X), check_random_state(self.random_state)
        weights = row_weights(y, self.classes_, sample_weight, self.class_weight)
        if weights is not None and not weights.all():
            counted = np.flatnonzero(weights)
            table, y, weights = table.rows(counted), y[counted], weights[counted]
        if not hasattr(self, "_precision") or not self.warm_start:
            self._set_precision(table.n_rows)
        targets = self._targets(y)
        train_rows, validation_rows = np.arange(table.n_rows), None
        if self.early_stopping and eval_set is None:
            train_rows, validation_rows = train_validation_split(targets, self.validation_fraction, rng)
        if not (self.warm_start and hasattr(self, "network_")):
            # Fitted to the validation rows too: it sees no labels, and the refit must have the same inputs.
            self.preprocessor_ = fit_preprocessor(table, self._categorical_indices(), weights)
        data = Dataset(self._features(self.preprocessor_.encode(table)), targets, weights)
        validation = None
        if eval_set is not None:
            validation = Dataset(
                self._features(self._encode(eval_set[0])), self._targets(np.asarray(eval_set[1]))
            )
        elif validation_rows is not None:
            validation = Dataset(data.features[validation_rows], targets[validation_rows])

        seed = int(rng.randint(2**31 - 1))
        sizes = self._layer_sizes(data)
        continued = (
            self.warm_start and hasattr(self, "network_") and self.network_.layer_sizes == tuple(sizes)
        )
        network = copy.copy(self.network_) if continued else self._initial_network(sizes, seed)
        self._fit_network(network, _Rows(data, train_rows, validation), eval_metric, seed)
        # The moments of an earlier partial_fit belong to another network.
        self._optimizer = None

    def _fit_network(self, network: Network, rows: _Rows, metric: Metric, seed: int) -> None:
        """Trains, chooses the epoch and the temperature, trains again on all rows; sets the attributes."""
        data, validation = rows.all, rows.validation
        epochs = self.max_iter or default_epochs(len(data.targets))
        options, initial_parameters = self._training_options(epochs, seed), network.parameters()
        best_epoch = None
        if validation is not None:
            y_true = validation.targets if self._multilabel else self.classes_[validation.targets]
            best_epoch = BestEpoch(
                network,
                candidate_epochs(self.schedule, epochs),
                selection_rule(
                    metric, y_true, lambda: network.forward(validation.features, n_threads=self.n_threads)
                ),
            )
        tasks = EpochTasks.of(
            self,
            epochs,
            data.features,
            data.targets,
            lambda: {"network_": copy.copy(network), "temperature_": 1.0},
        )
        history = train(
            network,
            new_optimizer(),
            data.rows(rows.train),
            dataclasses.replace(
                options,
                monitor="loss" if validation is None or metric == "log_loss" else "score",
                patience=self.n_iter_no_change,
            ),
            validation=validation,
            callbacks=[*(self.callbacks or ()), *(call for call in (best_epoch, tasks) if call)],
        )
        best, temperature = len(history) - 1, 1.0
        if validation is not None and best_epoch is not None:
            best = best_epoch.restore()
            if self.calibrate:
                temperature = fit_temperature(logits(network, validation.features), validation.targets)
        if self.refit and not self.warm_start and len(rows.train) < len(data.targets):
            # On 14 sets of benchmarks/accuracy.py (38 folds) the refit lowered the mean error on 10 sets and
            # raised it on 3; the mean log loss was 0.294 instead of 0.300.
            network.set_parameters(initial_parameters)
            train(network, new_optimizer(), data, options, callbacks=[lambda record: record["epoch"] == best])
        divide_logits(network, temperature)
        self._set_fitted(network, history, best, temperature)
        if tasks:
            tasks.close()

    def partial_fit(
        self, X: Any, y: Any, classes: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
    ) -> TinyClassifier:
        """Trains for one epoch on these rows, at a tenth of `learning_rate_init`.

        The first call fits the preprocessing and initialises the network; later calls continue from it.

        Parameters
        ----------
        X : array, data frame or CSR matrix of shape (rows, columns)
        y : array of shape (rows,) or (rows, labels)
        classes : array of shape (n_classes,), optional
            Classes that later calls may bring. A class that was not announced is added when it appears.
        sample_weight : array of shape (rows,), optional
        """
        with draft_of(self) as draft:
            draft._partial_fit(X, y, classes, sample_weight)
        return self

    def _partial_fit(
        self, X: Any, y: Any, classes: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None
    ) -> None:
        """`partial_fit` on a draft."""
        first = not hasattr(self, "network_")
        if first:
            self._validate_params()
        known = None if first else self.classes_
        X = native_table(X)
        y = self._check_data(X, y, reset=first, classes=classes)
        table, rng = read_table(X), check_random_state(self.random_state)
        weights = row_weights(y, self.classes_, sample_weight, self.class_weight)
        if first:
            self._set_precision(table.n_rows)
        targets = self._targets(y)
        if first:
            self.preprocessor_ = fit_preprocessor(table, self._categorical_indices())
        data = Dataset(self._features(self.preprocessor_.encode(table)), targets, weights)
        optimizer = None
        if first:
            network = self._initial_network(self._layer_sizes(data), int(rng.randint(2**31 - 1)))
        elif known is not None and len(known) < len(self.classes_):
            indices = np.asarray(np.searchsorted(self.classes_, known))
            network = add_outputs(self.network_, indices, len(self.classes_))
        else:
            network, optimizer = copy.copy(self.network_), copy.copy(self._optimizer)
        options = dataclasses.replace(
            self._training_options(epochs=1, seed=int(rng.randint(2**31 - 1))),
            learning_rate=self.learning_rate_init / 10,
            schedule="constant",
        )
        self._optimizer = optimizer or new_optimizer()
        history = train(network, self._optimizer, data, options, callbacks=self.callbacks or ())
        if first:
            self._set_fitted(network, history, best_iteration=0, temperature=1.0)
        else:
            self.network_ = network
            self.n_iter_ += 1
            self.loss_curve_ = self.loss_curve_ + history["loss"].tolist()

    def _check_data(
        self, X: Any, y: Any, *, reset: bool, classes: npt.ArrayLike | None = None
    ) -> npt.NDArray[Any]:
        """Checks X and y as scikit-learn does, sets `classes_`, and returns y as an array."""
        check_labels(y)
        if is_frame(X):
            # Not as an array: NumPy makes objects of columns of several types, and refuses some types.
            validate_data(self, X, reset=reset, skip_check_array=True)
            y = _check_y(y, multi_output=True, estimator=self)
            check_consistent_length(X, y)
        else:
            X, y = validate_data(
                self,
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
        self._multilabel = target_type == "multilabel-indicator"
        found = np.arange(y.shape[1]) if self._multilabel else np.unique(y)
        if classes is not None:
            found = np.union1d(np.asarray(classes), found)
        if not reset:
            found = np.union1d(self.classes_, found)
        self.classes_ = found
        return np.asarray(y)

    def _targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels (rows,) as class indices; an indicator matrix (rows, labels) in the network's precision."""
        if self._multilabel:
            return np.asarray(y, dtype=parameters.DTYPES[self._precision])
        return class_indices(y, self.classes_)

    def _set_precision(self, n_rows: int) -> None:
        automatic = "f64" if n_rows < F32_MIN_ROWS else "f32"
        self._precision = automatic if self.precision == "auto" else self.precision

    def _categorical_indices(self) -> list[int]:
        names = getattr(self, "feature_names_in_", [])
        return parameters.categorical_indices(self.categorical_features, names, self.n_features_in_)

    def _layer_sizes(self, data: Dataset) -> list[int]:
        """The number of features, the sizes of the hidden layers, and the number of outputs."""
        n_outputs = data.targets.shape[1] if data.targets.ndim == 2 else len(self.classes_)
        hidden = parameters.hidden_sizes(self.hidden_layer_sizes, self.n_layers, self.width)
        return [data.features.shape[1], *hidden, n_outputs]

    def _initial_network(self, sizes: Sequence[int], seed: int) -> Network:
        return initial_network(
            sizes,
            activation=self.activation,
            output_activation="sigmoid" if self._multilabel else "softmax",
            precision=self._precision,
            seed=seed,
        )

    def _training_options(self, epochs: int, seed: int) -> TrainingOptions:
        return TrainingOptions(
            learning_rate=self.learning_rate_init,
            schedule=self.schedule,
            batch_size=self.batch_size,
            epochs=epochs,
            weight_decay=self.alpha,
            dropout=self.dropout,
            label_smoothing=self.label_smoothing,
            seed=seed,
            progress=bool(self.verbose),
            n_threads=self.n_threads,
        )

    def _set_fitted(
        self, network: Network, history: History, best_iteration: int, temperature: float
    ) -> None:
        self.network_ = network
        self.n_iter_, self.best_iteration_, self.temperature_ = len(history), best_iteration, temperature
        self.loss_curve_ = history["loss"].tolist()
        validated = "validation_score" in history.records[0]
        self.validation_scores_ = history["validation_score"].tolist() if validated else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags
