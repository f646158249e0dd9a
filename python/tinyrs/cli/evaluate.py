"""`tinyrs evaluate`: measures a model on rows with known labels."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import UsageError
from tinyrs.cli.labelled_rows import TableOptions, image_rows, no_labels, table_chunks
from tinyrs.cli.metrics_text import class_lines, confusion_lines
from tinyrs.cli.output import say
from tinyrs.cli.table_predictor import load_predictor, threshold_of
from tinyrs.cli.text_format import TextFormat, add_text_options
from tinyrs.predictor import Predictor
from tinyrs.tuning.scores import ClassIndices, Floats, Metrics


def parser() -> Parser:
    parser = Parser(
        "evaluate",
        "Measure a model on a table (CSV, Parquet, NPZ) or a folder of images with known labels.",
        "tinyrs evaluate model.safetensors test.csv --target quality",
    )
    parser.add_model()
    parser.add_argument(
        "data",
        help="a table, `-` for CSV on standard input, or a folder of images with a subfolder for each class",
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="column with the labels (default: the target of training)"
    )
    parser.add_threshold()
    parser.add_threads()
    parser.add_json()
    add_text_options(parser, kept=True)
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    predictor = load_predictor(options.model)
    if "images" in predictor.training:
        rows = image_rows(predictor, options.data, options.threads)
        probabilities, y, unlabelled = predictor.predict_proba(rows.encoded), rows.y, 0
        warnings = list[str]()
    else:
        probabilities, y, warnings = _predict_table(predictor, options)
        labelled = y >= 0
        unlabelled = int((~labelled).sum())
        probabilities, y = probabilities[labelled], y[labelled]
    metrics = Metrics.of(probabilities, y, predictor.classes_, threshold_of(predictor, options.threshold))
    quiet = options.json
    say(f"{metrics.rows:,} rows of {options.data}", quiet=quiet)
    if unlabelled:
        say(f"{unlabelled:,} rows without a label skipped", quiet=quiet)
    for block in (metrics.score_lines(), confusion_lines(metrics), class_lines(metrics)):
        say("\n" + "\n".join(block), quiet=quiet)
    return {"unlabelled": unlabelled, "warnings": warnings, **metrics.as_json()}


def _predict_table(
    predictor: Predictor, options: argparse.Namespace
) -> tuple[Floats, ClassIndices, list[str]]:
    """Probabilities (rows, classes) and classes (rows,) of a table, and warnings about its columns."""
    target = options.target or predictor.training.get("target")
    if not isinstance(target, str):
        raise UsageError(
            "evaluate: expected --target COLUMN, because the model file does not name its target"
        )
    table_options = TableOptions(TextFormat.of(options, predictor.training), options.threads)
    # Only these are kept of each chunk.
    chunks, warnings = list[tuple[Floats, ClassIndices]](), list[str]()
    for table_predictor, rows in table_chunks(predictor, options.data, target, table_options):
        chunks.append((table_predictor.predict_encoded(rows.encoded), rows.y))
    warnings = table_predictor.warn_of_shift()
    y = np.concatenate([y for _, y in chunks])
    if (y < 0).all():
        raise no_labels(options.data, target)
    return np.concatenate([probabilities for probabilities, _ in chunks]), y, warnings
