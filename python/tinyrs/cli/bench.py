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
from tinyrs.cli.output import say
from tinyrs.cli.paths import check_files
from tinyrs.files import atomic


def parser() -> Parser:
    parser = Parser(
        "bench",
        "Run the benchmark that a YAML file describes. Every answer is checked before it is timed.",
        "tinyrs bench example_benchmark.yaml",
        "tinyrs bench example_benchmark.yaml --price 0.0425 --utilisation 0.3",
        "tinyrs bench example_benchmark.yaml --save-baseline",
    )
    parser.add_argument("config", type=Path, help="the YAML file")
    cli.add_cost_flags(parser)
    parser.add_argument(
        "--save-baseline",
        action="store_true",
        help="also write the results to NAME.baseline.json, where NAME.yaml is the YAML file, in the working "
        "directory, for `tinyrs bench compare`",
    )
    parser.add_argument("--quiet", action="store_true", help="print only the line with the total time")
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any] | None:
    try:
        plan = dataclasses.replace(yaml_config.load(options.config), cost=cli.cost(options))
        baseline = Path(f"{options.config.stem}.baseline.json") if options.save_baseline else None
        check_files([options.config], [*vars(plan.output).values(), baseline])
        if not options.json and baseline is None:
            _execute(plan, options.config, options.quiet)
            return None
        with tempfile.TemporaryDirectory() as folder:
            # A temporary file if the YAML file names none for the results.
            path = plan.output.json or Path(folder) / "results.json"
            plan = dataclasses.replace(plan, output=dataclasses.replace(plan.output, json=path))
            with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
                _execute(plan, options.config, quiet=options.quiet or options.json)
            if baseline is not None:
                with atomic.writing(baseline) as file:
                    file.write(path.read_bytes())
                say(f"wrote {baseline}", quiet=options.quiet or options.json)
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
