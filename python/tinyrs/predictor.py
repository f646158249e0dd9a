"""`Predictor`, a trained classifier for deployment, and `load`, which reads one from a file."""

from __future__ import annotations

from tinyrs._tinyrs import Network, RowPredictor
from tinyrs.files import model_file, predictor_file
from tinyrs.files.class_labels import ClassLabels
from tinyrs.files.model_file import refuse
from tinyrs.files.predictor_file import PredictorState
from tinyrs.table_predictions import TablePredictions
from tinyrs.tabular.column_names import check_columns, check_length
from tinyrs.tabular.shift import shift_check
from tinyrs.tabular.type_checks import is_frame, is_record, is_sparse
from tinyrs.tabular.values import CellError, numbers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs._tinyrs import ColumnCheck, Tensor
    from tinyrs.explanation import Explanation
    from tinyrs.export.model import Model
    from tinyrs.files.model_file import Fields, Tensors
    from tinyrs.tabular.preprocessor import Preprocessor
    from tinyrs.tabular.shift_report import ShiftReport
else:
    from tinyrs._lazy import np


class Predictor(TablePredictions):
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

    def __init__(
        self,
        network: Network,
        preprocessor: Preprocessor | None,
        classes: npt.NDArray[Any] | ClassLabels,
        *,
        multilabel: bool = False,
        feature_names: Sequence[str] | None = None,
        training: Mapping[str, Any] | None = None,
        quantization: Mapping[str, Any] | None = None,
    ) -> None:
        self._network = network.__copy__()
        self.preprocessor = preprocessor
        # Only what was passed; the array is made when it is needed.
        self._stored_labels = classes if isinstance(classes, ClassLabels) else None
        self._classes = None if isinstance(classes, ClassLabels) else _read_only(classes.copy())
        self._labels: list[Any] = classes.values if isinstance(classes, ClassLabels) else classes.tolist()
        self.multilabel = multilabel
        self.n_features_in_ = network.layer_sizes[0] if preprocessor is None else preprocessor.n_columns
        self.feature_names_in_ = None if feature_names is None else tuple(feature_names)
        self.training = dict(training or {})
        self.quantization = None if quantization is None else dict(quantization)
        # Looked up once, for the speed of predictions.
        self._encoder = None if preprocessor is None else preprocessor.feature_encoder
        self._numbers_only = preprocessor is None or preprocessor.numbers_only
        self._check: ColumnCheck | None = None
        if preprocessor is not None:
            self._check = shift_check(preprocessor, self.feature_names_in_).columns
        self._row_predictor = RowPredictor(
            self._network,
            self._labels,
            encoder=self._encoder,
            check=self._check,
            names=self.feature_names_in_ if self._numbers_only else None,
            multilabel=multilabel,
        )
        self._self_test: tuple[Tensor, Tensor] | None = None

    @property
    def classes_(self) -> npt.NDArray[Any]:
        if self._classes is None:
            assert self._stored_labels is not None
            self._classes = _read_only(self._stored_labels.array())
        return self._classes

    @property
    def network(self) -> Network:
        return self._network.__copy__()

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

    def _probabilities(
        self,
        encoded: Any,
        out: npt.NDArray[Any] | None = None,
        n_threads: int | None = None,
        check: ColumnCheck | None = None,
    ) -> npt.NDArray[Any]:
        """The probabilities of encoded rows; `check` warns of columns unlike those of training."""
        try:
            if self._encoder is None:
                return np.asarray(self._network.forward(encoded, out=out, n_threads=n_threads))
            return np.asarray(
                self._encoder.forward(self._network, encoded, out=out, n_threads=n_threads, check=check)
            )
        except ValueError:
            self._refuse_infinite(encoded)
            raise

    def predict(self, X: Any, *, n_threads: int | None = None, extra_columns: str = "ignore") -> Any:
        """The most probable class of each row, (rows,), or of the one row; in multilabel models the indicator
        matrix. The arguments are as in `predict_proba`."""
        p = self.predict_proba(X, n_threads=n_threads, extra_columns=extra_columns)
        labels: npt.NDArray[Any] = p > 0.5 if self.multilabel else self.classes_[p.argmax(axis=-1)]
        return labels.astype(int) if self.multilabel else labels

    def check(self, X: Any, *, extra_columns: str = "ignore") -> ShiftReport:
        """How the columns of a table differ from those of the training set.

        `predict` and the other methods give a `tinyrs.DataShiftWarning` for each column that has clearly
        more unseen categories or missing values than in training, or more than a few numbers that lie farther
        from the range of training than its width. The report has all figures.

        Parameters
        ----------
        X, extra_columns
            As in `predict_proba`.

        Returns
        -------
        ShiftReport
            Its `to_dict()` is a list of dicts, one for each column; its `warnings` are those of `predict`.

        Raises
        ------
        ValueError, TypeError
            As `predict_proba`, and if the model has no preprocessing: it knows no training columns.
        """
        if self.preprocessor is None:
            raise ValueError("check: expected a model with preprocessing, which knows its columns")
        from tinyrs.tabular.shift_report import report_shift

        encoded = np.asarray(np.atleast_2d(self._encode(X, extra_columns)), dtype=np.float64)
        self._refuse_infinite(encoded)
        return report_shift(self.preprocessor, self.feature_names_in_, encoded)

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

    def _numbers_one(self, encoded: Sequence[Any]) -> list[Any]:
        """An encoded row with its numbers read as those of a table are; raises ValueError and TypeError with
        the name of the column."""
        names = self.feature_names_in_
        if self._numbers_only:
            check_length(len(encoded), self.n_features_in_, names)
        if self.preprocessor is not None:
            return self.preprocessor.numbers_one(encoded, names)
        row = numbers_of(encoded, dict.fromkeys(range(len(encoded)), "number"), names)
        missing = next((column for column, value in enumerate(row) if value != value), None)
        if missing is not None:
            raise CellError("a finite number", row[missing]).at(missing, names, one_row=True)
        return row

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

    def _encode(self, X: Any, extra_columns: str) -> npt.NDArray[Any]:
        """X as an array of numbers, (columns,) or (rows, columns), or as CSR; categories as codes."""
        if is_sparse(X) and self.preprocessor is None:
            csr: npt.NDArray[Any] = X.tocsr()
            return csr
        if is_frame(X) or is_sparse(X):
            return self._encode_rows(X, extra_columns)
        from tinyrs.tabular.sources import read_rows

        names, one_row = self.feature_names_in_, is_record(X)
        rows = read_rows([X] if one_row else X, self.n_features_in_, names)
        if not isinstance(rows, list) and rows.ndim == 1:
            rows, one_row = rows.reshape(1, -1), True
        encoded = self._encode_rows(rows, extra_columns)
        return encoded.reshape(-1) if one_row else encoded

    def _encode_rows(self, X: Any, extra_columns: str) -> npt.NDArray[Any]:
        names = self.feature_names_in_
        if self.preprocessor is not None:
            return self.preprocessor.encode(X, names, extra_columns)
        from tinyrs.tabular.few_rows import encode_few
        from tinyrs.tabular.sources import read_frame
        from tinyrs.tabular.tables import Table

        X = read_frame(X, names, extra_columns) if is_frame(X) else X
        few = encode_few(X, names, extra_columns, list, self._numbers_one)
        if few is not None and few.shape[1] == self.n_features_in_:
            return few
        table = Table.read(X, names, extra_columns)
        check_length(len(table.columns), self.n_features_in_, names)
        return table.number_matrix()

    def _refuse_infinite(self, encoded: npt.NDArray[Any]) -> None:
        """Raises ValueError with the name of a column that holds a number that the network does not take."""
        if is_sparse(encoded) or encoded.dtype.kind != "f":
            return
        rows = np.atleast_2d(encoded)
        refused = np.isinf(rows) if self.preprocessor is not None else ~np.isfinite(rows)
        if refused.any():
            row, column = np.unravel_index(refused.argmax(), rows.shape)
            error = CellError("a finite number", float(rows[row, column]), int(row))
            raise error.at(int(column), self.feature_names_in_, one_row=encoded.ndim == 1) from None

    def quantize(
        self,
        kind: str | Sequence[str],
        *,
        X: Any = None,
        y: npt.ArrayLike | None = None,
        max_drop: float | None = None,
    ) -> Predictor:
        """A predictor whose network needs fewer bytes a weight, and less time; see `Network.quantize`.

        With rows, `quantization` of the result says what it costs. They should be rows that the model was not
        trained on.

        Parameters
        ----------
        kind : {"f16", "bf16", "int8", "int8_weights"} or sequence of str
            The format of the weights of all layers, or of each layer, where "f32" keeps them.
        X : table, optional
            Rows to measure on, as in `predict_proba`.
        y : array of shape (rows,) or (rows, labels), optional
            Their labels.
        max_drop : float, optional
            The largest loss of accuracy to accept, for example 0.001; needs X and y. If quantizing all layers
            costs more, those that cost most stay in "f16", or if that is not enough in "f32", as long as one
            layer remains: see ``quantization["layers"]`` of the result.

        Raises
        ------
        ValueError
            If the accuracy falls by more than `max_drop`, the network is quantized already, `kind` is
            unknown, a weight is too large for f16, or X and y are not as described.
        """
        from tinyrs.tuning.quantization import read_targets

        if X is None:
            if y is not None:
                raise ValueError("quantize: y needs X, the rows with these labels")
            return self._quantize_encoded(kind, max_drop=max_drop)
        encoded = self._encode(X, "ignore")
        encoded = encoded.reshape(1, -1) if encoded.ndim == 1 else encoded
        targets = None if y is None else read_targets(y, self._labels, encoded.shape[0], self.multilabel)
        return self._quantize_encoded(kind, encoded, targets, max_drop)

    def _quantize_encoded(
        self,
        kind: str | Sequence[str],
        encoded: Any = None,
        targets: npt.NDArray[Any] | None = None,
        max_drop: float | None = None,
    ) -> Predictor:
        """As `quantize`, with encoded rows, and with class indices (rows,) or an indicator matrix."""
        from tinyrs.tuning import quantization

        def outputs(network: Network) -> npt.NDArray[Any]:
            return (
                network.forward(encoded) if self._encoder is None else self._encoder.forward(network, encoded)
            )

        rows = None if encoded is None else quantization.Rows(outputs, targets, self.multilabel)
        network, record = quantization.quantize(self._network, kind, rows, max_drop)
        return Predictor(
            network,
            self.preprocessor,
            self._stored_labels or self.classes_,
            multilabel=self.multilabel,
            feature_names=self.feature_names_in_,
            training=self.training,
            quantization=record,
        )

    def explain(
        self, X: Any, *, target: Any = None, baseline: Any = None, extra_columns: str = "ignore"
    ) -> Explanation:
        """How much each column contributes to a probability: integrated gradients.

        The contributions add up to the difference between the probability of the row and that of a baseline
        (Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", 2017). The path of the integrals
        runs through the features of the network; those of one column are added up.

        Parameters
        ----------
        X : table or one row
            As in `predict_proba`.
        target : label, optional
            The class whose probability is explained; by default the class predicted for each row. Multilabel
            models need it.
        baseline : one row, optional
            By default every number is the median of the training rows, and every category unknown; without
            preprocessing, every number is 0.
        extra_columns : {"ignore", "error"}

        Returns
        -------
        Explanation

        Raises
        ------
        TypeError
            If X is sparse.
        ValueError
            If `target` is not a class of the model, the network is quantized, or X or `baseline` does not
            have the columns of the training set.

        Warns
        -----
        RuntimeWarning
            If the contributions do not add up to within 0.001.
        """
        from tinyrs.explanation import Explanation, explain

        if self._network.weights != self._network.precision:
            raise ValueError(
                f"explain: expected a network that is not quantized, got weights in {self._network.weights}: "
                "explain the predictor before `quantize`"
            )
        if target is None and self.multilabel:
            raise ValueError("explain: expected a target, one of the labels, because a row may have several")
        rows, one_row = self._features(X, extra_columns)
        base = np.zeros((1, rows.shape[1]), rows.dtype)
        if baseline is not None:
            base, is_one = self._features(baseline, extra_columns)
            if not is_one:
                raise ValueError(f"baseline: expected one row, got {len(base)} rows")
        targets = None if target is None else np.full(len(rows), self._class_index(target))
        columns = range(rows.shape[1]) if self.preprocessor is None else self.preprocessor.feature_columns
        found, targets, probability, before = explain(self._network, rows, base[0], targets, columns)
        row: Any = 0 if one_row else slice(None)
        # Indexing an array of objects returns the object itself, not an array of shape ().
        labels = np.asarray(self.classes_[targets][row], self.classes_.dtype)
        return Explanation(found[row], self._column_names(), labels, probability[row], before[row])

    def _features(self, X: Any, extra_columns: str) -> tuple[npt.NDArray[Any], bool]:
        """The inputs (rows, features) of the network for X, and whether X is one row."""
        encoded, one_row = self._encode_finite(X, extra_columns)
        precision = self._network.precision
        if self.preprocessor is None:
            return encoded.astype("f4" if precision == "f32" else "f8"), one_row
        return self.preprocessor.transform(encoded, precision), one_row

    def _class_index(self, label: Any) -> int:
        if label not in self._labels:
            classes = ", ".join(map(repr, self._labels))
            raise ValueError(f"target: expected a class of the model ({classes}), got {label!r}")
        return self._labels.index(label)

    def _column_names(self) -> tuple[str, ...]:
        return self.feature_names_in_ or tuple(f"column {i}" for i in range(self.n_features_in_))

    def _encode_finite(self, X: Any, extra_columns: str) -> tuple[npt.NDArray[Any], bool]:
        """X as encoded rows (rows, columns) without infinities, and whether it is one row."""
        encoded = self._encode(X, extra_columns)
        if is_sparse(encoded):
            raise TypeError("X: expected dense rows, got a sparse matrix: pass X.toarray()")
        self._refuse_infinite(encoded)
        return np.atleast_2d(encoded), encoded.ndim == 1

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

    def to_onnx(self, path: str | os.PathLike[str], *, inputs: str = "auto") -> None:
        """Exports preprocessing, network and labels as an ONNX model.

        Its outputs are `label` and `probabilities`. Columns of numbers and booleans are float64 inputs
        (without preprocessing, inputs of the network's precision), with NaN for a missing value. So are
        columns of dates, times and durations, as seconds; a column of dates called `day` has further inputs
        such as `day.month`, after those of all columns, and the `doc_string` of each says what it is. Other
        columns are string inputs, with an empty string for a missing value.

        The weights of a quantized network have the same size in the graph. With "int8" and "bf16", the graph
        rounds the inputs of each product as tinyrs does, "int8" with a scale for each row and exact sums.

        Parameters
        ----------
        path : path
        inputs : {"auto", "matrix", "columns"}
            "matrix": one input `X` of shape (rows, columns). "columns": one input of shape (rows, 1) for each
            column, under its name. "auto": a matrix unless there is a column of strings.

        Raises
        ------
        ValueError
            If ONNX cannot express the model, for example a column of more than 256 categories, which are
            told apart by a checksum.
        ImportError
            If the package onnx is not installed.
        OSError
            If the file cannot be written; an existing file stays as it was.
        """
        from tinyrs.export import onnx

        model_file.write(path, onnx.to_bytes(self._export_model(), inputs))

    def to_c(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        """Exports preprocessing, network and labels as one C99 header.

        The code allocates no memory and needs headers of the C standard only. The comment at its top says how
        to use it. Weights of "int8" and "int8_weights" are int8_t, and "int8" multiplies only integers.
        Weights of "f16" and "bf16" are float, because C99 has no shorter type for them.

        Parameters
        ----------
        path : path
        name : str, optional
            The prefix of all identifiers in the header; by default derived from the name of the file.

        Raises
        ------
        ValueError
            If C cannot express the model, for example two categories of different types and the same str().
        OSError
            If the file cannot be written; an existing file stays as it was.
        """
        from pathlib import Path

        from tinyrs.export import c

        text = c.to_text(self._export_model(), c.name_from(Path(path).stem) if name is None else name)
        model_file.write(path, text.encode())

    def _export_model(self) -> Model:
        from tinyrs.export.model import Model

        return Model(self._network, self.preprocessor, self.classes_, self.multilabel, self.feature_names_in_)

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


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _as_array(X: Any) -> npt.NDArray[Any]:
    """A list as an array of numbers if all its values are numbers, else of objects."""
    array = np.asarray(X)
    return array if array.dtype.kind in "biuf" else np.asarray(X, dtype=object)


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
