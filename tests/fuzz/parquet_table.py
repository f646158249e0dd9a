"""Parquet files through the command line: columns of every Arrow type, and damaged files."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.csv_table import run
from fuzz.harness import FOLDER, Source, small_table

FILE = FOLDER / "table.parquet"
NUMBERS = [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(20, 3), pa.bool_()]
TIMES = [pa.date32(), pa.timestamp("ns", "UTC"), pa.timestamp("s"), pa.time64("ns"), pa.duration("ms")]
OTHERS = [
    *(pa.null(), pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())),
    *(pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.dictionary(pa.int8(), pa.float64())),
]


def column(source: Source, rows: int) -> Any:
    """A column of a random type; nulls where a random value does not fit it."""
    kind = source.pick(NUMBERS + TIMES + OTHERS)

    def value() -> Any:
        if source.whole(5) == 0:
            return None
        if pa.types.is_list(kind):
            return [source.whole(100)]
        if pa.types.is_struct(kind):
            return {"a": source.whole(100)}
        if kind in NUMBERS and not pa.types.is_boolean(kind):
            return source.real() if pa.types.is_floating(kind) else source.whole(100)
        if pa.types.is_boolean(kind):
            return bool(source.whole(1))
        if kind in TIMES:
            return source.whole(1 << 16)
        if pa.types.is_dictionary(kind) and pa.types.is_floating(kind.value_type):
            return source.real()
        if pa.types.is_null(kind):
            return None
        return source.text().encode() if pa.types.is_binary(kind) else source.text()

    values = [value() for _ in range(rows)]
    try:
        if kind in TIMES:
            width = pa.int32() if pa.types.is_date32(kind) else pa.int64()
            return pa.array(values, type=width).cast(kind)
        return pa.array(values, type=kind)
    except (pa.ArrowException, NotImplementedError):
        return pa.nulls(rows)


def generated(source: Source) -> bytes:
    """The table of the model with some of its columns replaced."""
    table, y = small_table(seed=1)
    columns: dict[str, Any] = {name: pa.array(values) for name, values in (table | {"kind": y}).items()}
    for _ in range(source.whole(3)):
        columns[source.pick([*columns, source.text()])] = column(source, len(y))
    if source.whole(5) == 0:
        del columns[source.pick(list(columns))]
    stream = io.BytesIO()
    try:
        pq.write_table(pa.table(columns).slice(0, source.pick([60, 60, 1, 0])), stream)
    except (pa.ArrowException, UnicodeEncodeError):
        return b""
    return stream.getvalue()


def damaged(source: Source) -> bytes:
    """A file with changed bytes in its metadata, which stands at its end."""
    stream = io.BytesIO()
    table, y = small_table(seed=1)
    pq.write_table(pa.table(table | {"kind": y}), stream)
    file = bytearray(stream.getvalue())
    for _ in range(source.whole(6)):
        file[-1 - source.whole(600)] = source.whole(255)
    return bytes(file)


def seeds() -> dict[str, bytes]:
    return {
        f"{kind}-{i}": kind.encode() + bytes(range(i, i + 80)) for kind in ("p", "e", "t") for i in (0, 1, 40)
    } | {"damaged": b"d" + bytes(range(30))}


def one(data: bytes) -> None:
    kind, source = data[:1], Source(data[1:])
    run(kind, FILE, damaged(source) if kind == b"d" else generated(source))
