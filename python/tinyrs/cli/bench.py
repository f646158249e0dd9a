"""`tinyrs bench`: runs the benchmark that a YAML file describes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinyrs.bench import cli, yaml_config
from tinyrs.bench.config import Plan
from tinyrs.bench.config import UsageError as PlanError
from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.paths import check_files


def parser() -> Parser:
    parser = Parser(
        "bench",
        "Run the benchmark that a YAML file describes. Every answer is checked before it is timed.",
        "tinyrs bench example_benchmark.yaml",
    )
    parser.add_argument("config", type=Path, help="the YAML file")
    parser.add_argument("--quiet", action="store_true", help="print only the line with the total time")
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any] | None:
    try:
        plan = yaml_config.load(options.config)
        check_files([options.config], list(vars(plan.output).values()))
        if not options.json:
            _execute(plan, options.config, options.quiet)
            return None
        with tempfile.TemporaryDirectory() as folder:
            # A temporary file if the YAML file names none for the results.
            path = plan.output.json or Path(folder) / "results.json"
            plan = dataclasses.replace(plan, output=dataclasses.replace(plan.output, json=path))
            with contextlib.redirect_stdout(sys.stderr):
                _execute(plan, options.config, quiet=True)
            results: dict[str, Any] = json.loads(path.read_text())
            return results
    except PlanError as error:
        raise UsageError(str(error)) from None


def _execute(plan: Plan, config: Path, quiet: bool) -> None:
    status = cli.execute(
        plan, setting_name=lambda key: f"{config}: benchmark.{key}", folder=Path(__file__).parent, quiet=quiet
    )
    if status != cli.OK:
        raise CliError(f"{config}: an engine gave a wrong answer, see above")
