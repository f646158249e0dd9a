"""Tables, read by pyarrow a chunk at a time: CSV, Parquet, and NumPy's NPZ.

A CSV file is read as text. What its columns are is decided once, in training, for the whole file (see
`tinyrs.cli.column_types`), and never guessed again: so "007" comes out of `predict` as it went in, and a
column
means the same in both files. pyarrow's own guess is made from the first block of a file.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from tinyrs.cli.shell import STREAM, CliError

# Of 1/4 to 4 MiB this took the least time; for 10 columns on two threads 260 MB of memory, 4 MiB 390.
CSV_BLOCK = 1 << 20
ROWS = 1 << 16
# A header must end here.
MAX_HEADER = CSV_BLOCK


@dataclass(frozen=True)
class Source:
    """A table that is being read: its columns, and its rows, chunk after chunk, once."""

    name: str  # for messages
    columns: list[str]
    chunks: Iterator[pa.RecordBatch]
    # The place of the first row of data. In a CSV file the header is row 1, as a spreadsheet counts.
    first_row: int = 1
    delimiter: str = ","
    # An NPZ file's columns have no names of their own.
    named: bool = True

    def read(self) -> pa.Table:
        """All rows that are left."""
        chunks = list(self.chunks)
        if sum(map(len, chunks)) == 0:
            raise CliError(
                f"{self.name}: expected rows, got {'none' if self.first_row == 1 else 'a header alone'}"
            )
        return pa.Table.from_batches(chunks)


def open_table(path: str, delimiter: str | None = None) -> Source:
    """The table in a file; `-` is CSV on standard input.

    Raises
    ------
    CliError
        If it is no table; while it is read, if a row is not like the others.
    OSError
        If it cannot be read.
    """
    if path == STREAM:
        return _open_csv(sys.stdin.buffer, "standard input", delimiter or ",")
    if not Path(path).exists():
        raise CliError(f"{path}: no such file")
    if Path(path).is_dir():
        raise CliError(f"{path}: expected a file with a table, got a folder")
    name = path.lower()
    if name.endswith((".parquet", ".pq")):
        return _open_parquet(path)
    if name.endswith(".npz"):
        return _open_npz(path)
    if delimiter is None:
        delimiter = "\t" if ".tsv" in Path(name).suffixes else ","
    # By its name, .gz and others are decompressed on the way.
    return _open_csv(pa.input_stream(path), path, delimiter)


def numbered(source: Source) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The chunks, each with the place of its first row."""
    row = source.first_row
    for chunk in source.chunks:
        yield chunk, row
        row += len(chunk)


def _open_csv(stream: Any, name: str, delimiter: str) -> Source:
    head = stream.read(MAX_HEADER)
    if not head.strip():
        raise CliError(f"{name}: expected a header and rows, got an empty file")
    # A line break within quotes is part of a value.
    parse = {"delimiter": delimiter, "newlines_in_values": True}
    try:
        columns = csv.open_csv(
            io.BytesIO(head),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(head) + 1),
            parse_options=csv.ParseOptions(**parse, invalid_row_handler=lambda row: "skip"),
        ).schema.names
    except pa.ArrowInvalid as error:
        raise CliError(f"{name}: {_csv_message(error, [])}") from None
    _check_names(columns, name)
    chunks = _read_ahead(_csv_chunks(_Joined(head, stream), name, columns, parse))
    return Source(name, columns, chunks, first_row=2, delimiter=delimiter)


def _csv_chunks(stream: io.RawIOBase, name: str, columns: list[str], parse: Any) -> Iterator[pa.RecordBatch]:
    text = csv.ConvertOptions(
        column_types={column: pa.string() for column in columns},
        # Nothing between two delimiters is nothing; "" in quotes is a text.
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        reader = csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            # One thread parses in any case; asking for one keeps the number of a row that is wrong.
            read_options=csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
            parse_options=csv.ParseOptions(**parse),
            convert_options=text,
        )
        yield from _at_least_one(reader, reader.schema)
    except pa.ArrowInvalid as error:
        raise CliError(f"{name}: {_csv_message(error, columns)}") from None


def _read_ahead(chunks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The chunks, read on a thread of their own, two ahead.

    Ctrl-C reaches the main thread while it waits for a queue, but not while it waits in pyarrow for a pipe.
    """
    queue, stopped = Queue[pa.RecordBatch | Exception | None](2), Event()

    def read() -> None:
        try:
            for chunk in chunks:
                queue.put(chunk)
                if stopped.is_set():
                    break
            queue.put(None)
        except Exception as error:
            queue.put(error)

    Thread(target=read, daemon=True).start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        # Room for what it may be about to put.
        while not queue.empty():
            queue.get()


def _at_least_one(chunks: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The chunks; of a table without rows, one that is empty."""
    none = True
    for chunk in chunks:
        none = False
        yield chunk
    if none:
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _csv_message(error: Exception, columns: list[str]) -> str:
    """What pyarrow says of a CSV file, as we say it."""
    text = str(error)
    found = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", text)
    if found:
        row = f"row {found[1]}: " if found[1] else ""
        return f"{row}expected {found[2]} columns as in the header, got {found[3]}"
    found = re.search(r"In CSV column #(\d+): .*invalid UTF8", text)
    if found:
        column = f'column "{columns[int(found[1])]}": ' if columns else ""
        return f"{column}expected text in UTF-8, got other bytes"
    if "straddling" in text:
        return f"expected rows of less than {CSV_BLOCK >> 20} MiB; is a quotation mark open?"
    return f"not a CSV file that can be read: {text}"


def _check_names(columns: list[str], name: str) -> None:
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise CliError(f'{name}: expected columns with different names, got "{twice[0]}" more than once')


class _Joined(io.RawIOBase):
    """What was read of a stream to see its header, then the rest of it: a pipe has no way back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._head.read(size) or self._rest.read(size)


def _open_parquet(path: str) -> Source:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise CliError(f"{path}: not a Parquet file: {error}") from None
    columns = file.schema_arrow.names
    _check_names(columns, path)

    def chunks() -> Iterator[pa.RecordBatch]:
        try:
            yield from _at_least_one(file.iter_batches(batch_size=ROWS), file.schema_arrow)
        except pa.ArrowInvalid as error:
            raise CliError(f"{path}: damaged: {error}") from None

    return Source(path, columns, chunks())


def _open_npz(path: str) -> Source:
    """X, with any shape of rows, as columns x0, x1, ...; y, if there, as the column y."""
    try:
        # Never pickles: they are programs.
        with np.load(path, allow_pickle=False) as arrays:
            if "X" not in arrays:
                raise CliError(f"{path}: expected an array X, got {', '.join(arrays) or 'none'}")
            X, y = arrays["X"], arrays.get("y")
    except (ValueError, zipfile.BadZipFile) as error:
        raise CliError(f"{path}: not an NPZ file that can be read: {error}") from None
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise CliError(
            f"{path}: X: expected numbers of shape (rows, columns), got {X.dtype} of shape {X.shape}"
        )
    X = X.reshape(len(X), -1)
    columns = {f"x{i}": pa.array(np.asarray(X[:, i], dtype=np.float64)) for i in range(X.shape[1])}
    if y is not None:
        if y.shape != (len(X),):
            raise CliError(f"{path}: y: expected shape ({len(X)},), as X has rows, got {y.shape}")
        columns["y"] = pa.array(y)
    table = pa.table(columns)
    return Source(path, table.column_names, iter(table.to_batches(max_chunksize=ROWS)), named=False)
