"""`tinyrs train`: trains a model on a table or a folder of images, saves it and measures it."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.classifier import TinyClassifier, default_epochs
from tinyrs.cli.arguments import Parser, integer_at_least, positive_seconds
from tinyrs.cli.errors import CliError
from tinyrs.cli.labelled_rows import LabelledRows, TableOptions, image_rows, table_rows
from tinyrs.cli.output import say
from tinyrs.cli.paths import check_files
from tinyrs.cli.text_format import add_text_options
from tinyrs.cli.training_data import HOLD_OUT, TrainingData, hold_out, read_images, read_table
from tinyrs.cli.training_results import TrainingResults
from tinyrs.history import Record
from tinyrs.predictor import Predictor
from tinyrs.tabular.column_notes import ColumnWarning


@dataclass(frozen=True)
class FittedModel:
    """A trained classifier, one record an epoch, and the duration of training."""

    model: TinyClassifier
    history: list[Record]
    seconds: float


def parser() -> Parser:
    parser = Parser(
        "train",
        "Train a classifier on a table (CSV, Parquet, or NPZ with arrays X and y) or a folder of images\n"
        "with a subfolder for each class, and measure it on rows that were not used for training.",
        "tinyrs train data.csv --target quality -o model.safetensors",
        "tinyrs train data.csv --target quality -o model.safetensors --time-limit 60 --report report.html",
        "tinyrs train photos/ -o model.safetensors",
    )
    parser.add_argument("data", help="a table, `-` for CSV on standard input, or a folder of images")
    parser.add_argument(
        "--target", metavar="COLUMN", help="column to predict; not needed for NPZ, whose target is y"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="model file to write")
    parser.add_argument(
        "--valid",
        metavar="FILE",
        help="data to measure the model on (default: a tenth of the rows is held out)",
    )
    parser.add_argument("--report", metavar="FILE", help="also write an HTML report, a single file")
    _add_column_options(parser)
    _add_training_options(parser)
    parser.add_threads()
    parser.add_json()
    add_text_options(parser)
    return parser


def _add_column_options(parser: Parser) -> None:
    for option, text in {
        "--drop": "columns to ignore",
        "--categorical": "columns to treat as categories even if they look like numbers",
    }.items():
        parser.add_argument(option, nargs="+", action="extend", default=[], metavar="COLUMN", help=text)


def _add_training_options(parser: Parser) -> None:
    widths = list(TinyClassifier().hidden_layer_sizes)
    parser.add_argument(
        "--time-limit",
        type=positive_seconds,
        metavar="SECONDS",
        help="reduce the number of epochs so that training takes about this time at most",
    )
    parser.add_argument(
        "--epochs",
        metavar="N",
        type=integer_at_least(1),
        help="number of epochs (default: 256 for up to 1,000 rows; halved each time the rows quadruple)",
    )
    parser.add_argument(
        "--hidden",
        nargs="+",
        type=integer_at_least(1),
        default=widths,
        metavar="WIDTH",
        help=f"widths of the hidden layers; smaller is faster (default: {' '.join(map(str, widths))})",
    )
    parser.add_argument(
        "--seed", metavar="N", type=integer_at_least(0), default=0, help="random seed (default: 0)"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    quiet = options.json
    check_files([options.data, options.valid], [options.output, options.report])
    data = read_images(options) if Path(options.data).is_dir() else read_table(options)
    train, held_out = _split(data, options)
    say(f"\ntraining on {len(train):,} rows, {len(data.classes)} classes", quiet=quiet)
    fitted = fit(data.features(train), data.classes[data.y[train]], options)
    predictor = fitted.model.predictor()
    predictor.training |= data.record | {"rows": len(train), "seed": options.seed}
    results = TrainingResults(
        predictor=predictor,
        history=fitted.history,
        seconds=fitted.seconds,
        rows=_read_valid(predictor, data, options) if options.valid else data.rows(predictor, held_out),
        rows_origin=options.valid or f"one in {HOLD_OUT}, stratified by class",
        columns=data.columns,
    )
    metrics = results.metrics
    predictor.training["held_out"] = {
        "rows": metrics.rows,
        "accuracy": metrics.accuracy,
        "log_loss": metrics.log_loss,
    }
    predictor.save(options.output)
    _say_results(results, quiet)
    if options.report is not None:
        from tinyrs.cli.report import page, provenance

        made = provenance.Provenance.of(options.command_line, options.data, options.output)
        page.write(options.report, results, made)
    say("\n" + "\n".join(_next_steps(options)), quiet=quiet)
    return {
        "output": options.output,
        "report": options.report,
        "rows": len(train),
        "epochs": len(results.history),
        "best_epoch": results.best_epoch,
        "seconds": results.seconds,
        "columns": [column.as_json() for column in data.columns],
        "held_out": {"origin": results.rows_origin, **metrics.as_json()},
    }


def _split(
    data: TrainingData, options: argparse.Namespace
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of the rows to train on, and of those that are held out: none with --valid."""
    if options.valid is not None:
        return np.arange(len(data.y)), np.arange(0)
    train, held_out = hold_out(data.y, options.seed)
    if len(held_out) == 0:
        raise CliError(
            f"{options.data}: {len(data.y)} rows are too few to hold some out: measure with --valid FILE"
        )
    return train, held_out


