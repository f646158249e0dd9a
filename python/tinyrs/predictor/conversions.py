"""The methods of `Predictor` that make other forms of the model: `quantize`, `to_onnx` and `to_c`."""

from __future__ import annotations

from tinyrs.files import model_file
from tinyrs.predictor.base import PredictorBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Any

    import numpy.typing as npt
    from typing_extensions import Self

    from tinyrs._tinyrs import Network
    from tinyrs.export.model import Model


class Conversions(PredictorBase):
    """The methods of `Predictor` that make other forms of the model."""

    def quantize(
        self,
        kind: str | Sequence[str],
        *,
        X: Any = None,
        y: npt.ArrayLike | None = None,
        max_drop: float | None = None,
    ) -> Self:
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
    ) -> Self:
        """As `quantize`, with encoded rows, and with class indices (rows,) or an indicator matrix."""
        from tinyrs.tuning import quantization

        def outputs(network: Network) -> npt.NDArray[Any]:
            return (
                network.forward(encoded) if self._encoder is None else self._encoder.forward(network, encoded)
            )

        rows = None if encoded is None else quantization.Rows(outputs, targets, self.multilabel)
        network, record = quantization.quantize(self._network, kind, rows, max_drop)
        return type(self)(
            network,
            self.preprocessor,
            self._stored_labels or self.classes_,
            multilabel=self.multilabel,
            feature_names=self.feature_names_in_,
            training=self.training,
            quantization=record,
        )

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
