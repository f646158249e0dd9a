"""Loads a classifier and applies it to the chunks of a table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tinyrs.cli.column_types import Column, ColumnLocation, Numbers, combined, to_cells, to_numbers
from tinyrs.cli.errors import CliError, UsageError, suggestion
from tinyrs.cli.output import warn
from tinyrs.cli.table_reader import TableReader
from tinyrs.predictor import Predictor, load
from tinyrs.tabular.shift import DataShiftWarning, ShiftCounter, shift_check
from tinyrs.tabular.tables import Column as Cells
from tinyrs.tabular.tables import NumberCells, Table
from tinyrs.tabular.values import CellError

Floats = npt.NDArray[np.floating[Any]]


def load_predictor(path: Path) -> Predictor:
    """The classifier in a model file. CliError if the file holds a bare network or a multilabel model."""
    # Commands compare the columns of all chunks of a table at its end. Images have no columns to speak of.
    warnings.simplefilter("ignore", DataShiftWarning)
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


def threshold_of(predictor: Predictor, option: float | None) -> float | None:
    """The threshold of an option, else that of training, if any. UsageError if there are not two classes."""
    if option is not None and len(predictor.classes_) != 2:
        raise UsageError(f"--threshold needs two classes, but the model has {len(predictor.classes_)}")
    kept = predictor.training.get("threshold")
    if option is None and isinstance(kept, float) and len(predictor.classes_) == 2:
        return kept
    return option


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
        self._file, self._format, self._n_threads = table.name, table.format, n_threads
        # Kept, because the property makes a copy.
        self._network = predictor.network
        self.columns = _find_columns(predictor, table, target)
        preprocessor = predictor.preprocessor
        self._shift = None
        if preprocessor is not None:
            self._shift = ShiftCounter(shift_check(preprocessor, tuple(self.columns)))
        # The columns that pyarrow reads, which is faster.
        self._numbers = set(
            range(predictor.n_features_in_)
            if preprocessor is None
            else (number.column for number in preprocessor.numbers if number.kind == "number")
        )

    def encode(self, rows: pa.RecordBatch | pa.Table, first_row: int) -> Numbers:
        """The model's columns as numbers (rows, columns): category codes, and NaN for missing numbers.

        `first_row` is the row number of the first row, for error messages.
        """
        cells = [self._cells(i, rows[name], first_row) for i, name in enumerate(self.columns)]
        table, preprocessor = Table(cells, len(rows), self.columns), self.predictor.preprocessor
        try:
            encoded = table.number_matrix() if preprocessor is None else preprocessor.encode(table)
        except CellError as error:
            assert error.column is not None
            raise self._location(error.column, first_row).cell_error(error) from None
        if self._shift is not None:
            self._shift.add(encoded, len(encoded))
        return encoded

    def warn_of_shift(self) -> list[str]:
        """Warns of each column that, in all rows encoded so far, is unlike that of training.

        Returns the warnings.
        """
        messages = [] if self._shift is None else self._shift.messages()
        for message in messages:
            warn(f"{self._file}: {message}")
        return messages

    def _cells(self, column: int, values: Column, first_row: int) -> Cells:
        location = self._location(column, first_row)
        values = self._format.without_missing(combined(values))
        if column in self._numbers:
            return NumberCells(to_numbers(self._format.plain_numbers(values, location), location))
        return to_cells(values, location)

    def _location(self, column: int, first_row: int) -> ColumnLocation:
        return ColumnLocation(self._file, self.columns[column], first_row)

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
