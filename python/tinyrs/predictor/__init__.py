"""`Predictor`, a trained classifier for deployment, and `load`, which reads one from a file.

`base.py` has the parts of the model, and how tables become arrays of numbers. The other files have methods of
`Predictor`: those that return tables (`tables.py`), that say something about predictions (`analyses.py`), and
that make other forms of the model (`conversions.py`).
"""

from __future__ import annotations

from tinyrs._tinyrs import Network
from tinyrs.files import model_file, predictor_file
from tinyrs.files.class_labels import ClassLabels
from tinyrs.files.model_file import refuse
from tinyrs.files.predictor_file import PredictorState
from tinyrs.predictor.analyses import Analyses
from tinyrs.predictor.conversions import Conversions
from tinyrs.predictor.tables import TablePredictions
from tinyrs.tabular.column_names import check_columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs.files.model_file import Fields, Tensors
else:
    from tinyrs._lazy import np


class Predictor(TablePredictions, Analyses, Conversions):
    """A trained classifier for deployment: preprocessing, network, calibration and class labels.

    `TinyClassifier.predictor`, `tinyrs.load` and the `from_...` functions make one. It is immutable, several
    threads may use it at once, and it needs NumPy only (and narwhals for data frames). `tinyrs.load`,
    `predict_one` and `predict_proba_one` do not even import NumPy.

    Parameters
    ----------
    network : Network
    preprocessor : Preprocessor or None
        None if the columns are the inputs of the network.
    classes : array of shape (n_classes,)
        The label of each network output.
    multilabel : bool
    feature_names : sequence of str, optional
    training : mapping, optional
    quantization : mapping, optional

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    n_features_in_ : int
        The number of columns of the table.
    feature_names_in_ : tuple of str or None
        The column names, if there were any in training.
    multilabel : bool
        Whether a row may have several labels.
    training : dict
        Facts about the training, for example "n_iter" and "loss_curve".
    quantization : dict or None
        How `quantize` stored the weights, and what it cost: "weights", "layers", and what was measured on
        "rows" rows: "largest_difference" of probabilities, "labels_changed" (a share), and "accuracy",
        "log_loss", "accuracy_before" and "log_loss_before". None for a network of full precision.
    network : Network
        A copy of the network.
    preprocessor : Preprocessor or None
        How columns become the inputs of the network; None if they are the inputs and must be numbers.
    """

    def predict_proba(
        self,
        X: Any,
        *,
        out: npt.NDArray[Any] | None = None,
        n_threads: int | None = None,
        extra_columns: str = "ignore",
    ) -> npt.NDArray[Any]:
        """The probability of each class, in the order of `classes_`; in multilabel models, of each label.

        Parameters
        ----------
        X : array of shape (columns,) or (rows, columns), data frame, list, dict, or sparse matrix
            One row or several, with NaN or None for missing values. A data frame is one of pandas or polars,
            also a lazy one, a dataset of pyarrow, or an object with Arrow's `__arrow_c_stream__` or
            `__arrow_c_array__`: a table, record batch or reader of pyarrow, a relation of DuckDB, a data
            frame of Daft. A list holds the values of one row in the order of the columns, or rows,
            each a list or a dict. The columns of data frames and dicts are matched by name.
        out : array of shape (n_classes,) or (rows, n_classes), optional
            The array to write the result to: contiguous, in the precision of the network.
        n_threads : int, optional
            The largest number of threads to use; see `tinyrs.get_num_threads`. Small inputs use one thread.
        extra_columns : {"ignore", "error"}
            What to do with columns of a data frame or keys of a dict that the model does not use.

        Returns
        -------
        array of shape (n_classes,) or (rows, n_classes)

        Raises
        ------
        ValueError, TypeError
            If a column of the training set is missing, or a value that should be a number is not one or is
            infinite.
        """
        # Arrays of floats need no conversion.
        if not (self._numbers_only and type(X) is np.ndarray and X.dtype.kind == "f"):
            X = self._encode(X, extra_columns)
        return self._probabilities(X, out, n_threads, self._check)

    def predict(self, X: Any, *, n_threads: int | None = None, extra_columns: str = "ignore") -> Any:
        """The most probable class of each row, (rows,), or of the one row; in multilabel models the indicator
        matrix. The arguments are as in `predict_proba`."""
        p = self.predict_proba(X, n_threads=n_threads, extra_columns=extra_columns)
        labels: npt.NDArray[Any] = p > 0.5 if self.multilabel else self.classes_[p.argmax(axis=-1)]
        return labels.astype(int) if self.multilabel else labels

    def predict_proba_one(
        self, X: Mapping[str, Any] | Iterable[Any], *, extra_columns: str = "ignore"
    ) -> dict[Any, float]:
        """The probabilities of `predict_proba` for one row of Python values, without NumPy.

        Parameters
        ----------
        X : mapping or iterable
            One value per column: by column name, or in the order of the columns. NaN or None for a missing
            value.
        extra_columns : {"ignore", "error"}
            What to do with keys of a mapping that the model does not use.

        Returns
        -------
        dict of label to float

        Raises
        ------
        ValueError, TypeError
            If a column of the training set is missing, or a value that should be a number is not one or is
            infinite.
        """
        if self._numbers_only and extra_columns == "ignore":
            try:
                return self._row_predictor.predict_proba(X)
            except (TypeError, ValueError):
                pass
        p: dict[Any, float] = self._predict_values(self._row_predictor.predict_proba, X, extra_columns)
        return p

    def predict_one(self, X: Mapping[str, Any] | Iterable[Any], *, extra_columns: str = "ignore") -> Any:
        """The most probable class of one row; in multilabel models the list of labels with probabilities
        above 0.5. The arguments are as in `predict_proba_one`."""
        if self._numbers_only and extra_columns == "ignore":
            try:
                return self._row_predictor.predict(X)
            except (TypeError, ValueError):  # not a list, tuple or dict, or a value is not a finite number
                pass
        return self._predict_values(self._row_predictor.predict, X, extra_columns)

    def _predict_values(self, predict: Callable[[Any], Any], X: Any, extra_columns: str) -> Any:
        """`predict` for a row of any values; raises ValueError and TypeError with the name of the column."""
        row = self._in_column_order(X, extra_columns) if hasattr(X, "keys") else _as_list(X)
        if not self._numbers_only:
            assert self.preprocessor is not None
            row = self.preprocessor.encode_one(row, self.feature_names_in_)
        try:
            return predict(row)
        except (TypeError, ValueError):  # a value is pandas.NA, text, not a number, or infinite
            pass
        return predict(self._numbers_one(row))

    def _in_column_order(self, X: Any, extra_columns: str) -> list[Any]:
        """The values of a mapping in the order of the columns."""
        names = self.feature_names_in_
        if names is None:
            got = type(X).__name__
            raise TypeError(f"X: expected a sequence, since the columns have no names, got a {got}")
        if extra_columns != "ignore":
            check_columns(list(X.keys()), names, extra_columns)
        try:
            return [X[name] for name in names]
        except KeyError:
            check_columns(list(X.keys()), names)
            raise

    def verify(self) -> float:
        """The largest difference between outputs computed now and those stored in the model file.

        The file holds the outputs of a few rows as the machine that saved the model computed them. 0 for a
        predictor that was not loaded from a file.
        """
        if self._self_test is None:
            return 0.0
        rows, outputs = map(np.asarray, self._self_test)
        return float(np.abs(self._probabilities(rows) - outputs).max())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the predictor to a safetensors file, which `tinyrs.load` reads.

        Raises
        ------
        OSError
            If the file cannot be written; an existing file stays as it was.
        """
        model_file.write(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The bytes of the model file: the same for the same predictor."""
        return predictor_file.to_bytes(self._state())

    def _state(self) -> PredictorState:
        return PredictorState(
            self._network,
            self.preprocessor,
            self._stored_labels or ClassLabels.of(self.classes_),
            multilabel=self.multilabel,
            feature_names=self.feature_names_in_,
            training=self.training,
            quantization=self.quantization,
        )

    @classmethod
    def _from_state(cls, state: PredictorState) -> Predictor:
        predictor = cls(
            state.network,
            state.preprocessor,
            state.classes,
            multilabel=state.multilabel,
            feature_names=state.feature_names,
            training=state.training,
            quantization=state.quantization,
        )
        predictor._self_test = state.self_test
        return predictor

    def __reduce__(self) -> tuple[Any, ...]:
        return loads, (self.to_bytes(),)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self._network.layer_sizes))
        return (
            f"<tinyrs.Predictor of {len(self._labels)} classes from {self.n_features_in_} columns: "
            f"{sizes}, {self._network.weights}>"
        )


def _as_list(X: Any) -> list[Any]:
    try:
        return list(X)
    except TypeError:
        raise TypeError(f"X: expected a row of values, got a {type(X).__name__}") from None


def loads(data: bytes) -> Predictor | Network:
    """The model in the bytes of a model file; raises ValueError as `load` does."""
    return _restore(*model_file.from_bytes(data))


def load(path: str | os.PathLike[str]) -> Predictor | Network:
    """Reads the model in a file that `save` wrote, or the network in a checkpoint of `fit`.

    It is safe to load a file from an untrusted source: nothing in it is executed, and every size, shape, name
    and number is checked before it is used.

    Raises
    ------
    ValueError
        If the file is not a model file, is damaged, or has a newer format: the message names the field.
    OSError
        If the file cannot be read.
    """
    return _restore(*model_file.from_bytes(model_file.read(path)))


def _restore(kind: str, model: Fields, tensors: Tensors) -> Predictor | Network:
    if kind == "network":
        return model_file.restore_network(model, tensors)
    if kind == "checkpoint":
        return model_file.restore_network(model.fields("network"), tensors)
    if kind == "predictor":
        return Predictor._from_state(predictor_file.restore(model, tensors))
    refuse("kind", '"network", "checkpoint" or "predictor"', kind)
