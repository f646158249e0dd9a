"""`tinyrs train`: trains a model on a table or a folder of images, saves it and measures it."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyrs.classifier import refit_pays
from tinyrs.cli.budget import Found, check_options
from tinyrs.cli.budget import fit as search
from tinyrs.cli.errors import CliError, Interrupted, UsageError, suggestion
from tinyrs.cli.fitting import FittedModel, asked_to_keep, can_keep, fit
from tinyrs.cli.labelled_rows import LabelledRows, TableOptions, image_rows, table_rows
from tinyrs.cli.metrics_text import confusion_lines
from tinyrs.cli.output import printable, say, warn
from tinyrs.cli.paths import check_files
from tinyrs.cli.quantization_text import quantization_lines
from tinyrs.cli.streamed_data import StreamedData, read_streamed
from tinyrs.cli.table_reader import is_table_folder
from tinyrs.cli.train_options import parser as parser
from tinyrs.cli.training_data import Part, TrainingData, fold_of_rows, read_images, read_table
from tinyrs.cli.training_results import TrainingResults, predict_encoded
from tinyrs.predictor import Predictor
from tinyrs.tuning.scores import Floats, best_threshold

Data = TrainingData | StreamedData


def run(options: argparse.Namespace) -> dict[str, Any]:
    check_files([options.data, options.valid], [options.output, options.report])
    if options.cv and (options.valid or not options.refit):
        raise UsageError("train: --cv measures on all rows, so it excludes --valid and --no-refit")
    if options.budget is not None:
        check_options(options)
    data = _read(options)
    _check_classes(data, options)
    fitted, results = _cross_validate(data, options) if options.cv else _measure(data, options)
    results = _with_threshold(results, options)
    _say_results(results, options.json)
    rows = 0 if options.cv else int(results.predictor.training["rows"])
    model, interrupted = fitted.model, fitted.interrupted
    if interrupted:
        if not asked_to_keep(options):
            raise KeyboardInterrupt
    elif options.refit and options.budget is None and refit_pays(data.n_rows, rows):
        refitted = _refit(data, options)
        interrupted = refitted is None or refitted.interrupted
        if refitted is not None:
            model, rows = refitted.model, data.n_rows
    predictor = model.predictor(quantize=options.quantize)
    _save(predictor, data, rows, results, options)
    if predictor.quantization is not None:
        say("\n" + "\n".join(quantization_lines(predictor.quantization)), quiet=options.json)
    if options.report is not None:
        from tinyrs.cli.report import page, provenance

        made = provenance.Provenance.of(options.command_line, options.data, options.output, rows)
        page.write(options.report, results, made)
    say("\n" + "\n".join(_next_steps(rows, results, options)), quiet=options.json)
    result = {**_as_json(data, rows, results, options), "quantization": predictor.quantization}
    if interrupted:
        raise Interrupted({**result, "interrupted": True})
    return result


def _read(options: argparse.Namespace) -> Data:
    """The rows of `options.data`."""
    streamed = read_streamed(options)
    if streamed is not None:
        return streamed
    if Path(options.data).is_dir() and not is_table_folder(options.data):
        return read_images(options)
    return read_table(options)


def _check_classes(data: Data, options: argparse.Namespace) -> None:
    """Checks the options that are about classes, and gives `class_weight` the classes as its keys."""
    if options.threshold is not None and len(data.classes) != 2:
        raise UsageError(f"train: --threshold needs two classes, got {len(data.classes)}")
    if isinstance(options.class_weight, dict):
        known = {str(name): name for name in data.classes.tolist()}
        for name in options.class_weight:
            if name not in known:
                raise UsageError(f"train: --class-weight: no class {name!r}: {suggestion(name, known)}")
        options.class_weight = {known[name]: weight for name, weight in options.class_weight.items()}


def _measure(data: Data, options: argparse.Namespace) -> tuple[FittedModel, TrainingResults]:
    """Trains on one part of the rows and predicts the other, or the file of --valid."""
    part, held_out = (data.everything(), np.arange(0)) if options.valid else data.split()
    say(f"\ntraining on {part.n_rows:,} rows, {len(data.classes)} classes", quiet=options.json)
    # Half the time is for training again on all rows.
    parts = 2 if options.refit and part.n_rows < data.n_rows else 1
    if options.budget is not None:
        fitted = search(part.X, part.y, options)
    else:
        fitted = _fit(part, options, parts, keep=can_keep(options))
    predictor = fitted.model.predictor()
    predictor.training |= data.record | {"rows": part.n_rows, "seed": options.seed}
    rows = _read_valid(predictor, data, options) if options.valid else data.rows(predictor, held_out)
    return fitted, TrainingResults(
        predictor=predictor,
        history=fitted.history,
        metric=options.metric,
        metric_curve=fitted.metric_curve,
        seconds=fitted.seconds,
        rows=rows,
        probabilities=predict_encoded(predictor, rows.encoded),
        rows_origin=options.valid or data.held_out_origin,
        unseen=rows,
        columns=data.columns,
        search=fitted.model.search if isinstance(fitted.model, Found) else None,
    )


def _cross_validate(data: Data, options: argparse.Namespace) -> tuple[FittedModel, TrainingResults]:
    """Trains a model for each fold on the rows of the others, and predicts its rows."""
    assert isinstance(data, TrainingData), "read_streamed refuses --cv"
    if data.n_rows < 2 * options.cv:
        raise CliError(f"{options.data}: {data.n_rows} rows are too few for --cv {options.cv}")
    folds, fold_of_row = options.cv, fold_of_rows(data.y, options.cv, options.seed)
    parts, probabilities, accuracies = list[LabelledRows](), list[Floats](), list[float]()
    for fold in range(folds):
        train = np.flatnonzero(fold_of_row != fold)
        say(f"{'' if fold else chr(10)}fold {fold + 1} of {folds}: {len(train):,} rows", quiet=options.json)
        fitted = _fit(data.part(train), options, folds + 1)
        predictor = fitted.model.predictor()
        predictor.training |= data.record | {"rows": len(train), "seed": options.seed}
        parts.append(data.rows(predictor, np.flatnonzero(fold_of_row == fold)))
        probabilities.append(predict_encoded(predictor, parts[-1].encoded))
        accuracies.append(float((probabilities[-1].argmax(axis=1) == parts[-1].y).mean()))
    return fitted, TrainingResults(
        predictor=predictor,
        history=fitted.history,
        metric=options.metric,
        metric_curve=fitted.metric_curve,
        seconds=fitted.seconds,
        rows=LabelledRows.concatenated(parts),
        probabilities=np.concatenate(probabilities),
        rows_origin=f"{folds}-fold cross-validation",
        unseen=parts[-1],
        columns=data.columns,
        fold_accuracies=tuple(accuracies),
    )


def _refit(data: Data, options: argparse.Namespace) -> FittedModel | None:
    """Trains again, as measured, on all rows; None if it was interrupted and the measured model is kept.

    With --cv no single model was measured; interrupted, the best epoch so far may be kept.
    """
    say(f"\ntraining again on all {data.n_rows:,} rows", quiet=options.json)
    everything = data.everything()
    if options.cv:
        fitted = _fit(everything, options, options.cv + 1, keep=can_keep(options))
        if fitted.interrupted and not asked_to_keep(options):
            raise KeyboardInterrupt
        return fitted
    try:
        return _fit(everything, options, 2)
    except KeyboardInterrupt:
        if not can_keep(options):
            raise
        warn("interrupted: the model that was measured can be kept")
        if not asked_to_keep(options):
            raise
        return None


def _fit(part: Part, options: argparse.Namespace, parts: int, *, keep: bool = False) -> FittedModel:
    """Trains on these rows in one of `parts` equal parts of the time limit."""
    limit = None if options.time_limit is None else options.time_limit / parts
    return fit(part, options, time_limit=limit, keep=keep)


def _with_threshold(results: TrainingResults, options: argparse.Namespace) -> TrainingResults:
    """The results with the number of --threshold, or the best one for its score."""
    score = options.threshold
    if not isinstance(score, str):
        return replace(results, threshold=score)
    threshold = best_threshold(score, results.probabilities, results.rows.y)
    return replace(results, threshold=threshold, threshold_score=score)


def _save(
    predictor: Predictor,
    data: Data,
    rows: int,
    results: TrainingResults,
    options: argparse.Namespace,
) -> None:
    """Writes the model, with a record of how it was trained and measured."""
    metrics = results.metrics
    predictor.training |= data.record | {"rows": rows, "seed": options.seed}
    predictor.training["held_out"] = {
        "rows": metrics.rows,
        "accuracy": metrics.accuracy,
        "log_loss": metrics.log_loss,
        # The model in the file, or one like it that was trained on fewer rows.
        "measured_model_rows": results.predictor.training["rows"],
    }
    if results.threshold is not None:
        predictor.training["threshold"] = results.threshold
    predictor.save(options.output)


def _as_json(data: Data, rows: int, results: TrainingResults, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "output": options.output,
        "report": options.report,
        "rows": rows,
        "epochs": len(results.history),
        "best_epoch": results.best_epoch if results.history else None,
        "seconds": results.seconds,
        "columns": [column.as_json() for column in data.columns],
        "held_out": {
            "origin": results.rows_origin,
            "measured_model_rows": results.predictor.training["rows"],
            "threshold": results.threshold,
            "fold_accuracies": list(results.fold_accuracies),
            **results.metrics.as_json(),
        },
    }


def _say_results(results: TrainingResults, quiet: bool) -> None:
    say(results.training_text, quiet=quiet)
    metrics = results.metrics
    say(f"\non {metrics.rows:,} rows that were not used for training ({results.rows_origin}):", quiet=quiet)
    lines = [*metrics.score_lines(), "", *confusion_lines(metrics)]
    if results.fold_accuracies:
        shares = ", ".join(f"{accuracy:.2%}" for accuracy in results.fold_accuracies)
        lines.insert(0, f"  accuracy of each fold: {shares}")
    if results.threshold is not None:
        lines += ["", results.threshold_text(printable(metrics.classes[1]))]
    say("\n".join(lines), quiet=quiet)


def _next_steps(rows: int, results: TrainingResults, options: argparse.Namespace) -> list[str]:
    """The files that were written, what the model is, and commands to copy."""
    measured = rows == results.predictor.training["rows"]
    model = "the one that was measured" if measured else f"trained on all {rows:,} rows"
    suffix = ".parquet" if is_table_folder(options.data) else Path(options.data).suffix or ".csv"
    new = "NEW_PHOTOS/" if results.target is None else "NEW" + suffix
    report = f" and {options.report}" if options.report else ""
    lines = [
        f"wrote {options.output}{report}; the model is {model}; next steps:",
        f"  tinyrs predict {shlex.quote(options.output)} {new} -o predictions.csv",
    ]
    if not options.report:
        lines.append(f"  {options.command_line} --report report.html")
    return lines


def _read_valid(predictor: Predictor, data: Data, options: argparse.Namespace) -> LabelledRows:
    """The labelled rows of --valid."""
    if data.table is None:
        return image_rows(predictor, options.valid, options.threads)
    table_options = TableOptions(data.table.format, options.threads)
    return table_rows(predictor, options.valid, data.record["target"], table_options)
