"""`tinyrs info`: what is in a model file."""

from __future__ import annotations

import argparse
from typing import Any

import tinyrs
from tinyrs.cli.shell import CliError, Parser, say
from tinyrs.tabular.preprocessor import MISSING


def parser() -> Parser:
    parser = Parser(
        "info",
        "What is in a model file, and whether it computes here what it did on the machine that wrote it.",
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
    found: dict[str, Any] = {
        "file": str(options.model),
        "bytes": options.model.stat().st_size,
        "kind": "network",
        "network": {
            "layer_sizes": list(network.layer_sizes),
            "parameters": network.n_parameters,
            **network.options,
        },
    }
    if isinstance(model, tinyrs.Predictor):
        found |= {
            "kind": "predictor",
            "classes": model.classes_.tolist(),
            "columns": _columns(model),
            "training": model.training,
            "self_test_difference": model.verify(),
        }
    if not options.json:
        _show(found)
    return found


def _columns(model: tinyrs.Predictor) -> list[dict[str, Any]]:
    names = model.feature_names_in_ or [f"x{i}" for i in range(model.n_features_in_)]
    if model.preprocessor is None:
        return [{"name": name, "kind": "numbers"} for name in names]
    columns: dict[int, dict[str, Any]] = {
        c.column: {"kind": "numbers", "centre": c.centre, "missing_in_training": c.missing_indicator}
        for c in model.preprocessor.numbers
    }
    columns |= {
        # The names without what says of which type they were.
        c.column: {"kind": "categories", "categories": [name[2:] for name in c.names if name != MISSING]}
        for c in model.preprocessor.categories
    }
    return [{"name": name, **columns[i]} for i, name in enumerate(names)]


def _show(found: dict[str, Any]) -> None:
    network = found["network"]
    sizes = "-".join(map(str, network["layer_sizes"]))
    say(f"{found['file']}: {found['bytes']:,} bytes, a {found['kind']}")
    say(
        f"  network   {sizes}, {network['activation']}, {network['precision']}, "
        f"{network['parameters']:,} parameters"
    )
    if found["kind"] == "network":
        return
    say(f"  classes   {_list(found['classes'])}")
    if "images" in found["training"]:
        say(f"  images    as {found['training']['images']}")
    else:
        say(f"  columns   {len(found['columns']):,}")
        width = max(len(column["name"]) for column in found["columns"])
        for column in found["columns"][:40]:
            what = (
                column["kind"] if "categories" not in column else f"categories: {_list(column['categories'])}"
            )
            say(f"    {column['name']:{width}}  {what}")
        if len(found["columns"]) > 40:
            say(f"    and {len(found['columns']) - 40:,} more")
    say("  training")
    for name, value in found["training"].items():
        if isinstance(value, (str, int, float)):
            say(f"    {name}: {value}")
    say(f"  self-test differs by {found['self_test_difference']:.2g} from the machine that wrote it")


def _list(values: list[Any]) -> str:
    return ", ".join(map(str, values[:10])) + (f", ... ({len(values):,} in all)" if len(values) > 10 else "")
