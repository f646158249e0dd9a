"""The data of `tinyrs train` if memory does not hold it: Parquet that is read again in each epoch."""

from __future__ import annotations

import argparse
import math
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.classifier import memory_needed
from tinyrs.cli.column_types import (
    ColumnLocation,
    ColumnSummary,
    combined,
    infer_columns,
    is_text,
    to_numbers,
    to_text,
)
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.labelled_rows import LabelledRows
from tinyrs.cli.labels import label_values, match_labels
from tinyrs.cli.output import progress_bar, say
from tinyrs.cli.table_predictor import TablePredictor
from tinyrs.cli.table_reader import TableReader, is_parquet, is_table_folder, open_table
from tinyrs.cli.training_data import HOLD_OUT, Part, cell_error, check_columns, say_classes, say_columns
from tinyrs.ordered_map import read_ahead
from tinyrs.predictor import Predictor
from tinyrs.tabular.row_sample import RowSample, row_hashes
from tinyrs.tabular.row_source import RowSource, SourceRows
from tinyrs.tabular.values import CellError

# The rows to measure the model on at most: its accuracy then has a standard error of at most 0.0016.
MAX_MEASURED = 100_000
# The rows of the sample at least.
MIN_SAMPLE = 1000
# A target with more different values is not one of classes.
MAX_CLASSES = 10_000


