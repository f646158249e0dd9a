"""A model, applied to the chunks of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.cli.column_types import Numbers, Place, numbers, texts
from tinyrs.cli.data import Source
from tinyrs.cli.shell import CliError, suggestion
from tinyrs.predictor import Predictor, load
from tinyrs.tabular.preprocessor import MISSING, CategoryColumn

Floats = npt.NDArray[np.floating[Any]]


def load_predictor(path: Path) -> Predictor:
    """The classifier in a model file; CliError if there is another thing in it."""
    try:
        model = load(path)
    except ValueError as error:
        raise CliError(f"{path}: {error}") from None
    if not isinstance(model, Predictor):
        raise CliError(
            f"{path}: expected a classifier (from `tinyrs train` or TinyClassifier.save), got a bare network"
        )
    if model.multilabel:
        raise CliError(
            f"{path}: expected a model of one label a row, got several: use tinyrs.load from Python"
        )
    return model


class Scorer:
    """A model and the table that it is asked about: its columns are found once, by name.

    Columns that the model does not know are left alone. CliError if one is missing.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: Source,
        *,
        target: str | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.predictor = predictor
        self._file, self._n_threads = source.name, n_threads
        # A property that copies.
        self._network = predictor.network
        self.columns = _columns(predictor, source, target)
        preprocessor = predictor.preprocessor
        self._categories = {c.column: c for c in preprocessor.categories} if preprocessor is not None else {}

    def matrix(self, rows: pa.RecordBatch | pa.Table, first_row: int) -> Numbers:
        """The model's columns as numbers (rows, columns): codes of categories, NaN for what is missing."""
        encoded = np.empty((len(rows), len(self.columns)))
        for i, name in enumerate(self.columns):
            column, place = rows[name], Place(self._file, name, first_row)
            category = self._categories.get(i)
            encoded[:, i] = numbers(column, place) if category is None else _encode(category, column, place)
        return encoded

    def forward(self, encoded: Numbers) -> Floats:
        """Probabilities (rows, classes)."""
        preprocessor = self.predictor.preprocessor
        if preprocessor is None:
            return self._network.forward(encoded, n_threads=self._n_threads)
        return preprocessor.forward(self._network, encoded, n_threads=self._n_threads)

    def probabilities(self, rows: pa.RecordBatch | pa.Table, first_row: int) -> Floats:
        return self.forward(self.matrix(rows, first_row))


def _columns(predictor: Predictor, source: Source, target: str | None) -> Sequence[str]:
    """The names in `source` of the model's columns, in the model's order."""
    names = predictor.feature_names_in_
    if names is None or not (source.named or set(names) <= set(source.columns)):
        # By place, as an array's: of an NPZ file, or for a model that was trained on an array.
        there = [name for name in source.columns if name != (target if source.named else "y")]
        if len(there) != predictor.n_features_in_:
            raise CliError(
                f"{source.name}: expected {predictor.n_features_in_} columns as in training, got {len(there)}"
            )
        return there
    missing = [name for name in names if name not in set(source.columns)]
    if missing:
        listed = ", ".join(f'"{name}"' for name in missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise CliError(
            f"{source.name}: expected the columns of training, got a table without {listed}: "
            f"{suggestion(missing[0], source.columns)}"
        )
    return names


# The Python type behind the prefix of a category name (`tinyrs.tabular.preprocessor`). Text matches any of them.
_VALUES: dict[str, Callable[[str], object]] = {
    "s": str,
    "i": int,
    "f": float,
    "b": {"true": True, "false": False}.__getitem__,
}


def _encode(category: CategoryColumn, column: pa.Array | pa.ChunkedArray, place: Place) -> Numbers:
    """The codes of a column (rows,): each different text is looked up once, the rest is pyarrow's."""
    names = texts(column, place)
    encoded = pc.dictionary_encode(names)
    # One more, for what is missing.
    values = [*encoded.dictionary.to_pylist(), None]
    kinds = {name[0] for name in category.names if name != MISSING}
    if kinds and "s" not in kinds:
        values = [_as_kind(value, kinds) for value in values]
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    codes = np.array(category.encode(objects))
    return np.asarray(codes[pc.fill_null(encoded.indices, len(values) - 1).to_numpy(zero_copy_only=False)])


def _as_kind(value: str | None, kinds: set[str]) -> object:
    """Text as the first of these kinds that it can be."""
    for kind in sorted(kinds & set(_VALUES)):
        try:
            return value if value is None else _VALUES[kind](value.lower())
        except (ValueError, KeyError):
            continue
    return value
