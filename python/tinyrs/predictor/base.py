"""What the methods of `Predictor` share: the parts of the model, and how tables become arrays of numbers."""

from __future__ import annotations

from tinyrs._tinyrs import Network, RowPredictor
from tinyrs.files.class_labels import ClassLabels
from tinyrs.tabular.column_names import check_length
from tinyrs.tabular.shift import shift_check
from tinyrs.tabular.type_checks import is_frame, is_record, is_sparse
from tinyrs.tabular.values import CellError, numbers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from tinyrs._tinyrs import ColumnCheck, Tensor
    from tinyrs.tabular.preprocessor import Preprocessor
else:
    from tinyrs._lazy import np


class PredictorBase:
    """The parts of a model and its pass; see `Predictor` for the parameters."""

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

    def _encode_finite(self, X: Any, extra_columns: str) -> tuple[npt.NDArray[Any], bool]:
        """X as encoded rows (rows, columns) without infinities, and whether it is one row."""
        encoded = self._encode(X, extra_columns)
        if is_sparse(encoded):
            raise TypeError("X: expected dense rows, got a sparse matrix: pass X.toarray()")
        self._refuse_infinite(encoded)
        return np.atleast_2d(encoded), encoded.ndim == 1

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

    def _column_names(self) -> tuple[str, ...]:
        return self.feature_names_in_ or tuple(f"column {i}" for i in range(self.n_features_in_))


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
