"""Reads tables with pyarrow, one chunk at a time: CSV, Parquet, and NumPy's NPZ.

CSV columns are read as text, for two reasons: `predict` writes "007" as it was, and a column has the same
type in the training file and in new files. pyarrow would infer types from the first block of each file.
Training decides the types once, from the whole file (`tinyrs.cli.column_types`).
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

from tinyrs.cli.errors import CliError
from tinyrs.cli.output import STREAM

# The fastest of 1/4 to 4 MiB for benchmarks/predict_csv.py, which takes 260 MB of memory (4 MiB: 390 MB).
CSV_BLOCK = 1 << 20
# The largest header of a CSV file.
MAX_HEADER = CSV_BLOCK
# Rows of a chunk of a Parquet or NPZ file.
CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class TableReader:
    """An open table: its columns, and an iterator over its rows that can be used once."""

    name: str  # for error messages
    columns: list[str]
    chunks: Iterator[pa.RecordBatch]
    # The number of the first row of data. As in a spreadsheet, the header of a CSV file is row 1.
    first_row: int = 1
    delimiter: str = ","
    # False for an NPZ file, whose column names are made up.
    has_names: bool = True

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


def open_table(path: str, delimiter: str | None = None) -> TableReader:
    """Opens a table by the suffix of its name; `-` is CSV on standard input.

    Raises
    ------
    CliError
        If the file is not a table; while its chunks are read, if a row is malformed.
    OSError
        If the file cannot be read.
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
    # input_stream decompresses .gz, .bz2 and others by the suffix.
    return _open_csv(pa.input_stream(path), path, delimiter)


# CSV.


def _open_csv(stream: Any, name: str, delimiter: str) -> TableReader:
    head = stream.read(MAX_HEADER)
    if not head.strip():
        raise CliError(f"{name}: expected a header and rows, got an empty file")
    # Quoted values may contain line breaks.
    parse = {"delimiter": delimiter, "newlines_in_values": True}
    try:
        columns = csv.open_csv(
            io.BytesIO(head),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(head) + 1),
            parse_options=csv.ParseOptions(**parse, invalid_row_handler=lambda row: "skip"),
        ).schema.names
    except pa.ArrowInvalid as error:
        raise CliError(f"{name}: {_csv_message(error, [])}") from None
    _check_unique(columns, name)
    chunks = _read_ahead(_csv_chunks(_PrefixedStream(head, stream), name, columns, parse))
    return TableReader(name, columns, chunks, first_row=2, delimiter=delimiter)


def _csv_chunks(stream: io.RawIOBase, name: str, columns: list[str], parse: Any) -> Iterator[pa.RecordBatch]:
    as_text = csv.ConvertOptions(
        column_types={column: pa.string() for column in columns},
        # An empty value is missing; a quoted empty value is empty text.
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        reader = csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            # pyarrow parses on one thread in any case; without use_threads its errors contain the row.
            read_options=csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
            parse_options=csv.ParseOptions(**parse),
            convert_options=as_text,
        )
        yield from _at_least_one(reader, reader.schema)
    except pa.ArrowInvalid as error:
        raise CliError(f"{name}: {_csv_message(error, columns)}") from None


def _read_ahead(chunks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same chunks, read by another thread, at most two ahead.

    The main thread can be interrupted by Ctrl-C while it waits for a queue, but not while it waits for a pipe
    inside pyarrow.
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
        # Unblocks the thread if it waits in put().
        while not queue.empty():
            queue.get()


def _at_least_one(chunks: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The same chunks; if there are none, one without rows, which carries the schema."""
    none = True
    for chunk in chunks:
        none = False
        yield chunk
    if none:
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _csv_message(error: Exception, columns: list[str]) -> str:
    """pyarrow's error about a CSV file in our words."""
    text = str(error)
    found = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", text)
    if found:
        row = f"row {found[1]}: " if found[1] else ""
        return f"{row}expected {found[2]} columns as in the header, got {found[3]}"
    found = re.search(r"In CSV column #(\d+): .*invalid UTF8", text)
    if found:
        column = f'column "{columns[int(found[1])]}": ' if columns else ""
        return f"{column}expected UTF-8 text, got other bytes"
    if "straddling" in text:
        return f"a row is longer than {CSV_BLOCK >> 20} MiB; check for a missing closing quotation mark"
    return f"cannot be read as CSV: {text}"


def _check_unique(columns: list[str], name: str) -> None:
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise CliError(f'{name}: column names must be unique, but "{repeated[0]}" occurs more than once')


class _PrefixedStream(io.RawIOBase):
    """Bytes that were already read, followed by the rest of a stream that cannot seek back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._head.read(size) or self._rest.read(size)


# Parquet and NPZ.


def _open_parquet(path: str) -> TableReader:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise CliError(f"{path}: not a Parquet file: {error}") from None
    columns = file.schema_arrow.names
    _check_unique(columns, path)

    def chunks() -> Iterator[pa.RecordBatch]:
        try:
            yield from _at_least_one(file.iter_batches(batch_size=CHUNK_ROWS), file.schema_arrow)
        except pa.ArrowInvalid as error:
            raise CliError(f"{path}: the file is damaged: {error}") from None

    return TableReader(path, columns, chunks())


def _open_npz(path: str) -> TableReader:
    """Array X, flattened to (rows, columns), as columns x0, x1, ...; the optional array y as column y."""
    try:
        # Unpickling could execute code.
        with np.load(path, allow_pickle=False) as arrays:
            if "X" not in arrays:
                raise CliError(f"{path}: expected an array X, got {', '.join(arrays) or 'none'}")
            X, y = arrays["X"], arrays.get("y")
    except (ValueError, zipfile.BadZipFile) as error:
        raise CliError(f"{path}: not an NPZ file: {error}") from None
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise CliError(
            f"{path}: X: expected numbers of shape (rows, columns), got {X.dtype} of shape {X.shape}"
        )
    X = X.reshape(len(X), -1)
    columns = {f"x{i}": pa.array(np.asarray(X[:, i], dtype=np.float64)) for i in range(X.shape[1])}
    if y is not None:
        if y.shape != (len(X),):
            raise CliError(
                f"{path}: y: expected shape ({len(X)},), one label for each row of X, got {y.shape}"
            )
        columns["y"] = pa.array(y)
    table = pa.table(columns)
    chunks = iter(table.to_batches(max_chunksize=CHUNK_ROWS))
    return TableReader(path, table.column_names, chunks, has_names=False)
