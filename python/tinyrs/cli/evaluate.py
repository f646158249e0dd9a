"""`tinyrs evaluate`: how good a model is on rows whose answers are known."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import tinyrs
from tinyrs.cli.column_types import Place, match_labels
from tinyrs.cli.data import numbered, open_table
from tinyrs.cli.metrics import Counts, Figures
from tinyrs.cli.scoring import Scorer, load_predictor
from tinyrs.cli.shell import CliError, Parser, UsageError, counter, say, suggestion
from tinyrs.predictor import Predictor


def parser() -> Parser:
    parser = Parser(
        "evaluate",
        "How good a model is on a table (CSV, Parquet, NPZ) or a folder of images with the right answers.",
        "tinyrs evaluate model.safetensors test.csv --target quality",
    )
    parser.add_model()
    parser.add_argument(
        "data", help="the table, - for CSV on standard input; or a folder, a subfolder a category"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the right answers (default: as in training)")
    parser.add_delimiter()
    parser.add_threads()
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    predictor = load_predictor(options.model)
    if "images" in predictor.training:
        rows = images_rows(predictor, options.data, options.threads)
        probabilities, codes, unlabelled = predictor.predict_proba(rows.encoded), rows.codes, 0
    else:
        target = options.target or predictor.training.get("target")
        if not isinstance(target, str):
            raise UsageError(
                "evaluate: expected --target COLUMN: the model does not say what it was trained for"
            )
        # Of each chunk only the probabilities stay.
        chunks = [
            (scorer.forward(rows.encoded), rows.codes)
            for scorer, rows in table_rows(predictor, options.data, target, options)
        ]
        probabilities, codes = map(np.concatenate, zip(*chunks, strict=True))
        unlabelled = int((codes < 0).sum())
        probabilities, codes = probabilities[codes >= 0], codes[codes >= 0]
        if len(codes) == 0:
            raise CliError(f'{options.data}: column "{target}": expected classes, got none')
    figures = Figures.of(probabilities, codes, predictor.classes_)
    quiet = options.json
    say(f"{figures.rows:,} rows of {options.data}", quiet=quiet)
    if unlabelled:
        say(f"{unlabelled:,} rows without an answer left out", quiet=quiet)
    for block in (figures.lines(), figures.confusion_lines(), figures.class_lines()):
        say("\n" + "\n".join(block), quiet=quiet)
    return {"unlabelled": unlabelled, **figures.as_json()}


@dataclass(frozen=True)
class Rows:
    """Rows with their answers: the model's numbers (rows, columns), and places in its classes, -1 where a row
    has none. `raw` is what they were: columns of a table, or image files."""

    encoded: npt.NDArray[Any]
    codes: Counts
    raw: pa.Table | list[Path]
    # The place of each in its file.
    numbers: npt.NDArray[np.int64]


def table_rows(
    predictor: Predictor, path: str, target: str, options: argparse.Namespace
) -> Iterator[tuple[Scorer, Rows]]:
    """The rows of a table, chunk after chunk, and what scores them."""
    source = open_table(path, options.delimiter)
    if target not in source.columns:
        raise CliError(f'{path}: has no column "{target}": {suggestion(target, source.columns)}')
    scorer = Scorer(predictor, source, target=target, n_threads=options.threads)
    with counter("rows") as count:
        for chunk, row in numbered(source):
            codes = match_labels(chunk[target], predictor.classes_, Place(source.name, target, row))
            table = pa.Table.from_batches([chunk.select(scorer.columns)])
            yield scorer, Rows(scorer.matrix(chunk, row), codes, table, row + np.arange(len(chunk)))
            count(len(chunk))


def images_rows(predictor: Predictor, folder: str, threads: int | None) -> Rows:
    """The images of a folder with one subfolder a category."""
    from tinyrs.cli import images

    recipe = images.Recipe.of(predictor)
    files, labels = images.list_labelled(folder)
    known = {str(name): code for code, name in enumerate(predictor.classes_.tolist())}
    unknown = next((label for label in labels if label not in known), None)
    if unknown is not None:
        raise CliError(f"{folder}: the model has no category {unknown!r}: {suggestion(unknown, known)}")
    of_file = dict(zip(files, labels, strict=True))
    features, read, unreadable = recipe.read_all(files, threads or tinyrs.get_num_threads())
    images.report_unreadable(unreadable, len(files), folder)
    return Rows(features, np.array([known[of_file[file]] for file in read]), read, np.arange(len(read)))
