"""What a fitted `TinyClassifier` does: predictions, export, pickling."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from tinyrs._tinyrs import Network
from tinyrs.classifier import estimator_file, plots
from tinyrs.classifier.data import Floats, class_indices, native_table
from tinyrs.classifier.held_out import HeldOut, reliability
from tinyrs.classifier.parameters import largest_threads
from tinyrs.classifier.recipe import logits
from tinyrs.classifier.summary import summary
from tinyrs.files import model_file
from tinyrs.predictor import Predictor, loads
from tinyrs.tabular.max_abs_scaler import MaxAbsScaler
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.shift import ShiftCheck, shift_check
from tinyrs.tabular.type_checks import is_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class FittedClassifier(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The methods of `TinyClassifier` that use the fitted network."""

    # Set by `fit`.
    classes_: npt.NDArray[Any]
    network_: Network
    preprocessor_: Preprocessor | MaxAbsScaler
    n_features_in_: int
    n_iter_: int
    best_iteration_: int
    temperature_: float
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    evals_result_: dict[str, dict[str, list[float]]]
    _multilabel: bool
    _precision: str

    # Set by `fit` if it measures them.
    _held_out: HeldOut | None = None
    _importances: npt.NDArray[np.float64] | None = None

    n_threads: int | None
    n_jobs: int | None

    @property
    def _threads(self) -> int | None:
        return largest_threads(self.n_threads, self.n_jobs)

    def _encode(self, X: Any) -> npt.NDArray[Any]:
        """Checks X and returns it as numbers (rows, columns), with categories as codes."""
        X = native_table(X)
        if is_frame(X):
            # Checks the column names only: the conversion to an array would copy all values as objects.
            validate_data(self, X, reset=False, skip_check_array=True)
            return self.preprocessor_.encode(X)
        X = validate_data(
            self, X, reset=False, dtype=None, accept_sparse="csr", ensure_all_finite="allow-nan"
        )
        return self.preprocessor_.encode(X)

    def _shift_check(self) -> ShiftCheck | None:
        """What warns of columns unlike those of the training rows; None for a model of sparse matrices."""
        if not isinstance(self.preprocessor_, Preprocessor):
            return None
        names = getattr(self, "feature_names_in_", None)
        return shift_check(self.preprocessor_, None if names is None else tuple(names))

    def _checked_features(self, X: Any) -> Floats:
        """The inputs of the network for X, with a DataShiftWarning for each column unlike training."""
        encoded, check = self._encode(X), self._shift_check()
        if check is not None:
            check.warn_of(encoded)
        return self._features(encoded)

    def _features(self, encoded: npt.NDArray[Any]) -> Floats:
        """Encoded rows (rows, columns) as the inputs of the network (rows, features)."""
        return self.preprocessor_.transform(encoded, self._precision)

    def predict_proba(self, X: Any) -> Floats:
        """The probability of each class, in the order of `classes_`; in multilabel models, of each label.

        Parameters
        ----------
        X : array, data frame or CSR matrix of shape (rows, columns)

        Returns
        -------
        array of shape (rows, n_classes)
        """
        check_is_fitted(self, "network_")
        encoded, check = self._encode(X), self._shift_check()
        if isinstance(self.preprocessor_, MaxAbsScaler) or check is None:
            return self.preprocessor_.forward(self.network_, encoded, self._threads)
        return self.preprocessor_.forward(self.network_, encoded, self._threads, check.columns)

    def predict_log_proba(self, X: Any) -> Floats:
        """The logarithm of `predict_proba`, from the logits, so that small probabilities do not underflow."""
        check_is_fitted(self, "network_")
        z = logits(self.network_, self._checked_features(X), self._threads)
        if self._multilabel:
            return np.asarray(-np.logaddexp(0, -z))
        z = z - z.max(axis=1, keepdims=True)
        return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))

    def decision_function(self, X: Any) -> Floats:
        """The logits, of shape (rows, n_classes); for two classes their difference, of shape (rows,)."""
        check_is_fitted(self, "network_")
        z = logits(self.network_, self._checked_features(X), self._threads)
        return z[:, 1] - z[:, 0] if len(self.classes_) == 2 and not self._multilabel else z

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each row, (rows,); in multilabel models the indicator matrix."""
        p = self.predict_proba(X)
        if self._multilabel:
            return (p > 0.5).astype(int)
        best: npt.NDArray[Any] = self.classes_[p.argmax(axis=1)]
        return best

    def predictor(
        self, *, quantize: str | Sequence[str] | None = None, max_drop: float | None = None
    ) -> Predictor:
        """An immutable copy of the model for deployment, which needs NumPy only; see `tinyrs.Predictor`.

        Parameters
        ----------
        quantize : {"f16", "bf16", "int8", "int8_weights"} or sequence of str, optional
            The format of the weights, as in `Predictor.quantize`. What it costs is measured on the rows that
            `fit` validated on, unless the classifier was unpickled, loaded or trained by `partial_fit` since.
            If `fit` trained on them again (`refit`), accuracies are too high, but their difference counts.
        max_drop : float, optional
            The largest loss of accuracy to accept, as in `Predictor.quantize`.
        """
        check_is_fitted(self, "network_")
        training = {
            "n_iter": self.n_iter_,
            "best_iteration": self.best_iteration_,
            "loss_curve": self.loss_curve_,
            "validation_scores": self.validation_scores_,
            "temperature": self.temperature_,
        }
        network, preprocessor = self.network_, self.preprocessor_
        predictor = Predictor(
            preprocessor.fold_into(network) if isinstance(preprocessor, MaxAbsScaler) else network,
            preprocessor if isinstance(preprocessor, Preprocessor) else None,
            self.classes_,
            multilabel=self._multilabel,
            feature_names=getattr(self, "feature_names_in_", None),
            training=training,
        )
        if quantize is None:
            return predictor
        held_out = self._held_out
        if held_out is None or held_out.encoded is None:
            return predictor._quantize_encoded(quantize, max_drop=max_drop)
        return predictor._quantize_encoded(quantize, held_out.encoded, held_out.targets, max_drop)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the classifier to a safetensors file; an interrupted write leaves an existing file intact.

        `TinyClassifier.load` reads it as an estimator, `tinyrs.load` as a `Predictor` for deployment. The
        parameters `callbacks` and `random_state` are kept only if they are None or a number. Without the
        parameters: ``predictor().save(path)``.

        Raises
        ------
        ValueError
            If a model file cannot hold the type of the class labels.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self, "network_")
        model_file.write(path, estimator_file.to_bytes(self))

    # What is known of the fitted model.

    def summary(self) -> str:
        """Columns and their kinds, layers, size, training, and metrics of held-out rows, as text.

        The metrics are those of the validation rows, before the refit, with 95 % confidence intervals. The
        same rows chose the epoch and the temperature, so they are slightly optimistic.
        """
        check_is_fitted(self, "network_")
        return summary(self)

    def plot_loss(self, *, ax: Axes | None = None) -> Axes:
        """Plots the training loss, and the validation loss, over the epochs; needs matplotlib.

        The validation loss of each evaluation set is there if "log_loss" is in the `eval_metric` of `fit`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to plot; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        check_is_fitted(self, "network_")
        validation = {
            f"{name} {metric}": curve
            for name, curves in self.evals_result_.items()
            for metric, curve in curves.items()
            if metric in ("log_loss", "loss")
        }
        return plots.loss(self.loss_curve_, validation, self.best_iteration_, ax)

    def plot_importance(self, *, max_columns: int = 20, ax: Axes | None = None) -> Axes:
        """Plots `feature_importances_` of the most important columns; needs matplotlib.

        Parameters
        ----------
        max_columns : int
        ax : matplotlib.axes.Axes, optional
            Where to plot; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        AttributeError
            If `fit` was called without ``importance=True``.
        """
        importances = self.feature_importances_
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(len(importances))])
        return plots.importance(names, importances, max_columns, ax)

    def plot_calibration(self, X: Any = None, y: Any = None, *, ax: Axes | None = None) -> Axes:
        """Plots how often predictions of each probability are right; needs matplotlib.

        Parameters
        ----------
        X : array, data frame or CSR matrix of shape (rows, columns), optional
        y : array of shape (rows,) or (rows, labels), optional
            The rows to predict and their classes. By default those that `fit` held out, which `save` does not
            keep.
        ax : matplotlib.axes.Axes, optional
            Where to plot; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            If there are no held-out rows, if only one of `X` and `y` is given, or if a label is not one of
            `classes_`.
        """
        check_is_fitted(self, "network_")
        if (X is None) != (y is None):
            raise ValueError("plot_calibration: expected both X and y, or none of them")
        if X is not None:
            p, labels = self.predict_proba(X), np.asarray(y)
            check_consistent_length(p, labels)
            targets = labels if self._multilabel else class_indices(column_or_1d(labels), self.classes_)
        elif self._held_out is not None:
            p, targets = self._held_out.probabilities, self._held_out.targets
        else:
            raise ValueError("plot_calibration: the model has no held-out rows: pass X and y")
        return plots.calibration(reliability(targets, p), ax)

    def to_onnx(self, path: str | os.PathLike[str], *, inputs: str = "auto") -> None:
        """Writes the predictor as an ONNX model; see `tinyrs.Predictor.to_onnx`."""
        self.predictor().to_onnx(path, inputs=inputs)

    def to_c(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        """Writes the predictor as a C99 header; see `tinyrs.Predictor.to_c`."""
        self.predictor().to_c(path, name=name)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if state.get("_held_out") is not None:
            # No rows leave the process.
            state["_held_out"] = replace(state["_held_out"], encoded=None)
        if "network_" in state:
            # Network and preprocessor as the bytes of a model file. The true classes stay in the state,
            # because a model file cannot hold classes of every type.
            network, preprocessor = state.pop("network_"), None
            if isinstance(self.preprocessor_, Preprocessor):
                preprocessor = state.pop("preprocessor_")
            placeholders = np.arange(network.layer_sizes[-1])
            state["_model"] = Predictor(network, preprocessor, placeholders).to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "_model" in state:
            predictor = loads(state.pop("_model"))
            assert isinstance(predictor, Predictor)
            state["network_"] = predictor.network
            state.setdefault("preprocessor_", predictor.preprocessor)
        super().__setstate__(state)

    @property
    def feature_importances_(self) -> npt.NDArray[np.float64]:
        check_is_fitted(self, "network_")
        if self._importances is None:
            raise AttributeError(
                "feature_importances_: expected a classifier fitted with importance=True, got one without"
            )
        return self._importances

    @property
    def coefs_(self) -> list[Floats]:
        return [weight.T for weight, _ in self._parameters("coefs_")]

    @property
    def intercepts_(self) -> list[Floats]:
        return [bias for _, bias in self._parameters("intercepts_")]

    def _parameters(self, attribute: str) -> list[tuple[Floats, Floats]]:
        if len(self.network_.members) > 1:
            raise AttributeError(f"{attribute}: expected a single network, got several: see network_.members")
        return self.network_.parameters()