def _say_results(results: TrainingResults, quiet: bool) -> None:
    epochs = f"{len(results.history)} epochs in {results.seconds:.1f} s"
    say(f"{epochs}; the best was epoch {results.best_epoch + 1}", quiet=quiet)
    metrics = results.metrics
    say(f"\non {metrics.rows:,} rows that were not used for training ({results.rows_origin}):", quiet=quiet)
    say("\n".join([*metrics.score_lines(), "", *metrics.confusion_lines()]), quiet=quiet)


def _next_steps(options: argparse.Namespace) -> list[str]:
    """The files that were written, and commands to copy."""
    new = "NEW_PHOTOS/" if Path(options.data).is_dir() else "NEW" + (Path(options.data).suffix or ".csv")
    report = f" and {options.report}" if options.report else ""
    lines = [
        f"wrote {options.output}{report}; next steps:",
        f"  tinyrs predict {shlex.quote(options.output)} {new} -o predictions.csv",
    ]
    if not options.report and sys.argv[1:2] == ["train"]:
        lines.append("  " + shlex.join(["tinyrs", "train", *sys.argv[2:], "--report", "report.html"]))
    return lines


def fit(X: Any, y: npt.NDArray[Any], options: argparse.Namespace) -> FittedModel:
    """Trains a classifier within the time limit, if there is one."""
    # They are in the list of columns already.
    warnings.simplefilter("ignore", ColumnWarning)
    start, history, times = time.perf_counter(), list[Record](), list[float]()
    epochs = options.epochs or default_epochs(len(y))

    def after_epoch(record: Record) -> bool:
        """Returns True to stop training."""
        history.append(record)
        times.append(time.perf_counter() - start)
        return options.time_limit is not None and times[-1] > options.time_limit

    model = TinyClassifier(
        hidden_layer_sizes=tuple(options.hidden),
        max_iter=epochs,
        callbacks=[after_epoch],
        categorical_features=options.categorical or "auto",
        n_threads=options.threads,
        random_state=options.seed,
    )
    if options.time_limit is not None and epochs > 2:
        # The learning rate schedule needs the number of epochs in advance. Two trial epochs estimate it.
        model.set_params(max_iter=2, refit=False).fit(X, y)
        trial = time.perf_counter() - start
        epoch = times[-1] - times[0] if len(times) > 1 else options.time_limit
        # Preparing the data takes as long again as in the trial, which was all but its two epochs.
        remaining = options.time_limit - trial - (trial - 2 * epoch)
        # Each epoch runs twice: on the training part, then on all rows.
        both = epoch * (1 + 1 / (1 - model.validation_fraction))
        model.set_params(max_iter=int(np.clip(remaining / max(both, 1e-9), 1, epochs)), refit=True)
        history.clear()
    model.set_params(verbose=int(sys.stderr.isatty())).fit(X, y)
    return FittedModel(model, history, time.perf_counter() - start)


def _read_valid(predictor: Predictor, data: TrainingData, options: argparse.Namespace) -> LabelledRows:
    """The labelled rows of --valid."""
    if data.table is None:
        return image_rows(predictor, options.valid, options.threads)
    table_options = TableOptions(data.table.format, options.threads)
    return table_rows(predictor, options.valid, data.record["target"], table_options)
