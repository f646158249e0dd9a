"""`TinyClassifier`: a scikit-learn estimator for tables, with defaults that need no tuning."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin

from tinyrs._tinyrs import Optimizer
from tinyrs.classifier import estimator_file, fitting, parameters, streaming
from tinyrs.classifier.draft import draft_of
from tinyrs.classifier.memory_plan import RowCost
from tinyrs.classifier.prediction import FittedClassifier
from tinyrs.history import Record
from tinyrs.tabular.row_source import RowSource, is_row_source
from tinyrs.tuning.metrics import Metric
from tinyrs.tuning.sklearn_callbacks import CallbackSupportMixin


class TinyClassifier(CallbackSupportMixin, ClassifierMixin, FittedClassifier):  # type: ignore[misc]  # scikit-learn has no types
    """A small neural network for tables, with defaults that need no tuning.

    Tables may have columns of numbers, booleans, strings and categories, with missing values, and may come
    from NumPy, pandas, polars or pyarrow; SciPy's sparse matrices may hold numbers only. The preprocessing is
    part of the model.

    The model is the mean of four small networks. Each is trained by a recipe that is close to RealMLP
    (Holzmuller, Grinsztajn, Steinwart, "Better by default", NeurIPS 2024): three hidden layers of SELU in the
    NTK parametrisation, a high learning rate on the schedule "coslog4", label smoothing, and dropout if there
    are few rows. Every second network has a numeric embedding. Each holds out another quarter of the rows, or
    a tenth of large tables. What they predict for held-out rows chooses the epoch to keep and the temperature
    that calibrates the probabilities (Guo et al. 2017).

    Parameters
    ----------
    hidden_layer_sizes : tuple of int
        The sizes of the hidden layers.
    activation : {"selu", "sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "identity"}
        The activation of the hidden layers.
    n_ensemble : int
        The number of networks to train, whose probabilities are averaged: more take more time, memory and
        space. Each of several holds out other rows, and what they predict for these chooses one epoch and
        one temperature. There is no refit, because each row already trains all networks or all but one.
        They are trained side by side, and a callback is shown the means over them. A single network is first
        trained on a part of the rows, and then on all; see `refit`.
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
        The number of epochs. By default 256 for up to 2,000 rows, and half as many for four times the rows.
    alpha : float
        Weight decay, decoupled from the gradient as in AdamW.
    dropout : float or "auto"
        The probability that a hidden value is dropped in a step. "auto" is 0.15 for `fit` with up to 2,000
        rows, and 0 for more rows and for `partial_fit`. With dropout, a row of weight 2 differs from two
        equal rows, which lose different values.
    label_smoothing : float
        The part of each target that the frequencies of the classes in the training rows replace. An even
        spread over the classes would hide what separates a rare class from the others.
    early_stopping : bool
        Split off validation rows, and keep the latest epoch whose log loss on them, after calibration, is at
        most half a standard error above the lowest. With the schedule "coslog4" only the ends of its four
        cycles and the last epoch are candidates, and training stops at the end of a cycle that is more than a
        standard error worse than the best. An `eval_set` has the same effect.
    validation_fraction : float
        The part of the rows to validate on, if `n_ensemble` is 1. Tables of fewer than 50 rows are not split.
    refit : bool
        After the choice of the epoch, train once more on all rows: from the same initial weights, up to that
        epoch. The fitted attributes, the callbacks and the temperature refer to the first training. There is
        no refit with an `eval_set`, if fewer than one row in 20 were held out, with several networks, nor
        with `warm_start`, where the next `fit` must not have seen the validation rows.
    max_time : float, optional
        The seconds after which `fit` should have ended. Then training stops, and the best epoch so far is
        kept; the refit is left out if it would take too long. The model depends on the speed of the machine
        if this happens.
    n_iter_no_change : int, optional
        Stop after this many epochs in which the first `eval_metric` did not improve on the validation rows;
        without validation rows, after this many epochs without a lower training loss.
    class_weight : dict or "balanced", optional
        The weight of each class; "balanced" gives all classes the same total weight.
    calibrate : bool
        Divide the logits by a temperature fitted to the validation rows.
    categorical_features : "auto" or list of int or str
        Columns of numbers to treat as categories, by index or name. Columns of strings, objects or
        categories always are.
    numeric_embedding : {"auto", "pbld"} or None
        A trained layer that appends to each number three sums of sixteen cosines of it, as in RealMLP. It
        helps where the effect of a number goes up and down. With "pbld", all networks have it, which is an
        error for sparse matrices. With "auto", every second one has it: networks that differ in this are
        better together, see BENCHMARKING.md. With "auto", a single network has none, and no network has one
        for a sparse matrix or for more than 100 features that are numbers.
    precision : {"auto", "f32", "f64"}
        The precision of the network. "auto" is f64 for fewer than 200 rows, where it costs nothing, else f32.
    warm_start : bool
        Continue from the present network, if the new data has the same numbers of features and classes.
    verbose : int
        1 shows a progress bar for the training and the refit (needs tqdm).
    callbacks : list of callable, optional
        Each is called with the record of each epoch (see `tinyrs.Network.fit`). Training stops after an epoch
        for which one of them returns True.
    importance : bool
        Measure the columns during `fit`, for `feature_importances_`: takes five predictions of up to 5,000
        validation rows a column. Not for sparse matrices.
    n_threads : int, optional
        The largest number of threads to use; by default all that `tinyrs.get_num_threads` allows. The results
        have the same bits for any number.
    n_jobs : int, optional
        An alias of `n_threads` with scikit-learn's meaning of negative numbers: -1 is all, -2 all but one.
        None is not 1, but the default of `n_threads`.
    random_state : int, RandomState or None
        Determines the initial weights, the validation rows, the order of rows and the dropout masks.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : array of shape (`n_features_in_`,)
        The column names of X, if it had any.
    n_iter_ : int
        The number of epochs before the refit.
    best_iteration_ : int
        The epoch that was kept, counted from 0.
    loss_curve_ : list of float
        The training loss of each epoch.
    validation_scores_ : list of float or None
        The validation accuracy after each epoch; None without validation rows.
    evals_result_ : dict
        ``evals_result_["valid_0"]["auc"]`` is the list of the values of this `eval_metric` on the first set
        after each epoch, and so on. "valid_0" is also the part that `fit` held out. Empty without validation
        rows.
    temperature_ : float
        What the logits were divided by.
    feature_importances_ : array of shape (`n_features_in_`,)
        How much worse the first `eval_metric` gets on the validation rows when the values of a column are
        shuffled (permutation importance, mean of five shuffles), before the refit; 0 if it does not get
        worse. The values do not sum to 1. Columns that carry the same information can all be near 0. Only
        after `fit` with ``importance=True``.
    coefs_, intercepts_ : list of array
        The weights (inputs, outputs) and biases (outputs,) of each layer; before them those of the two layers
        of a `numeric_embedding`. Those of the last layer are already divided by the temperature. If there are
        several networks, see ``network_.members``.
    network_ : tinyrs.Network
    preprocessor_ : tinyrs.tabular.preprocessor.Preprocessor or tinyrs.tabular.max_abs_scaler.MaxAbsScaler

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = TinyClassifier(max_iter=32, random_state=0).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    >>> clf.predict_proba(X[:3]).shape
    (3, 3)
    """

    _optimizers: list[Optimizer] | None  # those of partial_fit for each network, with their moments

    _parameter_constraints = parameters.CONSTRAINTS

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 64, 64),
        activation: str = "selu",
        *,
        n_ensemble: int = 4,
        n_layers: int | None = None,
        width: int | None = None,
        learning_rate_init: float = 0.04,
        schedule: str = "coslog4",
        batch_size: int = 256,
        max_iter: int | None = None,
        alpha: float = 0.0,
        dropout: float | str = "auto",
        label_smoothing: float = 0.1,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        refit: bool = True,
        max_time: float | None = None,
        n_iter_no_change: int | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        calibrate: bool = True,
        categorical_features: Sequence[int | str] | str = "auto",
        numeric_embedding: str | None = "auto",
        precision: str = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        callbacks: Sequence[Callable[[Record], object]] | None = None,
        importance: bool = False,
        n_threads: int | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.n_ensemble = n_ensemble
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
        self.max_time = max_time
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.calibrate = calibrate
        self.categorical_features = categorical_features
        self.numeric_embedding = numeric_embedding
        self.precision = precision
        self.warm_start = warm_start
        self.verbose = verbose
        self.callbacks = callbacks
        self.importance = importance
        self.n_threads = n_threads
        self.n_jobs = n_jobs
        self.random_state = random_state

    # Training.

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | str | None = None,
        *,
        eval_set: tuple[Any, Any] | list[tuple[Any, Any]] | None = None,
        eval_metric: Metric | Sequence[Metric] = "log_loss",
        max_memory: int = 2_000_000_000,
    ) -> TinyClassifier:
        """Fits the preprocessing and the network.

        Parameters
        ----------
        X : array, data frame or CSR matrix of shape (rows, columns); or path, dataset or callable
            A path is that of a Parquet file or of a folder of them, a dataset one of pyarrow. A callable
            takes no arguments and returns a fresh reader, with `__arrow_c_stream__`, of the same rows in the
            same order. See the notes.
        y : array of shape (rows,) or (rows, labels), or str
            The class of each row, or an indicator matrix of 0 and 1 for multilabel classification. With a
            path, dataset or callable, the name of the column of classes.
        sample_weight : array of shape (rows,) or str, optional
            The weights of the rows, of which only the ratios matter, or with a path, dataset or callable the
            name of their column. Rows of weight 0 are left out.
        eval_set : tuple (X, y) or list of such tuples, optional
            The rows to validate on, instead of a part of X. Of several sets, the last one chooses the epoch
            to keep and the temperature; the others are only measured.
        eval_metric : str, callable, or list of them
            What is measured on each set after each epoch, and kept in `evals_result_`. The first one chooses
            the epoch to keep; "log_loss" and "accuracy" count each row by its weight for this, and prefer a
            later epoch within half a standard error of the best. Expected are

            - "accuracy"; "log_loss" (or "loss"), where lower is better;
            - "auc", "average_precision": the mean over the classes, each against the others; of two classes,
              only of the second;
            - "balanced_accuracy": the mean recall of the classes;
            - "f1": of the second of two classes, otherwise the mean over the classes;
            - the name of a scikit-learn scorer, which is shown class indices as labels, or a scorer made by
              `make_scorer`;
            - a function of (y_true, y_proba) whose higher values are better.
        max_memory : int
            The bytes that the rows of a path, dataset or callable may take, in all forms that they have
            during the training.

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range, or X, y, the weights, `eval_set` or `eval_metric` are not as
            described. Of a path, dataset or callable, also if its rows change from one reading to the next.
        OSError
            If a file cannot be read.

        Notes
        -----
        After an exception, KeyboardInterrupt included, the estimator is as it was before the call.

        The rows of a path, dataset or callable are loaded if `max_memory` is enough to train on them. If not,
        they are read once for the statistics of the columns, and again in each epoch: the row groups of
        Parquet from all over the dataset, several in turns, in a new order, and mixed within the rows that a
        quarter of `max_memory` holds. For this, large row groups are divided into up to eight slices, and
        decoded for each; at least one is in memory. The rows of a callable should come in random order.

        The validation rows are chosen by the hashes of their row numbers. Their number is that of a table in
        memory, or what fits in an eighth of `max_memory` if that is less. The quartiles that numbers are
        scaled by come from a random sample of up to 524,288 rows; minima, maxima, missing values and the
        frequencies of up to 65,536 categories a column are exact.
        """
        with draft_of(self) as draft:
            if is_row_source(X, y):
                source = X if isinstance(X, RowSource) else RowSource(X, y, sample_weight)
                loaded = streaming.load_if_small(draft, source, max_memory)
                if isinstance(loaded, RowCost):
                    streaming.fit(draft, source, eval_set, eval_metric, max_memory, loaded)
                    return self
                X, y, sample_weight = loaded.columns, loaded.labels, loaded.weights
            fitting.fit(draft, X, y, sample_weight, eval_set, eval_metric)
        return self

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
            fitting.partial_fit(draft, X, y, classes, sample_weight)
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TinyClassifier:
        """Reads a fitted classifier from a file that `save` wrote.

        It predicts as the saved one did. `partial_fit` and `warm_start` continue from it, with new moments of
        the optimizer. `tinyrs.load` reads the same file as a `Predictor`, which needs NumPy only. It is
        safe to load a file from an untrusted source, as in `tinyrs.load`.

        Raises
        ------
        ValueError
            If the file is damaged, or was not written by `save` of a classifier.
        OSError
            If the file cannot be read.
        """
        values, fitted = estimator_file.read(path)
        try:
            estimator = cls(**values)
            estimator._validate_params()
            parameters.hidden_sizes(estimator.hidden_layer_sizes, estimator.n_layers, estimator.width)
        except (TypeError, ValueError) as error:
            raise ValueError(f"model file: model.estimator.parameters: {error}") from None
        estimator.__dict__.update(fitted)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags
