"""`tinyrs quantize`: writes a model with fewer bytes a weight, and measures what that costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyrs.cli.arguments import FORMATS, Parser, share
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.labelled_rows import LabelledRows, TableOptions, image_rows, table_rows
from tinyrs.cli.output import say
from tinyrs.cli.paths import check_files
from tinyrs.cli.quantization_text import quantization_lines
from tinyrs.cli.table_predictor import load_predictor
from tinyrs.cli.text_format import TextFormat, add_text_options
from tinyrs.predictor import Predictor


def parser() -> Parser:
    parser = Parser(
        "quantize",
        "Write a model with weights of 8 or 16 bits, and measure on rows with known labels what that costs.\n"
        "The rows should be some that the model was not trained on.",
        "tinyrs quantize model.safetensors --to int8 --data held.csv --target quality -o small.safetensors",
        "tinyrs quantize model.safetensors --to int8 --data held.csv --max-drop 0.001 -o small.safetensors",
    )
    parser.add_model()
    parser.add_argument("--to", choices=FORMATS, required=True, help="the format of the weights")
    parser.add_argument(
        "--data", metavar="DATA", help="a table, or a folder of images with a subfolder for each class"
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="column with the labels (default: the target of training)"
    )
    parser.add_argument(
        "--max-drop",
        metavar="SHARE",
        type=share,
        help="the largest loss of accuracy, such as 0.001; layers stay in f16 or f32 if they must",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="model file to write"
    )
    parser.add_threads()
    parser.add_json()
    add_text_options(parser, kept=True)
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.max_drop is not None and options.data is None:
        raise UsageError("quantize: --max-drop needs --data to measure the accuracy on")
    check_files([options.model, options.data], [options.output])
    predictor = load_predictor(options.model)
    rows = None if options.data is None else _rows(predictor, options)
    encoded, y = (None, None) if rows is None else (rows.encoded, rows.y)
    try:
        quantized = predictor._quantize_encoded(options.to, encoded, y, options.max_drop)
    except ValueError as error:
        raise CliError(f"{options.model}: {error}") from None
    quantized.save(options.output)
    assert quantized.quantization is not None
    sizes = options.model.stat().st_size, options.output.stat().st_size
    say("\n".join(quantization_lines(quantized.quantization)), quiet=options.json)
    say(f"\nwrote {options.output}: {sizes[1]:,} bytes, before {sizes[0]:,}", quiet=options.json)
    return {
        "output": str(options.output),
        "bytes": sizes[1],
        "bytes_before": sizes[0],
        **quantized.quantization,
    }


def _rows(predictor: Predictor, options: argparse.Namespace) -> LabelledRows:
    """The labelled rows of --data."""
    if "images" in predictor.training:
        return image_rows(predictor, options.data, options.threads)
    target = options.target or predictor.training.get("target")
    if not isinstance(target, str):
        raise UsageError(
            "quantize: expected --target COLUMN, because the model file does not name its target"
        )
    table_options = TableOptions(TextFormat.of(options, predictor.training), options.threads)
    return table_rows(predictor, options.data, target, table_options)
