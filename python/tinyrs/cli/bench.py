"""`tinyrs bench`: measures model files, or runs the benchmark that a YAML file describes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinyrs.bench import cli, config, yaml_config
from tinyrs.bench.config import Plan
from tinyrs.bench.config import UsageError as PlanError
from tinyrs.bench.serving import settings, yaml_file
from tinyrs.bench.serving.settings import ModelFile, Outputs, ServingPlan, Settings
from tinyrs.cli import bench_serving
from tinyrs.cli.arguments import Parser, integer_at_least, positive_seconds
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.output import say
from tinyrs.cli.paths import check_files
from tinyrs.files import atomic

# The options that a YAML file has keys for.
_FOR_MODELS = (
    *("data", "target", "scenario", "seconds", "streams", "qps", "slo_us", "workers", "worker_kind"),
    *("threads", "company", "training_seconds", "html", "csv", "plot"),
)


def parser() -> Parser:
    parser = Parser(
        "bench",
        "Measure model files as they are served, or run the benchmark that a YAML file describes. Answers "
        "are checked before they are timed.",
        "tinyrs bench model.safetensors --data held_out.csv --price c7g.large --html report.html",
        "tinyrs bench model.safetensors --scenario server --slo-us 500 --company busy:1",
        "tinyrs bench large.safetensors small.safetensors --data held_out.csv --plot front.png",
        "tinyrs bench example_benchmark.yaml --price 0.0425 --utilisation 0.3",
        "tinyrs bench example_benchmark.yaml --save-baseline",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="model files, or one YAML file")
    cli.add_cost_flags(parser)
    _add_model_options(parser)
    group = parser.add_argument_group("for a YAML file of version 1 or 2")
    group.add_argument(
        "--save-baseline",
        action="store_true",
        help="also write the results to NAME.baseline.json, where NAME.yaml is the YAML file, in the working "
        "directory, for `tinyrs bench compare`",
    )
    parser.add_argument("--quiet", action="store_true", help="print only the most important lines")
    parser.add_json()
    return parser


def _add_model_options(parser: Parser) -> None:
    group = parser.add_argument_group("for model files; a YAML file of version 3 has keys for them")
    add, positive = group.add_argument, integer_at_least(1)
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help="held-out rows: their error stands beside the speed",
    )
    add("--target", metavar="COLUMN", help="column with the labels (default: the target of training)")
    add(
        "--scenario",
        nargs="+",
        choices=list(settings.SCENARIOS),
        metavar="NAME",
        help="what to measure: offline (one large job), single_stream (one row after the other), "
        "multi_stream (a few rows at once), server (requests at random times; with --qps or --slo-us) "
        "(default: all but server, and server too with --qps or --slo-us)",
    )
    add(
        "--seconds",
        type=positive_seconds,
        help=f"least length of each measurement (default: {settings.DEFAULT_SECONDS:g})",
    )
    add("--streams", type=positive, metavar="N", help="rows of a query in multi_stream (default: 8)")
    number = cli.flag(settings.positive)
    add("--qps", type=number, metavar="RATE", help="requests a second in server")
    add(
        "--slo-us",
        type=number,
        metavar="US",
        help="deadline of the 99th percentile in server, in microseconds; without --qps, the highest rate is "
        "searched",
    )
    add("--workers", type=positive, metavar="N", help="workers in server (default: one for each core)")
    add("--worker-kind", choices=list(settings.WORKERS), help="what the workers are (default: processes)")
    add(
        "--threads",
        type=positive,
        metavar="N",
        help="most threads of a prediction (default: all)",
    )
    add(
        "--company",
        nargs="+",
        metavar="KIND:N",
        help="what else runs: busy:N processes that compute, or copies:N of the scenario at once",
    )
    add(
        "--training-seconds",
        nargs="+",
        type=positive_seconds,
        metavar="S",
        help="how long the training of each model took: its cost is shown",
    )
    add("--html", type=Path, metavar="FILE", help="write a report as one HTML page")
    add("--csv", type=Path, metavar="FILE", help="write one row for each model and scenario")
    add("--plot", type=Path, metavar="FILE", help="draw error against cost: .png, .svg or .pdf; needs labels")


def run(options: argparse.Namespace) -> dict[str, Any] | None:
    try:
        if not any(file.suffix.lower() in (".yaml", ".yml") for file in options.files):
            if options.save_baseline:
                raise UsageError("argument --save-baseline: expected a YAML file, got a model file")
            return _run_models(_plan(options), options)
        if len(options.files) > 1:
            raise UsageError(f"expected model files or one YAML file, got {len(options.files)} files")
        given = [name for name in _FOR_MODELS if getattr(options, name) is not None]
        if given:
            raise UsageError(
                f"argument --{given[0].replace('_', '-')}: expected model files, got a YAML file, which has "
                "keys for it"
            )
        (config_file,) = options.files
        if yaml_file.is_serving(config_file):
            plan = yaml_file.load(config_file)
            if options.save_baseline:
                raise UsageError(f"argument --save-baseline: expected version 1 or 2, {config_file} has 3")
            return _run_models(dataclasses.replace(plan, cost=cli.cost(options) or plan.cost), options)
        return _run_networks(config_file, options)
    except PlanError as error:
        raise UsageError(str(error)) from None


def _run_models(plan: ServingPlan, options: argparse.Namespace) -> dict[str, Any]:
    return bench_serving.run(plan, options.command_line, quiet=options.quiet, silent=options.json)


def _plan(options: argparse.Namespace) -> ServingPlan:
    """The plan of the options. Raises UsageError."""
    training = options.training_seconds or [None] * len(options.files)
    if len(training) != len(options.files):
        raise UsageError(
            f"argument --training-seconds: expected one for each of {len(options.files)} models, "
            f"got {len(training)}"
        )
    default = Settings()
    scenarios = tuple(dict.fromkeys(options.scenario or default.scenarios))
    if options.scenario is None and (options.qps or options.slo_us):
        scenarios = (*scenarios, settings.SERVER)
    given = {
        name: getattr(options, name)
        for name in ("seconds", "streams", "qps", "slo_us", "workers", "threads")
        if getattr(options, name) is not None
    }
    if options.worker_kind:
        given["kind"] = options.worker_kind
    if options.company:
        given["company"] = _company(" ".join(options.company))
    if options.plot:
        options.plot = _checked_plot(options.plot)
    return ServingPlan(
        models=tuple(ModelFile(*pair) for pair in zip(options.files, training, strict=True)),
        settings=dataclasses.replace(default, scenarios=scenarios, **given),
        data=options.data,
        target=options.target,
        cost=cli.cost(options),
        outputs=Outputs(csv=options.csv, html=options.html, plot=options.plot),
    )


def _company(text: str) -> settings.Company:
    try:
        return settings.company(text)
    except config.RefusedError as refused:
        raise UsageError(f"argument --company: {refused}") from None


def _checked_plot(path: Path) -> Path:
    try:
        return config.file_path(*yaml_file.PLOTS)(str(path))
    except config.RefusedError as refused:
        raise UsageError(f"argument --plot: {refused}") from None


def _run_networks(config_file: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    """Runs a benchmark of version 1 or 2."""
    plan = dataclasses.replace(yaml_config.load(config_file), cost=cli.cost(options))
    baseline = Path(f"{config_file.stem}.baseline.json") if options.save_baseline else None
    check_files([config_file], [*vars(plan.output).values(), baseline])
    if not options.json and baseline is None:
        _execute(plan, config_file, options.quiet)
        return None
    with tempfile.TemporaryDirectory() as folder:
        # A temporary file if the YAML file names none for the results.
        path = plan.output.json or Path(folder) / "results.json"
        plan = dataclasses.replace(plan, output=dataclasses.replace(plan.output, json=path))
        with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
            _execute(plan, config_file, quiet=options.quiet or options.json)
        if baseline is not None:
            with atomic.writing(baseline) as file:
                file.write(path.read_bytes())
            say(f"wrote {baseline}", quiet=options.quiet or options.json)
        results: dict[str, Any] = json.loads(path.read_text())
        return results


def _execute(plan: Plan, config_file: Path, quiet: bool) -> None:
    status = cli.execute(
        plan,
        setting_name=lambda key: f"{config_file}: benchmark.{key}",
        folder=Path(__file__).parent,
        quiet=quiet,
    )
    if status != cli.OK:
        raise CliError(f"{config_file}: an engine gave a wrong answer, see above")
