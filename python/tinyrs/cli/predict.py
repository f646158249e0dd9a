"""`tinyrs predict`: a table of any length in, the same with label and probability out, in constant memory.

Threads take chunks and make bytes of them; they are written in the order in which they came. The input's
columns are text from end to end (see `tinyrs.cli.data`), so nothing is lost by a detour through numbers, and
writing them costs a tenth of what formatting numbers does.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
from pyarrow import csv, parquet

import tinyrs
from tinyrs.cli.data import ROWS, Source, numbered, open_table
from tinyrs.cli.scoring import Floats, Scorer, load_predictor
from tinyrs.cli.shell import STREAM, CliError, Parser, UsageError, counter, say, writing
from tinyrs.predictor import Predictor

T = TypeVar("T")
R = TypeVar("R")


def parser() -> Parser:
    parser = Parser(
        "predict",
        "Add the columns label and probability to a table: CSV, Parquet or NPZ, or a folder of images.",
        "tinyrs predict model.safetensors new.csv -o out.csv",
        "zcat new.csv.gz | tinyrs predict model.safetensors - > out.csv",
        "tinyrs predict model.safetensors photos/ -o out.csv",
    )
    parser.add_model()
    parser.add_argument("data", help="the table, or the folder; - is CSV on standard input")
    parser.add_argument(
        "-o",
        "--output",
        default=STREAM,
        metavar="FILE",
        help="where to write it: CSV, or Parquet if it ends so; - is standard output (the default)",
    )
    parser.add_argument("--proba", action="store_true", help="also one column a class, probability_CLASS")
    parser.add_argument("--prefix", default="", help="before the names of the columns that are added")
    parser.add_delimiter()
    parser.add_threads()
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.json and options.output == STREAM:
        raise UsageError("predict: --json and the predictions cannot both go to standard output: say -o FILE")
    predictor = load_predictor(options.model)
    threads = options.threads or tinyrs.get_num_threads()
    # Standard output may be nobody's to talk on.
    quiet = options.json or options.output == STREAM
    if "images" in predictor.training:
        rows, skipped = _predict_images(predictor, options, threads)
    else:
        source = open_table(options.data, options.delimiter)
        job = _table_job(predictor, source, options)
        rows, skipped = _stream(numbered(source), job, options.output, source.delimiter, threads), []
    say(f"{rows:,} rows, written to {options.output}", quiet=quiet)
    return {"rows": rows, "output": options.output, "skipped": skipped}


def _table_job(
    predictor: Predictor, source: Source, options: argparse.Namespace
) -> Callable[[tuple[pa.RecordBatch, int]], pa.RecordBatch]:
    # Chunks are what threads share out, so each is one thread's.
    scorer = Scorer(predictor, source, n_threads=1)
    prediction = _Prediction(predictor, options)
    clash = [name for name in prediction.names if name in source.columns]
    if clash:
        raise CliError(
            f'{source.name}: has a column "{clash[0]}" already, which is what predict adds: '
            f"rename it, or say --prefix predicted_"
        )

    def job(chunk: tuple[pa.RecordBatch, int]) -> pa.RecordBatch:
        return prediction.beside(chunk[0], scorer.probabilities(*chunk))

    return job


def _predict_images(predictor: Predictor, options: argparse.Namespace, threads: int) -> tuple[int, list[str]]:
    """A table of file, label and probability; the number of its rows, and the files that are no images."""
    from tinyrs.cli import images

    prediction, recipe, skipped = _Prediction(predictor, options), images.Recipe.of(predictor), list[str]()
    files = images.list_images(options.data)

    def job(files: list[Path]) -> pa.RecordBatch:
        features, read, unreadable = recipe.read(files)
        skipped.extend(unreadable)
        names = pa.record_batch({"file": pa.array(map(str, read), pa.string())})
        return prediction.beside(names, predictor.predict_proba(features, n_threads=1))

    rows = _stream(images.batches(files), job, options.output, options.delimiter or ",", threads)
    images.report_unreadable(skipped, len(files), options.data)
    return rows, skipped


class _Prediction:
    """The columns that are added to a chunk."""

    def __init__(self, predictor: Predictor, options: argparse.Namespace) -> None:
        self._classes = pa.array(predictor.classes_.tolist())
        self._proba = options.proba
        each = [f"probability_{name}" for name in predictor.classes_.tolist()] if options.proba else []
        self.names = [options.prefix + name for name in ("label", "probability", *each)]

    def beside(self, chunk: pa.RecordBatch, p: Floats) -> pa.RecordBatch:
        columns = [self._classes.take(pa.array(p.argmax(axis=1))), pa.array(p.max(axis=1))]
        if self._proba:
            columns += [pa.array(column.copy()) for column in p.T]
        return pa.RecordBatch.from_arrays(
            [*chunk.columns, *columns], names=[*chunk.schema.names, *self.names]
        )


class _CsvSink:
    """Rows as CSV: `prepare` is for any thread, `write` for one, in order."""

    def __init__(self, file: IO[bytes], delimiter: str) -> None:
        self._file, self._delimiter, self._empty = file, delimiter, True

    def prepare(self, rows: pa.RecordBatch) -> pa.Buffer:
        try:
            return self._format(rows, "none")
        except pa.ArrowInvalid:
            if any(pa.types.is_nested(kind) for kind in rows.schema.types):
                raise CliError(_unwritable(rows.schema)) from None
            # There is a delimiter, a quote or a line break in it: everything that is text is quoted.
            return self._format(rows, "needed")

    def _format(self, rows: pa.RecordBatch, quotes: str) -> pa.Buffer:
        stream = pa.BufferOutputStream()
        style = csv.WriteOptions(
            include_header=False, batch_size=ROWS, delimiter=self._delimiter, quoting_style=quotes
        )
        csv.write_csv(rows, stream, style)
        return stream.getvalue()

    def write(self, rows: pa.RecordBatch, prepared: pa.Buffer) -> None:
        if self._empty:
            # As a row of its own: pyarrow would quote every name.
            names = [pa.array([name]) for name in rows.schema.names]
            self._file.write(self.prepare(pa.RecordBatch.from_arrays(names, names=rows.schema.names)))
            self._empty = False
        self._file.write(prepared)

    def close(self) -> None:
        """There is nothing to add."""


def _unwritable(schema: pa.Schema) -> str:
    """What to say of a table that cannot be written as CSV."""
    kinds = ", ".join(f'"{field.name}" ({field.type})' for field in schema if pa.types.is_nested(field.type))
    return f"CSV has no place for the columns {kinds}: write to a file that ends in .parquet"


class _ParquetSink:
    """Rows as Parquet."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: Any = None

    def prepare(self, rows: pa.RecordBatch) -> None:
        """The writer does all of it, in order."""

    def write(self, rows: pa.RecordBatch, prepared: None) -> None:
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, rows.schema)
        self._writer.write_batch(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _stream(
    chunks: Iterator[T], job: Callable[[T], pa.RecordBatch], output: str, delimiter: str, threads: int
) -> int:
    """Writes what `job` makes of each chunk, in their order; returns the number of rows."""
    as_parquet, rows = output.lower().endswith((".parquet", ".pq")), 0
    if output.lower().endswith(".tsv"):
        delimiter = "\t"
    with writing(output) as file, counter("rows", quiet=output == STREAM) as count:
        sink: Any = _ParquetSink(file) if as_parquet else _CsvSink(file, delimiter)

        def work(chunk: T) -> tuple[pa.RecordBatch, Any]:
            done = job(chunk)
            return done, sink.prepare(done)

        with closing(sink), closing(_in_order(work, chunks, threads)) as results:
            for done, prepared in results:
                sink.write(done, prepared)
                rows += len(done)
                count(len(done))
    return rows


def _in_order(work: Callable[[T], R], items: Iterator[T], threads: int) -> Generator[R]:
    """`map(work, items)` on threads, with no more than a few items at a time in memory."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
