"""Measures model files for `tinyrs bench`: reads their rows, runs the scenarios, writes the results."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import tinyrs
from tinyrs.bench import environment, report
from tinyrs.bench.serving import plot, rows, scenarios, text
from tinyrs.bench.serving import run as serving
from tinyrs.bench.serving.models import Subject, tinyrs_subject
from tinyrs.bench.serving.outcomes import Outcome, Served
from tinyrs.bench.serving.rows import Rows
from tinyrs.bench.serving.settings import ServingPlan
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.output import say
from tinyrs.cli.paths import check_files
from tinyrs.files import atomic


def run(plan: ServingPlan, command_line: str, *, quiet: bool = False, silent: bool = False) -> dict[str, Any]:
    """Runs the plan, prints and writes its results, and returns them as JSON values.

    `quiet` prints the table only, `silent` nothing; the page says how it was made by `command_line`.

    Raises
    ------
    UsageError
        If the plan cannot run.
    CliError
        If a model could not be measured; the others are measured nevertheless.
    """
    problem = scenarios.check(plan.settings)
    if problem:
        raise UsageError(problem)
    outputs = [path for path in vars(plan.outputs).values() if path is not None]
    check_files([*(model.path for model in plan.models), plan.data], outputs)
    if plan.outputs.plot:
        plot.require()
        if plan.data is None:
            raise UsageError("the plot shows the error of each model: it needs rows with labels (data)")
    served = Served(plan.settings, _machine(), name=plan.name, cost=plan.cost)
    quiet = quiet or silent

    def progress(model: str, outcome: Outcome) -> None:
        say(text.progress(model, outcome), quiet=quiet)

    with tempfile.TemporaryDirectory() as folder:
        subjects = _subjects(plan, Path(folder), served)
        try:
            serving.run(subjects, served, progress)
        finally:
            # Also after an interruption: keeps what was measured until then.
            _write(plan, served, command_line)
    if served.results:
        say("" if quiet else "\n" + text.text(served), quiet=silent)
        say("\n" + report.environment(served.environment), quiet=quiet)
    document = served.document()
    if served.failures:
        raise CliError(f"not measured: {'; '.join(served.failures)}", document)
    return document


def _machine() -> dict[str, Any]:
    """The environment, with the measured limits of the machine."""
    limits = tinyrs.machine_limits()
    return {
        **environment.describe(Path(__file__).parent),
        "read_gbytes_per_s": round(limits["read_bandwidth"] / 1e9, 1),
        "gflops_f32": round(limits["fma_f32"] / 1e9, 1),
    }


def _subjects(plan: ServingPlan, folder: Path, served: Served) -> list[Subject]:
    """The models with their rows, which are written to files in `folder`."""
    found = []
    names = _names([model.path for model in plan.models])
    for number, (name, model_file) in enumerate(zip(names, plan.models, strict=True)):
        model = _load(model_file.path)
        labelled = plan.data is not None
        chosen = _labelled(plan, model_file.path) if labelled else rows.draw(model, plan.settings.seed)
        served.rows_origin = chosen.origin
        path = folder / f"rows{number}.json"
        chosen.write(path)
        found.append(tinyrs_subject(name, model_file, path, labelled=labelled))
    return found


def _load(path: Path) -> tinyrs.Predictor | tinyrs.Network:
    try:
        return tinyrs.load(path)
    except ValueError as error:
        raise CliError(f"{path}: {error}") from None


def _names(paths: list[Path]) -> list[str]:
    """The names of the files, or the whole paths if two files have the same name."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _labelled(plan: ServingPlan, path: Path) -> Rows:
    """The rows of the data file as `path`, a classifier, takes them."""
    import pyarrow as pa

    from tinyrs.cli.labelled_rows import TableOptions, table_rows
    from tinyrs.cli.table_predictor import load_predictor
    from tinyrs.cli.text_format import TextFormat

    predictor = load_predictor(path)
    target = plan.target or predictor.training.get("target")
    if not isinstance(target, str):
        raise UsageError(f"expected a target column, because the model file {path} does not name its target")
    unset = argparse.Namespace(model=path, **{field.name: None for field in fields(TextFormat)})
    text_format = TextFormat.of(unset, predictor.training)
    found = table_rows(predictor, str(plan.data), target, TableOptions(text_format, None))
    assert isinstance(found.raw, pa.Table)
    columns: list[list[Any]] = [column.to_pylist() for column in found.raw.columns]
    for column in _number_columns(predictor):
        numbers = np.asarray(found.encoded[:, column], float).tolist()
        columns[column] = [None if number != number else number for number in numbers]
    values = [list(row) for row in zip(*columns, strict=True)]
    return Rows(values, found.y.tolist(), f"{len(values):,} rows of {plan.data}")


def _number_columns(predictor: tinyrs.Predictor) -> list[int]:
    """The columns of the table that an encoded row holds as they are."""
    if predictor.preprocessor is None:
        return list(range(predictor.n_features_in_))
    numbers = [n for n in predictor.preprocessor.numbers if n.kind == "number"]
    return [n.column for n in numbers if n.column < predictor.preprocessor.n_columns]


def _write(plan: ServingPlan, served: Served, command_line: str) -> None:
    """Writes the output files of what was measured."""
    if not served.results:
        return
    outputs = plan.outputs
    for path, content in (
        (outputs.json, served.to_json),
        (outputs.csv, served.to_csv),
    ):
        if path is not None:
            with atomic.writing(path) as file:
                file.write(content().encode())
    if outputs.plot is not None:
        plot.draw(served, outputs.plot)
    if outputs.html is not None:
        from tinyrs.cli.report import serving_page
        from tinyrs.cli.report.provenance import ServingProvenance

        provenance = ServingProvenance.of(command_line, [model.path for model in plan.models], plan.data)
        serving_page.write(str(outputs.html), served, provenance)
