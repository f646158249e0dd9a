"""`tinyrs export`: converts a model for programs that do not have tinyrs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import CliError
from tinyrs.cli.output import say
from tinyrs.cli.paths import check_files
from tinyrs.cli.table_predictor import load_predictor

# Format -> the method of Predictor that writes it.
FORMATS = {"onnx": "to_onnx", "c": "to_c"}


def parser() -> Parser:
    parser = Parser(
        "export",
        "Convert a model, including its preprocessing, to an ONNX graph or a single C99 header.",
        "tinyrs export model.safetensors --to onnx -o model.onnx",
        "tinyrs export model.safetensors --to c -o model.h",
    )
    parser.add_model()
    parser.add_argument("--to", choices=list(FORMATS), required=True, help="the output format")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    check_files([options.model], [options.output])
    predictor = load_predictor(options.model)
    try:
        getattr(predictor, FORMATS[options.to])(options.output)
    except ValueError as error:
        raise CliError(f"{options.model}: {error}") from None
    size = options.output.stat().st_size
    say(f"{options.output}: {size:,} bytes", quiet=options.json)
    return {"output": str(options.output), "to": options.to, "bytes": size}
