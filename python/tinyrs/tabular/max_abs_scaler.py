"""The preprocessing of sparse matrices: each column is divided by its largest absolute value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.tabular.tables import Numbers, SparseTable, Table
from tinyrs.tabular.type_checks import is_sparse

Floats = npt.NDArray[np.floating[Any]]


# Within these bounds, an f32 network holds the scaled weights and reads the columns without loss: it takes
# denormal numbers as 0.
F32_SCALES = (1e-30, 1e30)
# Above, weights times the scale could overflow in f64 too.
MAX_SCALE = 1e300


@dataclass(frozen=True)
class MaxAbsScaler:
    """Multiplies column j by `scale[j]`, as scikit-learn's MaxAbsScaler does; zeros stay zeros.

    It has the methods of `Preprocessor`. A column of zeros, or of values below 1e-300, has scale 0.
    """

    scale: Numbers

    @classmethod
    def fit(cls, table: SparseTable) -> MaxAbsScaler:
        """The scaler that brings the largest absolute value of each column to 1."""
        largest = np.zeros(table.matrix.shape[1])
        np.maximum.at(largest, table.matrix.indices, np.abs(table.matrix.data))
        with np.errstate(divide="ignore", over="ignore"):
            scale = np.where(largest > 0, 1 / largest, 0.0)
        return cls(np.where(scale <= MAX_SCALE, scale, 0.0))

    def encode(self, X: Any, names: Sequence[str] | None = None) -> Any:
        """A sparse matrix as CSR, anything else as an array of numbers (rows, columns)."""
        if isinstance(X, SparseTable):
            return X.matrix
        return X.tocsr() if is_sparse(X) else Table.read(X, names).number_matrix()

    def transform(self, encoded: Any, precision: str) -> Any:
        """The scaled columns (rows, columns), as CSR if `encoded` is, in `precision`."""
        dtype = np.float32 if precision == "f32" else np.float64
        if not is_sparse(encoded):
            return (encoded * self.scale).astype(dtype)
        scaled = encoded.astype(np.float64)
        scaled.data *= self.scale[scaled.indices]
        return scaled.astype(dtype)

    def forward(self, network: Network, encoded: Any, n_threads: int | None = None) -> Floats:
        """The outputs of `network` for encoded rows: (rows, columns) -> (rows, outputs)."""
        return network.forward(self.transform(encoded, network.precision), n_threads=n_threads)

    def fold_into(self, network: Network) -> Network:
        """A network with the scale in its first layer: it takes the columns unscaled.

        Its precision is "f64" if the numbers in a column are too small or too large for f32.
        """
        used = self.scale[self.scale > 0]
        needs_f64 = ((used < F32_SCALES[0]) | (used > F32_SCALES[1])).any()
        changed = {"precision": "f64"} if needs_f64 else {}

        def folded(member: Network) -> Network:
            (weight, bias), *others = member.parameters()
            return Network.from_parameters([(weight * self.scale, bias), *others], **member.options | changed)

        return Network.ensemble(map(folded, network.members))
