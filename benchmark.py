#!/usr/bin/env python3
"""Runs the benchmark that a YAML file describes: a network, a sweep over many, or models as they are served.

./benchmark.py -c example_benchmark.yaml
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

try:
    from tinyrs.bench import cli, config, yaml_config
    from tinyrs.bench.serving import yaml_file
except ImportError as error:
    print(f"benchmark.py: error: {error} ({sys.executable})", file=sys.stderr)
    print("install tinyrs: make dev, then run .venv/bin/python benchmark.py ...", file=sys.stderr)
    sys.exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "-c",
        "--config",
        type=cli.flag(config.file_path()),
        required=True,
        metavar="FILE",
        help="the YAML file",
    )
    cli.add_cost_flags(parser)
    parser.add_argument(
        "--json",
        type=cli.flag(config.file_path()),
        metavar="FILE",
        help="write all results, instead of to the file that the YAML file names",
    )
    parser.add_argument("--quiet", action="store_true", help="print only the line with the total")
    flags = parser.parse_args(argv)
    if yaml_file.is_serving(flags.config):
        return measure_models(flags)
    plan = yaml_config.load(flags.config)
    output = replace(plan.output, json=flags.json or plan.output.json)
    return cli.execute(
        replace(plan, cost=cli.cost(flags), output=output),
        setting_name=lambda key: f"{flags.config}: benchmark.{key}",
        folder=Path(__file__).parent,
        quiet=flags.quiet,
    )


def measure_models(flags: argparse.Namespace) -> int:
    """Runs a file of version 3, as `tinyrs bench` does."""
    from tinyrs.cli import bench_serving
    from tinyrs.cli.errors import CliError

    plan = yaml_file.load(flags.config)
    outputs = replace(plan.outputs, json=flags.json or plan.outputs.json)
    plan = replace(plan, cost=cli.cost(flags) or plan.cost, outputs=outputs)
    command = shlex.join(["benchmark.py", *sys.argv[1:]])
    try:
        bench_serving.run(plan, command, quiet=flags.quiet)
    except CliError as error:
        print(f"benchmark.py: error: {error}", file=sys.stderr)
        return error.status
    return cli.OK


if __name__ == "__main__":
    sys.exit(cli.run_tool("benchmark.py", main))
