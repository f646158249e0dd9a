"""Loads a classifier and applies it to the chunks of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.cli.column_types import ColumnLocation, Numbers, to_numbers, to_text
from tinyrs.cli.errors import CliError, suggestion
from tinyrs.cli.table_reader import TableReader
from tinyrs.predictor import Predictor, load
from tinyrs.tabular.preprocessor import MISSING, CategoryColumn

Floats = npt.NDArray[np.floating[Any]]


def load_predictor(path: Path) -> Predictor:
    """The classifier in a model file. CliError if the file holds a bare network or a multilabel model."""
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
            f"{path}: the command line does not support multilabel models: use tinyrs.load in Python"
        )
    return model


class TablePredictor:
    """A model bound to a table: finds the model's columns in the table once, then predicts chunk by chunk.

    Other columns of the table are ignored. CliError if a column of the model is missing.
    """

    def __init__(
        self,
        predictor: Predictor,
        table: TableReader,
        *,
        target: str | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.predictor = predictor
        self._file, self._n_threads = table.name, n_threads
        # Kept, because the property makes a copy.
        self._network = predictor.network
        self.columns = _find_columns(predictor, table, target)
        preprocessor = predictor.preprocessor
        self._categories = {c.column: c for c in preprocessor.categories} if preprocessor is not None else {}

    def encode(self, rows: pa.RecordBatch | pa.Table, first_row: int) -> Numbers:
        """The model's columns as numbers (rows, columns): category codes, and NaN for missing numbers.

        `first_row` is the row number of the first row, for error messages.
        """
        encoded = np.empty((len(rows), len(self.columns)))
        for i, name in enumerate(self.columns):
            column, location = rows[name], ColumnLocation(self._file, name, first_row)
            category = self._categories.get(i)
            encoded[:, i] = (
                to_numbers(column, location) if category is None else _encode(category, column, location)
            )
        return encoded

    def predict_encoded(self, encoded: Numbers) -> Floats:
        """Probabilities (rows, classes) of encoded rows."""
        preprocessor = self.predictor.preprocessor
        if preprocessor is None:
            return self._network.forward(encoded, n_threads=self._n_threads)
        return preprocessor.forward(self._network, encoded, n_threads=self._n_threads)

    def predict_proba(self, rows: pa.RecordBatch | pa.Table, first_row: int) -> Floats:
        """Probabilities (rows, classes)."""
        return self.predict_encoded(self.encode(rows, first_row))


def _find_columns(predictor: Predictor, table: TableReader, target: str | None) -> Sequence[str]:
    """The names in `table` of the model's columns, in the model's order."""
    names = predictor.feature_names_in_
    if names is None or not (table.has_names or set(names) <= set(table.columns)):
        # The model or the table has no column names: columns are matched by position.
        features = [name for name in table.columns if name != (target if table.has_names else "y")]
        if len(features) != predictor.n_features_in_:
            raise CliError(
                f"{table.name}: the model expects {predictor.n_features_in_} columns, got {len(features)}"
            )
        return features
    missing = [name for name in names if name not in set(table.columns)]
    if missing:
        listed = ", ".join(f'"{name}"' for name in missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise CliError(f"{table.name}: missing columns: {listed}: {suggestion(missing[0], table.columns)}")
    return names


# From the prefix of a category name (`tinyrs.tabular.preprocessor`) to the Python type of its value.
_PARSERS: dict[str, Callable[[str], object]] = {
    "s": str,
    "i": int,
    "f": float,
    "b": {"true": True, "false": False}.__getitem__,
}


def _encode(
    category: CategoryColumn, column: pa.Array | pa.ChunkedArray, location: ColumnLocation
) -> Numbers:
    """The category codes of a column (rows,). Each distinct value is looked up only once."""
    names = to_text(column, location)
    encoded = pc.dictionary_encode(names)
    # The last entry is for missing values.
    values = [*encoded.dictionary.to_pylist(), None]
    prefixes = {name[0] for name in category.names if name != MISSING}
    if prefixes and "s" not in prefixes:
        values = [_parse(value, prefixes) for value in values]
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    codes = np.array(category.encode(objects))
    return np.asarray(codes[pc.fill_null(encoded.indices, len(values) - 1).to_numpy(zero_copy_only=False)])


def _parse(text: str | None, prefixes: set[str]) -> object:
    """`text` as the first of the types that it can be converted to; unchanged if there is none."""
    for prefix in sorted(prefixes & set(_PARSERS)):
        try:
            return text if text is None else _PARSERS[prefix](text.lower())
        except (ValueError, KeyError):
            continue
    return text