@dataclass(frozen=True)
class StreamedData:
    """Labelled rows that are read again and again; see `TrainingData`.

    Attributes
    ----------
    source : RowSource
        All rows with a label.
    sample : SourceRows
        Some of them, in the order of their hashes with `seed`.
    classes : array of shape (n_classes,)
    """

    source: RowSource
    sample: SourceRows
    seed: int
    n_rows: int
    classes: npt.NDArray[Any]
    record: dict[str, Any]
    columns: list[ColumnSummary]
    table: TableReader

    @property
    def held_out_origin(self) -> str:
        """How `split` chooses the rows to measure the model on, for the reader."""
        return "chosen at random"

    def everything(self) -> Part:
        """All rows."""
        return Part(self.source, self.source.target, self.n_rows, self.table.name)

    def split(self) -> tuple[Part, npt.NDArray[np.intp]]:
        """The rows to train on, and the indices in `sample` of those to measure the model on."""
        n = min(self.n_rows // HOLD_OUT, len(self.sample.numbers))
        if n == 0:
            raise CliError(
                f"{self.table.name}: too few rows have a label to hold some out: measure with --valid FILE"
            )
        last = row_hashes(self.sample.numbers[n - 1 : n], self.seed)[0]
        rest = self.source.without(self.seed, last)
        return Part(rest, self.source.target, self.n_rows - n, self.table.name), np.arange(n)

    def rows(self, predictor: Predictor, indices: npt.NDArray[np.intp]) -> LabelledRows:
        """The rows of `sample` at these indices, encoded for a model that was trained on this data."""
        chosen = self.sample.take(indices)
        y = np.searchsorted(self.classes, chosen.labels)
        encoded = TablePredictor(predictor, self.table).encode(chosen.columns, self.table.first_row)
        return LabelledRows(encoded, y, chosen.columns, chosen.numbers + self.table.first_row)


def read_streamed(options: argparse.Namespace) -> StreamedData | None:
    """The rows of `options.data`, if it is Parquet that --max-memory does not hold; else None."""
    if not (is_table_folder(options.data) or is_parquet(options.data)):
        return None
    table = open_table(options.data)
    target = check_columns(table, options)
    source = RowSource(options.data, target, drop=options.drop)
    try:
        needed = memory_needed(source, options.categorical)
    except CellError as error:
        raise cell_error(error, source, table.name) from None
    if needed <= options.max_memory:
        return None
    for option in ("cv", "budget"):
        if getattr(options, option) is not None:
            raise UsageError(
                f"train: --{option} needs all rows in memory: use --max-memory {math.ceil(needed / 1e6)}MB"
            )
    say(
        f"{table.name}: would need about {needed / 1e6:,.0f} MB in memory, more than --max-memory: is read "
        "again in each epoch",
        quiet=options.json,
    )
    return _read(table, source, options)


def _read(table: TableReader, source: RowSource, options: argparse.Namespace) -> StreamedData:
    """Reads all rows once: counts the labels, and chooses a sample."""
    location = ColumnLocation(table.name, source.target, table.first_row)
    counts: dict[str, int] = {}
    sample: RowSample | None = None
    with (
        progress_bar("rows", quiet=options.json) as advance,
        closing(read_ahead(source.batches())) as batches,
    ):
        for rows in batches:
            if sample is None:
                row_bytes = rows.table.nbytes / len(rows.numbers)
                # Compacting the sample holds it three times.
                size = int(np.clip(options.max_memory / 24 / row_bytes, MIN_SAMPLE, MAX_MEASURED))
                sample = RowSample(size, options.seed)
            sample.add(rows.numbers, rows.table)
            for count in pc.value_counts(to_text(rows.table[source.target], location)).to_pylist():
                counts[count["values"]] = counts.get(count["values"], 0) + count["counts"]
            if len(counts) > MAX_CLASSES:
                raise location.column_error(f"expected at most {MAX_CLASSES:,} classes, got more")
            advance(len(rows.numbers))
    if sample is None:
        raise CliError(f"{table.name}: expected rows, got none")
    missing = counts.pop(None, 0)  # type: ignore[call-overload]  # the key of rows without a label
    n_rows = sum(counts.values())
    values = label_values(list(counts), n_rows, location)
    order = np.argsort(np.array(values))
    classes = np.array(values)[order]

    sampled, numbers = sample.rows()
    X, columns = infer_columns(
        sampled.select(source.names), table.name, 1, options.categorical, numbers + table.first_row
    )
    as_numbers = [name for name in source.names if is_text(sampled[name].type) and not is_text(X[name].type)]
    prepare = _Prepare(table, source.target, classes, as_numbers)
    say(
        f"{n_rows + missing:,} rows, {len(columns)} columns; in a sample of {len(numbers):,} rows:",
        quiet=options.json,
    )
    say_columns(columns, options.json)
    say_classes(f"target {source.target}", classes, np.array(list(counts.values()))[order], options.json)
    if missing:
        say(f"{missing:,} rows without a value in {source.target} skipped", quiet=options.json)
    labelled = SourceRows(numbers, prepare.labels(sampled, numbers + table.first_row), source.target, None)
    return StreamedData(
        RowSource(options.data, source.target, drop=options.drop, prepare=prepare),
        labelled.where(labelled.table[source.target].is_valid().to_numpy()),
        options.seed,
        n_rows,
        classes,
        {"target": source.target},
        columns,
        table,
    )


@dataclass(frozen=True)
class _Prepare:
    """Reads the labels of a table as classes, and the columns `as_numbers`, which are text, as numbers."""

    table: TableReader
    target: str
    classes: npt.NDArray[Any]
    as_numbers: list[str]

    def __call__(self, table: pa.Table, first_row: int) -> pa.Table:
        row = first_row + self.table.first_row
        for name in self.as_numbers:
            numbers = to_numbers(table[name], ColumnLocation(self.table.name, name, row))
            table = table.set_column(table.column_names.index(name), name, pa.array(numbers))
        return self.labels(table, np.arange(row, row + len(table)))

    def labels(self, table: pa.Table, numbers: npt.NDArray[np.int64]) -> pa.Table:
        """The table with its target as classes, null for a missing one; `numbers` are those of its rows."""
        location = ColumnLocation(self.table.name, self.target, numbers=numbers)
        indices = match_labels(combined(table[self.target]), self.classes, location)
        classes = pa.array(self.classes).take(pa.array(indices, mask=indices < 0))
        return table.set_column(table.column_names.index(self.target), self.target, classes)
