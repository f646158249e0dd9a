"""Reads CSV with pyarrow, one chunk at a time.

Columns are read as text, for two reasons: `predict` writes "007" as it was, and a column has the same type in
the training file and in new files. pyarrow would infer types from the first block of each file. Training
decides the types once, from the whole file (`tinyrs.cli.column_types`).
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import Any

import pyarrow as pa
from pyarrow import csv

from tinyrs.cli.errors import CliError
from tinyrs.cli.text_stream import Utf8Stream

# The fastest of 1/4 to 4 MiB for benchmarks/predict_csv.py, which takes 260 MB of memory (4 MiB: 390 MB).
CSV_BLOCK = 1 << 20


def read(text: Utf8Stream, delimiter: str, header: bool) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """The column names of a CSV file and its chunks, all text. Without a header, names are x0, x1, ...

    Raises
    ------
    CliError
        If it cannot be read as CSV; while the chunks are read, if a row is malformed.
    """
    # Quoted values may contain line breaks.
    parse = {"delimiter": delimiter, "newlines_in_values": True}
    head = text.head.encode()
    try:
        names = csv.open_csv(
            io.BytesIO(head),
            read_options=csv.ReadOptions(
                use_threads=False, block_size=len(head) + 1, autogenerate_column_names=not header
            ),
            parse_options=csv.ParseOptions(**parse, invalid_row_handler=lambda row: "skip"),
        ).schema.names
    except pa.ArrowInvalid as error:
        raise CliError(f"{text.name}: {_csv_message(error, [])}") from None
    columns = [name.strip() for name in names] if header else [f"x{i}" for i in range(len(names))]
    check_unique(columns, text.name)
    return columns, _read_ahead(_chunks(text, names, columns, header, parse))


def _chunks(
    text: Utf8Stream, names: list[str], columns: list[str], header: bool, parse: Any
) -> Iterator[pa.RecordBatch]:
    """The chunks, with `columns` instead of the `names` in the file."""
    as_text = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        # An empty value is missing; a quoted empty value is empty text.
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        reader = csv.open_csv(
            pa.PythonFile(text, mode="r"),
            # pyarrow parses on one thread in any case; without use_threads its errors contain the row.
            read_options=csv.ReadOptions(
                use_threads=False, block_size=CSV_BLOCK, column_names=None if header else names
            ),
            parse_options=csv.ParseOptions(**parse),
            convert_options=as_text,
        )
        for chunk in at_least_one(reader, reader.schema):
            yield pa.RecordBatch.from_arrays(chunk.columns, names=columns)
    except pa.ArrowInvalid as error:
        raise CliError(f"{text.name}: {_csv_message(error, columns)}") from None


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


def at_least_one(chunks: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
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
        return f"{column}expected UTF-8 text, got other bytes: use --encoding, such as --encoding cp1252"
    if "straddling" in text:
        return f"a row is longer than {CSV_BLOCK >> 20} MiB; check for a missing closing quotation mark"
    return f"cannot be read as CSV: {text}"


def check_unique(columns: list[str], name: str) -> None:
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise CliError(f'{name}: column names must be unique, but "{repeated[0]}" occurs more than once')
