"""Writes predictions as CSV or Parquet: chunks are computed by several threads and written in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from tinyrs.cli.column_types import is_text
from tinyrs.cli.errors import CliError
from tinyrs.cli.output import STREAM, open_output, progress_bar
from tinyrs.cli.table_reader import CHUNK_ROWS
from tinyrs.ordered_map import map_in_order

T = TypeVar("T")


# What spreadsheets take for the start of a formula, unless it is a number.
FORMULA, NUMBER = r"^[=+\-@\t\r]", r"^[+-]?[\d.,]+([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class TableOutput:
    """Where a table is written to: a file whose suffix chooses Parquet, tab-separated or CSV.

    `path` may be `-` for CSV on standard output. With `escape_formulas`, CSV has an apostrophe before text
    that a spreadsheet would run as a formula.
    """

    path: str
    delimiter: str
    header: bool = True
    escape_formulas: bool = False


def write_table(
    output: TableOutput, chunks: Iterator[T], job: Callable[[T], pa.RecordBatch], threads: int
) -> int:
    """Writes `job(chunk)` for each chunk, in order, and returns the number of rows."""
    suffix, rows = output.path.lower(), 0
    with open_output(output.path) as file, progress_bar("rows", quiet=output.path == STREAM) as advance:
        writer: Any
        if suffix.endswith((".parquet", ".pq")):
            writer = _ParquetWriter(file)
        else:
            delimiter = "\t" if suffix.endswith(".tsv") else output.delimiter
            writer = _CsvWriter(file, delimiter, output.header, output.escape_formulas)

        def work(chunk: T) -> tuple[pa.RecordBatch, Any]:
            batch = job(chunk)
            return batch, writer.prepare(batch)

        with closing(writer), closing(map_in_order(work, chunks, threads)) as results:
            for batch, prepared in results:
                writer.write(batch, prepared)
                rows += len(batch)
                advance(len(batch))
    return rows


class _CsvWriter:
    """Any thread may call `prepare`; one thread calls `write`, in order."""

    def __init__(self, file: IO[bytes], delimiter: str, header: bool, escape_formulas: bool) -> None:
        self._file, self._delimiter, self._header_due = file, delimiter, header
        self._escape_formulas = escape_formulas

    def prepare(self, rows: pa.RecordBatch) -> pa.Buffer:
        """The rows as CSV text."""
        if self._escape_formulas:
            columns = [_without_formulas(column) for column in rows.columns]
            rows = pa.RecordBatch.from_arrays(columns, names=rows.schema.names)
        try:
            return self._format(rows, "none")
        except pa.ArrowInvalid:
            if any(pa.types.is_nested(kind) for kind in rows.schema.types):
                raise CliError(_nested_message(rows.schema)) from None
            # A value contains a delimiter, quote or line break; pyarrow then quotes all text of the chunk.
            return self._format(rows, "needed")

    def _format(self, rows: pa.RecordBatch, quoting_style: str) -> pa.Buffer:
        stream = pa.BufferOutputStream()
        options = csv.WriteOptions(
            include_header=False,
            batch_size=CHUNK_ROWS,
            delimiter=self._delimiter,
            quoting_style=quoting_style,
        )
        csv.write_csv(rows, stream, options)
        return stream.getvalue()

    def write(self, rows: pa.RecordBatch, prepared: pa.Buffer) -> None:
        if self._header_due:
            # Written as a row, because pyarrow would quote every name of a header.
            names = [pa.array([name]) for name in rows.schema.names]
            self._file.write(self.prepare(pa.RecordBatch.from_arrays(names, names=rows.schema.names)))
            self._header_due = False
        self._file.write(prepared)

    def close(self) -> None:
        """Does nothing: CSV has no footer."""


def _without_formulas(column: pa.Array) -> pa.Array:
    """A column of text with an apostrophe before each formula; other columns unchanged."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        return column
    column = pc.cast(column, pa.string())
    formulas = pc.and_not(pc.match_substring_regex(column, FORMULA), pc.match_substring_regex(column, NUMBER))
    return pc.if_else(formulas, pc.binary_join_element_wise("'", column, ""), column)


def _nested_message(schema: pa.Schema) -> str:
    kinds = ", ".join(f'"{field.name}" ({field.type})' for field in schema if pa.types.is_nested(field.type))
    return f"CSV cannot store the nested columns {kinds}: write to a .parquet file"


class _ParquetWriter:
    """As `_CsvWriter`; all work is done in `write`, because Parquet is encoded in order."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: Any = None

    def prepare(self, rows: pa.RecordBatch) -> None:
        """Does nothing."""

    def write(self, rows: pa.RecordBatch, prepared: None) -> None:
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, rows.schema)
        self._writer.write_batch(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
