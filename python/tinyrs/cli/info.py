"""`tinyrs info`: describes a model file."""

from __future__ import annotations

import argparse
from typing import Any

import tinyrs
from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import CliError
from tinyrs.cli.output import printable, say
from tinyrs.cli.quantization_text import quantization_lines
from tinyrs.network_text import embedding_text, n_embedding_members, sizes_text
from tinyrs.tabular.column_descriptions import column_lines, describe_columns, listed

MAX_VALUES = 10


def parser() -> Parser:
    parser = Parser(
        "info",
        "Describe a model file, and check that it predicts the same here as on the machine that wrote it.",
        "tinyrs info model.safetensors",
    )
    parser.add_model()
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    try:
        model = tinyrs.load(options.model)
    except ValueError as error:
        raise CliError(f"{options.model}: {error}") from None
    network = model if isinstance(model, tinyrs.Network) else model.network
    description: dict[str, Any] = {
        "file": str(options.model),
        "bytes": options.model.stat().st_size,
        "kind": "network",
        "network": {
            "layer_sizes": list(network.layer_sizes),
            "parameters": network.n_parameters,
            "weights": network.weights,
            "members": len(network.members),
            "members_with_embedding": n_embedding_members(network),
            **network.options,
        },
    }
    if isinstance(model, tinyrs.Predictor):
        description |= {
            "kind": "predictor",
            "classes": model.classes_.tolist(),
            "columns": describe_columns(model.preprocessor, model.feature_names_in_, model.n_features_in_),
            "training": model.training,
            "quantization": model.quantization,
            "self_test_difference": model.verify(),
        }
    if not options.json:
        say("\n".join(_lines(description, network)))
    return description


def _lines(description: dict[str, Any], network: tinyrs.Network) -> list[str]:
    """The description for a person."""
    lines = [
        f"{description['file']}: {description['bytes']:,} bytes, a {description['kind']}",
        f"  network   {sizes_text(network)}, {network.activation}, {network.weights}, "
        f"{network.n_parameters:,} parameters{embedding_text(network)}",
    ]
    if description["kind"] == "network":
        return lines
    training = description["training"]
    lines.append(f"  classes   {listed(description['classes'], printable, MAX_VALUES)}")
    if "images" in training:
        lines.append(f"  images    as {training['images']}")
    else:
        columns = description["columns"]
        lines += [f"  columns   {len(columns):,}", *column_lines(columns, printable, MAX_VALUES)]
    lines.append("  training")
    lines += [
        f"    {printable(k)}: {printable(v)}" for k, v in training.items() if isinstance(v, (str, int, float))
    ]
    if description["quantization"] is not None:
        lines += [f"  {line}" for line in quantization_lines(description["quantization"])]
    difference = description["self_test_difference"]
    return [*lines, f"  self-test: largest difference from the machine that wrote it: {difference:.2g}"]
