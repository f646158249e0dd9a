"""Reads tables with pyarrow, one chunk at a time: CSV, Parquet, and NumPy's NPZ."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import dataset, parquet

from tinyrs.cli import csv_reader
from tinyrs.cli.csv_reader import at_least_one, check_unique
from tinyrs.cli.errors import CliError
from tinyrs.cli.output import STREAM
from tinyrs.cli.text_format import DEFAULT, TextFormat
from tinyrs.cli.text_stream import Utf8Stream
from tinyrs.tabular.batches import dataset_parts

# Rows of a chunk of a Parquet or NPZ file.
CHUNK_ROWS = 1 << 16
# What NumPy raises for a damaged NPZ file.
DAMAGED = (ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class TableReader:
    """An open table: its columns, and an iterator over its rows that can be used once."""

    name: str  # for error messages
    columns: list[str]
    chunks: Iterator[pa.RecordBatch]
    # The number of the first row of data. As in a spreadsheet, the header of a CSV file is row 1.
    first_row: int = 1
    # How the text of a CSV file is read; the default for other files.
    format: TextFormat = DEFAULT
    # False for an NPZ file, and for a CSV file without a header, whose column names are made up.
    has_names: bool = True

    @property
    def delimiter(self) -> str:
        return self.format.delimiter or ","

    def read_all(self) -> pa.Table:
        """The rows that were not read yet. CliError if there are none."""
        chunks = list(self.chunks)
        if sum(map(len, chunks)) == 0:
            got = "none" if self.first_row == 1 else "only a header"
            raise CliError(f"{self.name}: expected rows, got {got}")
        return pa.Table.from_batches(chunks)

    def numbered_chunks(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        """The chunks, each with the number of its first row."""
        row = self.first_row
        for chunk in self.chunks:
            yield chunk, row
            row += len(chunk)


def is_parquet(path: str) -> bool:
    """Whether the name is that of a Parquet file."""
    return path.lower().endswith((".parquet", ".pq"))


def is_table_folder(path: str) -> bool:
    """Whether this is a folder with Parquet files, in it or in its subfolders."""
    return Path(path).is_dir() and any(is_parquet(file.name) for file in Path(path).rglob("*"))


def open_table(path: str, text_format: TextFormat = DEFAULT) -> TableReader:
    """Opens a table by the suffix of its name; everything else, and `-` for standard input, is CSV.

    Raises
    ------
    CliError
        If the file is not a table; while its chunks are read, if a row is malformed.
    OSError
        If the file cannot be read.
    """
    if path != STREAM:
        if not Path(path).exists():
            raise CliError(f"{path}: no such file")
        if is_table_folder(path):
            return _open_parquet_folder(path)
        if Path(path).is_dir():
            raise CliError(f"{path}: expected a table or a folder of Parquet files, got another folder")
        if is_parquet(path):
            return _open_parquet(path)
        if path.lower().endswith(".npz"):
            return _open_npz(path)
    return _open_csv(path, text_format)


def _open_csv(path: str, text_format: TextFormat) -> TableReader:
    text = Utf8Stream(path, text_format.encoding)
    found = text_format.with_delimiter_of(text.head, path)
    assert found.delimiter is not None
    columns, chunks = csv_reader.read(text, found.delimiter, found.header)
    return TableReader(
        text.name, columns, chunks, first_row=2 if found.header else 1, format=found, has_names=found.header
    )


def _open_parquet(path: str) -> TableReader:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise CliError(f"{path}: not a Parquet file: {error}") from None
    columns = file.schema_arrow.names
    check_unique(columns, path)

    def chunks() -> Iterator[pa.RecordBatch]:
        try:
            yield from at_least_one(file.iter_batches(batch_size=CHUNK_ROWS), file.schema_arrow)
        except pa.ArrowInvalid as error:
            raise CliError(f"{path}: the file is damaged: {error}") from None

    return TableReader(path, columns, chunks())


def _open_parquet_folder(path: str) -> TableReader:
    try:
        source = dataset.dataset(path, format="parquet")
    except pa.ArrowInvalid as error:
        raise CliError(f"{path}: expected Parquet files only: {error}") from None
    check_unique(source.schema.names, path)

    def chunks() -> Iterator[pa.RecordBatch]:
        try:
            parts = (part.batches(source.schema.names, CHUNK_ROWS) for part in dataset_parts(source))
            yield from at_least_one(chain.from_iterable(parts), source.schema)
        except pa.ArrowInvalid as error:
            raise CliError(f"{path}: a file is damaged: {error}") from None

    return TableReader(path, source.schema.names, chunks())


def _open_npz(path: str) -> TableReader:
    """Array X, flattened to (rows, columns), as columns x0, x1, ...; the optional array y as column y."""
    try:
        # Unpickling could execute code.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if "X" not in arrays:
                raise CliError(f"{path}: expected an array X, got {', '.join(arrays) or 'none'}")
            X, y = arrays["X"], arrays.get("y")
    except (*DAMAGED, TypeError, AttributeError) as error:  # the last two: an array, not an archive
        raise CliError(f"{path}: not an NPZ file with arrays that can be read: {error}") from None
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise CliError(
            f"{path}: X: expected numbers of shape (rows, columns), got {X.dtype} of shape {X.shape}"
        )
    X = X.reshape(len(X), math.prod(X.shape[1:]))
    columns = {f"x{i}": pa.array(np.asarray(X[:, i], dtype=np.float64)) for i in range(X.shape[1])}
    if y is not None:
        if y.shape != (len(X),):
            raise CliError(
                f"{path}: y: expected shape ({len(X)},), one label for each row of X, got {y.shape}"
            )
        try:
            columns["y"] = pa.array(y)
        except pa.ArrowException:
            raise CliError(f"{path}: y: expected labels, such as integers or text, got {y.dtype}") from None
    table = pa.table(columns)
    chunks = iter(table.to_batches(max_chunksize=CHUNK_ROWS))
    return TableReader(path, table.column_names, chunks, has_names=False)
