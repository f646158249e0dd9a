"""`tinyrs predict`: adds label and probability to a table of any length, in constant memory.

Columns of a CSV file stay text from reading to writing (see `tinyrs.cli.table_reader`), so their values do
not change. It is also faster: writing text takes a tenth of the time of formatting numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import tinyrs
from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.output import STREAM, say
from tinyrs.cli.paths import check_files
from tinyrs.cli.table_predictor import Floats, TablePredictor, load_predictor, threshold_of
from tinyrs.cli.table_reader import TableReader, open_table
from tinyrs.cli.table_writer import TableOutput, write_table
from tinyrs.cli.text_format import TextFormat, add_text_options
from tinyrs.predictor import Predictor
from tinyrs.tuning.scores import predicted_classes


def parser() -> Parser:
    parser = Parser(
        "predict",
        "Predict a table (CSV, Parquet, NPZ) or a folder of images: adds the columns label and probability.",
        "tinyrs predict model.safetensors new.csv -o out.csv",
        "zcat new.csv.gz | tinyrs predict model.safetensors - > out.csv",
        "tinyrs predict model.safetensors photos/ -o out.csv",
    )
    parser.add_model()
    parser.add_argument("data", help="a table, `-` for CSV on standard input, or a folder of images")
    parser.add_argument(
        "-o",
        "--output",
        default=STREAM,
        metavar="FILE",
        help="output file: Parquet if it ends in .parquet or .pq, else CSV (default: - for standard output)",
    )
    parser.add_argument(
        "--proba", action="store_true", help="also add the probability of each class, as probability_CLASS"
    )
    parser.add_argument(
        "--escape-formulas",
        action="store_true",
        help="in CSV, write ' before text that a spreadsheet would run as a formula",
    )
    parser.add_threshold()
    parser.add_argument("--prefix", default="", help="prefix of the names of the added columns")
    parser.add_threads()
    parser.add_json()
    add_text_options(parser, kept=True)
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.json and options.output == STREAM:
        raise UsageError("predict: --json and the predictions would both go to standard output: add -o FILE")
    check_files([options.model, options.data], [options.output])
    predictor = load_predictor(options.model)
    threads = options.threads or tinyrs.get_num_threads()
    skipped, warnings = list[str](), list[str]()
    if "images" in predictor.training:
        rows, skipped = _predict_images(predictor, options, threads)
    else:
        table = open_table(options.data, TextFormat.of(options, predictor.training))
        # One thread a chunk: several chunks are predicted at the same time.
        table_predictor = TablePredictor(predictor, table, n_threads=1)
        job = _table_job(table_predictor, table, options)
        rows = write_table(
            _output(options, table.delimiter, table.format.header), table.numbered_chunks(), job, threads
        )
        warnings = table_predictor.warn_of_shift()
    say(f"{rows:,} rows written to {options.output}", quiet=options.json or options.output == STREAM)
    return {"rows": rows, "output": options.output, "skipped": skipped, "warnings": warnings}


def _output(options: argparse.Namespace, delimiter: str, header: bool = True) -> TableOutput:
    return TableOutput(options.output, delimiter, header, options.escape_formulas)


def _table_job(
    table_predictor: TablePredictor, table: TableReader, options: argparse.Namespace
) -> Callable[[tuple[pa.RecordBatch, int]], pa.RecordBatch]:
    """The function that adds predictions to a chunk with its row number."""
    predictions = _PredictionColumns(table_predictor.predictor, options)
    clash = [name for name in predictions.names if name in table.columns]
    if clash:
        raise CliError(
            f'{table.name}: the table already has a column "{clash[0]}", which predict would add: '
            f"rename it, or use --prefix predicted_"
        )

    def job(chunk: tuple[pa.RecordBatch, int]) -> pa.RecordBatch:
        return predictions.append_to(chunk[0], table_predictor.predict_proba(*chunk))

    return job


def _predict_images(predictor: Predictor, options: argparse.Namespace, threads: int) -> tuple[int, list[str]]:
    """Writes a table of file, label and probability.

    Returns the number of rows, and a message for each file that could not be read.
    """
    from tinyrs.cli import image_features

    predictions, skipped = _PredictionColumns(predictor, options), list[str]()
    encoder = image_features.ImageEncoder.of(predictor)
    files = image_features.list_images(options.data)

    def job(files: list[Path]) -> pa.RecordBatch:
        images = encoder.encode_files(files)
        skipped.extend(images.unreadable)
        names = pa.record_batch({"file": pa.array(map(str, images.files), pa.string())})
        return predictions.append_to(names, predictor.predict_proba(images.features, n_threads=1))

    batches = image_features.batches(files)
    rows = write_table(_output(options, options.delimiter or ","), batches, job, threads)
    image_features.report_unreadable(skipped, len(files), options.data)
    return rows, skipped


class _PredictionColumns:
    """The columns that predict adds: label, probability and, with --proba, one for each class."""

    def __init__(self, predictor: Predictor, options: argparse.Namespace) -> None:
        self._classes = pa.array(predictor.classes_.tolist())
        self._proba, self._threshold = options.proba, threshold_of(predictor, options.threshold)
        each = [f"probability_{name}" for name in predictor.classes_.tolist()] if options.proba else []
        self.names = [options.prefix + name for name in ("label", "probability", *each)]

    def append_to(self, chunk: pa.RecordBatch, p: Floats) -> pa.RecordBatch:
        """`chunk` with the columns for the probabilities `p` (rows, classes)."""
        predicted = predicted_classes(p, self._threshold)
        columns = [self._classes.take(pa.array(predicted)), pa.array(p[np.arange(len(p)), predicted])]
        if self._proba:
            columns += [pa.array(column.copy()) for column in p.T]
        return pa.RecordBatch.from_arrays(
            [*chunk.columns, *columns], names=[*chunk.schema.names, *self.names]
        )
