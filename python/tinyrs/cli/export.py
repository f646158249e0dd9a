"""`tinyrs export`: a model for programs that do not have tinyrs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyrs.cli.scoring import load_predictor
from tinyrs.cli.shell import CliError, Parser, check_folder, say

# What each form is written by.
FORMS = {"onnx": "to_onnx", "c": "to_c"}


def parser() -> Parser:
    parser = Parser(
        "export",
        "Write a model, its preprocessing included, as an ONNX graph or as one C99 header.",
        "tinyrs export model.safetensors --to onnx -o model.onnx",
        "tinyrs export model.safetensors --to c -o model.h",
    )
    parser.add_model()
    parser.add_argument("--to", choices=list(FORMS), required=True, help="the form")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write it")
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    predictor = load_predictor(options.model)
    check_folder(options.output)
    try:
        getattr(predictor, FORMS[options.to])(options.output)
    except ValueError as error:
        raise CliError(f"{options.model}: {error}") from None
    size = options.output.stat().st_size
    say(f"{options.output}: {size:,} bytes", quiet=options.json)
    return {"output": str(options.output), "to": options.to, "bytes": size}
