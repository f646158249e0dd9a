"""`Predictor`: a trained classifier to deploy, and the files that models are saved to."""

from __future__ import annotations

from tinyrs._tinyrs import Network, Tensor
from tinyrs.files import model_file
from tinyrs.files.class_labels import Labels
from tinyrs.files.model_file import Fields, refuse, tensor
from tinyrs.tabular.kinds import is_frame, is_missing, is_sparse
from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs.export.model import Model
    from tinyrs.files.model_file import Tensors
else:
    from tinyrs._lazy import np

# Rows that a file holds with their outputs, for `verify`.
SELF_TEST_ROWS = 8
NAN = float("nan")


class Predictor:
    """A trained classifier, frozen: preprocessing, network, calibration and labels, as
    `TinyClassifier.predictor` and `tinyrs.load` give it.

    It needs nothing but NumPy (and narwhals, for data frames), does not change, and can be used by several
    threads at once. `tinyrs.load`, `predict_one` and `predict_proba_one` do without NumPy: a process that
    uses nothing else never imports it.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    n_features_in_ : int
        The columns of the table that it was trained on.
    feature_names_in_ : tuple of str or None
        Their names, if they had some.
    multilabel : bool
        Whether a row may have several labels.
    training : dict
        What is known of its training.
    network : Network
        A copy of what it computes with.
    preprocessor : Preprocessor or None
        What it does to the columns; None if the network takes them as they are, which must be numbers then.
    """

    def __init__(
        self,
        network: Network,
        preprocessor: Preprocessor | None,
        classes: npt.NDArray[Any] | Labels,
        *,
        multilabel: bool = False,
        feature_names: Sequence[str] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> None:
        self._network = network.__copy__()
        self.preprocessor = preprocessor
        self._classes = classes if isinstance(classes, Labels) else _frozen(classes.copy())
        self._values: list[Any] = classes.values if isinstance(classes, Labels) else classes.tolist()
        self.multilabel = multilabel
        self.n_features_in_ = network.layer_sizes[0] if preprocessor is None else preprocessor.n_columns
        self.feature_names_in_ = None if feature_names is None else tuple(feature_names)
        self.training = dict(training or {})
        # What every prediction needs, looked up once.
        transformer = Network if preprocessor is None else preprocessor.transformer
        self._forward, self._forward_one = transformer.forward, transformer.forward_one
        self._numbers_only = preprocessor is None or not preprocessor.categories
        self._self_test: tuple[Tensor, Tensor] | None = None

    @property
    def classes_(self) -> npt.NDArray[Any]:
        if isinstance(self._classes, Labels):
            self._classes = _frozen(self._classes.array())
        return self._classes

    @property
    def network(self) -> Network:
        return self._network.__copy__()

    def predict_proba(
        self, X: Any, *, out: npt.NDArray[Any] | None = None, n_threads: int | None = None
    ) -> npt.NDArray[Any]:
        """The probability of each class, in the order of `classes_`; of each label for several labels.

        Parameters
        ----------
        X : array of shape (columns,) or (rows, columns), data frame, or sparse matrix
            One row or many, NaN or None where a value is missing. The columns of a data frame are matched by
            name.
        out : array of shape (n_classes,) or (rows, n_classes), optional
            Where to write the result: contiguous, of the network's precision.
        n_threads : int, optional
            At most so many threads; see `tinyrs.get_num_threads`. Small work uses one.

        Returns
        -------
        array of shape (n_classes,) or (rows, n_classes)

        Raises
        ------
        ValueError, TypeError
            If the columns do not fit, or a number is infinite.
        """
        # An array of numbers goes straight to Rust.
        if not (self._numbers_only and type(X) is np.ndarray and X.dtype.kind == "f"):
            X = self._encode(X)
        return np.asarray(self._forward(self._network, X, out=out, n_threads=n_threads))

    def predict(self, X: Any, *, n_threads: int | None = None) -> Any:
        """The most probable class of each row, (rows,), or of the one row; for several labels the indicator
        matrix."""
        p = self.predict_proba(X, n_threads=n_threads)
        labels: npt.NDArray[Any] = p > 0.5 if self.multilabel else self.classes_[p.argmax(axis=-1)]
        return labels.astype(int) if self.multilabel else labels

    def predict_proba_one(self, X: Mapping[str, Any] | Iterable[Any]) -> dict[Any, float]:
        """The probability of each class, of each label for several labels, for one row: the numbers of
        `predict_proba`, without arrays and without NumPy, as a request handler wants them.

        Parameters
        ----------
        X : mapping or iterable
            A value a column: by the columns' names, as a JSON object has them, or in their order. NaN or None
            where one is missing.

        Returns
        -------
        dict of label to float

        Raises
        ------
        ValueError, TypeError
            If the columns do not fit, or a value that should be a number is none or infinite.
        """
        return dict(zip(self._values, self._outputs_of_one(X), strict=True))

    def predict_one(self, X: Mapping[str, Any] | Iterable[Any]) -> Any:
        """The most probable class of one row, which is as for `predict_proba_one`; for several labels the
        list of those that are more probable than not."""
        p = self._outputs_of_one(X)
        if self.multilabel:
            return [label for label, probability in zip(self._values, p, strict=True) if probability > 0.5]
        return self._values[p.index(max(p))]

    def _outputs_of_one(self, X: Mapping[str, Any] | Iterable[Any]) -> list[float]:
        if hasattr(X, "keys"):
            row: Any = self._in_order(X)
        else:
            row = X if isinstance(X, (list, tuple)) else _as_list(X)
        if not self._numbers_only:
            assert self.preprocessor is not None
            row = self.preprocessor.encode_one(row)
        try:
            return self._forward_one(self._network, row)
        except TypeError:  # None, or no number at all
            return self._forward_one(self._network, [NAN if is_missing(value) else value for value in row])

    def _in_order(self, X: Any) -> list[Any]:
        """The values of a mapping in the order of the columns."""
        names = self.feature_names_in_
        if names is None:
            got = type(X).__name__
            raise TypeError(f"X: expected a sequence, since the columns have no names, got a {got}")
        keys = list(X.keys())
        if len(keys) == len(names):
            try:
                return [X[name] for name in names]
            except KeyError:
                pass
        missing = [name for name in names if name not in keys]
        extra = [key for key in keys if key not in names]
        raise ValueError(
            f"X: expected the columns of the training set, got a row without {missing} and with {extra}"
        )

    def _encode(self, X: Any) -> npt.NDArray[Any]:
        if is_sparse(X) and self.preprocessor is None:
            csr: npt.NDArray[Any] = X.tocsr()  # or as good as one
            return csr
        if is_frame(X) or is_sparse(X):
            return self._encode_rows(X)
        X = X if isinstance(X, np.ndarray) else _as_array(X)
        if X.ndim not in (1, 2):
            raise ValueError(f"X: expected shape (columns,) or (rows, columns), got {X.shape}")
        encoded = self._encode_rows(np.atleast_2d(X))
        return encoded.reshape(-1) if X.ndim == 1 else encoded

    def _encode_rows(self, X: Any) -> npt.NDArray[Any]:
        if self.preprocessor is not None:
            return self.preprocessor.encode(X, self.feature_names_in_)
        from tinyrs.tabular.tables import Table

        table = Table.read(X, self.feature_names_in_)
        return np.column_stack([table.numbers(column) for column in range(len(table.columns))])

    def verify(self) -> float:
        """The largest difference between what a few rows give now, on this machine, and what they gave where
        the model was saved; 0 for a predictor that comes from no file."""
        if self._self_test is None:
            return 0.0
        rows, outputs = map(np.asarray, self._self_test)
        return float(np.abs(self._forward(self._network, rows) - outputs).max())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it to a safetensors file, whole or not at all; `tinyrs.load` reads it.

        Raises
        ------
        OSError
            If it cannot be written; what was there before is unharmed.
        """
        model_file.write(path, self.to_bytes())

    def to_onnx(self, path: str | os.PathLike[str], *, inputs: str = "auto") -> None:
        """Writes it as an ONNX model, whole or not at all: preprocessing, network and labels.

        Its outputs are `label` and `probabilities`. Numbers and booleans go in as float64 (without
        preprocessing, in the network's precision); a missing one is NaN, a missing string is empty.

        Parameters
        ----------
        path : path
        inputs : {"auto", "matrix", "columns"}
            "matrix": one input `X` (rows, columns). "columns": one input (rows, 1) a column, under its name,
            of strings where the column holds any. "auto": a matrix unless a column holds strings.

        Raises
        ------
        ValueError
            If ONNX cannot express it, as the checksums of a column of more than 256 categories.
        ImportError
            If the package onnx is not installed.
        OSError
            If the file cannot be written; what was there before is unharmed.
        """
        from tinyrs.export import onnx

        model_file.write(path, onnx.to_bytes(self._model(), inputs))

    def to_c(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        """Writes it as one C99 header, whole or not at all: preprocessing, network and labels. It allocates
        nothing and needs math.h alone; its first lines say how to use it.

        Parameters
        ----------
        path : path
        name : str, optional
            What all names in it start with; by default made of the file's name.

        Raises
        ------
        ValueError
            If C cannot express it, as categories of two types that str() writes alike.
        OSError
            If the file cannot be written; what was there before is unharmed.
        """
        from pathlib import Path

        from tinyrs.export import c

        text = c.to_text(self._model(), c.name_from(Path(path).stem) if name is None else name)
        model_file.write(path, text.encode())

    def _model(self) -> Model:
        from tinyrs.export.model import Model

        return Model(self._network, self.preprocessor, self.classes_, self.multilabel, self.feature_names_in_)

    def to_bytes(self) -> bytes:
        """The bytes of its file: the same ones for the same model."""
        network, tensors = model_file.describe_network(self._network)
        categories = None
        if self.preprocessor is not None:
            numbers = self.preprocessor.numbers
            tensors |= {
                "numbers.column": np.array([n.column for n in numbers], dtype=np.int64),
                "numbers.centre": np.array([n.centre for n in numbers], dtype=np.float64),
                "numbers.scale": np.array([n.scale for n in numbers], dtype=np.float64),
                "numbers.flagged": np.array([n.flagged for n in numbers], dtype=np.bool_),
            }
            categories = [
                {"column": c.column, "names": c.names, "buckets": c.buckets}
                for c in self.preprocessor.categories
            ]
        rows = self._self_test_rows()
        tensors |= {"self_test.rows": rows, "self_test.outputs": self._forward(self._network, rows)}
        model = {
            "network": network,
            "n_columns": self.n_features_in_,
            # None: the columns are the network's inputs.
            "categories": categories,
            "feature_names": self.feature_names_in_,
            "classes": Labels.of(self.classes_).describe(),
            "multilabel": self.multilabel,
            "training": self.training,
        }
        return model_file.to_bytes("predictor", model, tensors)

    def _self_test_rows(self) -> npt.NDArray[np.float64]:
        """Rows like those that it was made for, though none of them: a file gives no data away."""
        rng = np.random.default_rng(0)
        if self.preprocessor is None:
            return rng.normal(size=(SELF_TEST_ROWS, self.n_features_in_))
        rows = np.zeros((SELF_TEST_ROWS, self.n_features_in_))
        for number in self.preprocessor.numbers:
            spread = 1 / number.scale if number.scale > 0 else 0.0
            column = number.centre + spread * rng.normal(size=SELF_TEST_ROWS)
            rows[:, number.column] = np.clip(column, -1e300, 1e300)
        for category in self.preprocessor.categories:
            rows[:, category.column] = rng.integers(-1, max(category.n_codes, 1), SELF_TEST_ROWS)
        rows[-1] = np.nan
        return rows

    @classmethod
    def _restore(cls, model: Fields, tensors: Tensors) -> Predictor:
        n_columns = model.whole("n_columns", least=1)
        names = model.strings("feature_names") if model.values.get("feature_names") is not None else None
        if names is not None and len(set(names)) != n_columns:
            refuse("model.feature_names", f"{n_columns} different names", names)
        network = model_file.restore_network(model.fields("network"), tensors)
        classes, outputs = Labels.restore(model.fields("classes")), network.layer_sizes[-1]
        if len(classes.values) != outputs:
            expected = f"{outputs} classes, as many as the network has outputs"
            refuse("model.classes.values", expected, len(classes.values))
        preprocessor, features = None, n_columns
        if model.values.get("categories") is not None:
            preprocessor = _restore_preprocessor(model, tensors, n_columns)
            features = preprocessor.transformer.n_features
        if features != network.layer_sizes[0]:
            refuse("model.network", f"{features} inputs, as many as the columns give", network.layer_sizes[0])
        predictor = cls(
            network,
            preprocessor,
            classes,
            multilabel=model.get("multilabel", bool),
            feature_names=names,
            training=model.get("training", dict, "an object"),
        )
        rows = tensor(tensors, "self_test.rows", ["float64"], (-1, n_columns))
        answers = tensor(tensors, "self_test.outputs", ["float32", "float64"], (rows.shape[0], outputs))
        # Without preprocessing a number may not be missing either.
        if not (rows.is_finite(missing=preprocessor is not None) and answers.is_finite()):
            refuse("self_test", "finite numbers", "others")
        predictor._self_test = rows.copy(), answers.copy()
        return predictor

    def __reduce__(self) -> tuple[Any, ...]:
        return loads, (self.to_bytes(),)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self._network.layer_sizes))
        return (
            f"<tinyrs.Predictor of {len(self._values)} classes from {self.n_features_in_} columns: "
            f"{sizes}, {self._network.precision}>"
        )


def _as_list(X: Any) -> list[Any]:
    try:
        return list(X)
    except TypeError:
        raise TypeError(f"X: expected a row of values, got a {type(X).__name__}") from None


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _as_array(X: Any) -> npt.NDArray[Any]:
    """A list, of numbers or of anything."""
    array = np.asarray(X)
    return array if array.dtype.kind in "biuf" else np.asarray(X, dtype=object)


def _restore_preprocessor(model: Fields, tensors: Tensors, n_columns: int) -> Preprocessor:
    column = tensor(tensors, "numbers.column", ["int64"], (-1,))
    centre = tensor(tensors, "numbers.centre", ["float64"], column.shape)
    scale = tensor(tensors, "numbers.scale", ["float64"], column.shape)
    flagged = tensor(tensors, "numbers.flagged", ["bool"], column.shape)
    if any(byte > 1 for byte in flagged.tobytes()):
        refuse("numbers.flagged", "zeros and ones", "others")
    numbers = [
        NumberColumn(*values)
        for values in zip(column.tolist(), centre.tolist(), scale.tolist(), flagged.tolist(), strict=True)
    ]
    categories = []
    for fields in model.objects("categories"):
        names = fields.strings("names")
        if len(set(names)) != len(names):
            refuse(f"{fields.path}.names", "different names", names)
        column_, buckets = fields.whole("column"), fields.whole("buckets", below=2**16)
        categories.append(CategoryColumn(column_, tuple(names), buckets))
    places = [n.column for n in numbers] + [c.column for c in categories]
    if len(places) != n_columns or sorted(places) != list(range(n_columns)):
        refuse("model", f"each of {n_columns} columns once", sorted(places))
    try:
        return Preprocessor(n_columns, tuple(numbers), tuple(categories))
    except ValueError as error:
        raise ValueError(f"model file: model: {error}") from None


def loads(data: bytes) -> Predictor | Network:
    """What a model file's bytes hold."""
    return _restore(*model_file.from_bytes(data))


def load(path: str | os.PathLike[str]) -> Predictor | Network:
    """The model in a file that `save` wrote, or the network in a checkpoint of `fit`: safe to call on a file
    from a stranger.

    Nothing in it is executed, and every size, shape, name and number is checked before it is used.

    Raises
    ------
    ValueError
        If it is no model file, was damaged, or is of a newer format: the message says which field is wrong.
    OSError
        If it cannot be read.
    """
    return _restore(*model_file.from_bytes(model_file.read(path)))


def _restore(kind: str, model: Fields, tensors: Tensors) -> Predictor | Network:
    if kind == "network":
        return model_file.restore_network(model, tensors)
    if kind == "checkpoint":
        return model_file.restore_network(model.fields("network"), tensors)
    if kind == "predictor":
        return Predictor._restore(model, tensors)
    refuse("kind", '"network", "checkpoint" or "predictor"', kind)
