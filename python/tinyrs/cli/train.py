"""`tinyrs train`: from a table, or a folder of images, to a model file and what it is worth."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import tinyrs
from tinyrs.classifier import TinyClassifier, default_epochs
from tinyrs.cli import evaluate
from tinyrs.cli.column_types import Place, Summary, learn_labels, understand
from tinyrs.cli.data import Source, open_table
from tinyrs.cli.evaluate import Rows
from tinyrs.cli.metrics import Counts
from tinyrs.cli.report.findings import Findings
from tinyrs.cli.scoring import Scorer
from tinyrs.cli.shell import CliError, Parser, UsageError, check_folder, say, seconds, suggestion, whole
from tinyrs.history import Record
from tinyrs.predictor import Predictor

# One row in so many is kept from training, to say what the model is worth on rows that it never saw.
HOLD_OUT = 10


@dataclass(frozen=True)
class Dataset:
    """Labelled rows: `X` is what the classifier takes, `codes` (rows,) are places in `classes`."""

    X: Any
    codes: Counts
    classes: npt.NDArray[Any]
    training: dict[str, Any]  # for the model's record
    numbers: npt.NDArray[np.int64]  # the place of each row in the file
    columns: list[Summary] = field(default_factory=list)
    source: Source | None = None
    files: list[Path] = field(default_factory=list)

    def take(self, rows: npt.NDArray[np.intp]) -> Any:
        return self.X.take(pa.array(rows)) if isinstance(self.X, pa.Table) else self.X[rows]

    def rows(self, predictor: Predictor, rows: npt.NDArray[np.intp]) -> Rows:
        """These rows as the model sees them."""
        X, codes, numbers = self.take(rows), self.codes[rows], self.numbers[rows]
        if self.source is None:
            return Rows(X, codes, [self.files[row] for row in rows], numbers)
        return Rows(Scorer(predictor, self.source).matrix(X, 1), codes, X, numbers)


def parser() -> Parser:
    widths = list(TinyClassifier().hidden_layer_sizes)
    parser = Parser(
        "train",
        "Learn to tell classes apart from a table (CSV, Parquet, NPZ with X and y) or a folder of images\n"
        "with a subfolder for each category, and say how good it is on rows that were not learnt from.",
        "tinyrs train data.csv --target quality -o model.safetensors",
        "tinyrs train data.csv --target quality -o model.safetensors --time-limit 60 --report report.html",
        "tinyrs train photos/ -o model.safetensors",
    )
    parser.add_argument("data", help="the table (- for CSV on standard input), or the folder")
    parser.add_argument("--target", metavar="COLUMN", help="what to predict; of an NPZ file, y")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the model to write")
    parser.add_argument(
        "--valid", metavar="FILE", help="measure on this (default: on a tenth that is held out)"
    )
    parser.add_argument(
        "--drop", nargs="+", action="extend", default=[], metavar="COLUMN", help="do not use these"
    )
    parser.add_argument(
        "--categorical",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="these are categories, though they look like numbers",
    )
    parser.add_argument(
        "--time-limit", type=seconds, metavar="SECONDS", help="as many epochs as fit into this"
    )
    parser.add_argument(
        "--epochs",
        type=whole(1),
        help="default: 256 for up to 1,000 rows, half as many for four times the rows",
    )
    parser.add_argument(
        "--hidden",
        nargs="+",
        type=whole(1),
        default=widths,
        metavar="WIDTH",
        help=f"of the hidden layers: small ones predict faster (default: {' '.join(map(str, widths))})",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of everything that is random (default: 0)")
    parser.add_argument("--report", metavar="FILE", help="also write a page about it, one HTML file")
    parser.add_delimiter()
    parser.add_threads()
    parser.add_json()
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    quiet = options.json
    for path in filter(None, [options.output, options.report]):
        check_folder(path)
    data = _images(options) if Path(options.data).is_dir() else _table(options)
    if options.valid is None:
        train, held = hold_out(data.codes, options.seed)
        if len(held) == 0:
            raise CliError(
                f"{options.data}: {len(data.codes)} rows are too few to hold some out: say --valid FILE"
            )
        what = f"one in {HOLD_OUT}, drawn from each class"
    else:
        train, held, what = np.arange(len(data.codes)), np.arange(0), options.valid
    say(f"\ntraining on {len(train):,} rows, {len(data.classes)} classes", quiet=quiet)
    model, records, took = fit(data.take(train), data.classes[data.codes[train]], options)
    predictor = model.predictor()
    predictor.training |= data.training | {"rows": len(train), "seed": options.seed}
    rows = _validation(predictor, data, options) if options.valid else data.rows(predictor, held)
    findings = Findings.of(predictor, rows, what, records, took, data.columns)
    figures = findings.figures
    predictor.training["held_out"] = {
        "rows": figures.rows,
        "accuracy": figures.accuracy,
        "log_loss": figures.log_loss,
    }
    predictor.save(options.output)
    say(f"{len(records)} epochs in {took:.1f} s, the best was {model.best_iteration_ + 1}", quiet=quiet)
    say(f"\non {figures.rows:,} rows that were not trained on ({what}):", quiet=quiet)
    say("\n".join([*figures.lines(), "", *figures.confusion_lines()]), quiet=quiet)
    if options.report is not None:
        from tinyrs.cli.report import page as report

        report.write(options.report, options.data, findings)
    say("\n" + "\n".join(_next(options)), quiet=quiet)
    return {
        "output": options.output,
        "report": options.report,
        "rows": len(train),
        "epochs": len(records),
        "best_epoch": model.best_iteration_,
        "seconds": took,
        "columns": [column.as_json() for column in data.columns],
        "held_out": {"what": what, **figures.as_json()},
    }


def _next(options: argparse.Namespace) -> list[str]:
    """The commands that come next, to be copied."""
    new = "NEW_PHOTOS/" if Path(options.data).is_dir() else "NEW" + (Path(options.data).suffix or ".csv")
    lines = [
        f"wrote {options.output}"
        + (f" and {options.report}" if options.report else "")
        + "; what to do next:"
    ]
    model = shlex.quote(options.output)
    lines.append(f"  tinyrs predict {model} {new} -o predictions.csv")
    if not options.report:
        again = shlex.join(["tinyrs", "train", *sys.argv[2:], "--report", "report.html"])
        if sys.argv[1:2] == ["train"]:
            lines.append(f"  {again}")
    return lines


def _table(options: argparse.Namespace) -> Dataset:
    """Reads the table and says what it understood of it."""
    source = open_table(options.data, options.delimiter)
    target = options.target or ("y" if not source.named else None)
    if target is None:
        raise UsageError(f"train: expected --target COLUMN, one of {', '.join(source.columns[:20])}")
    for name in [target, *options.drop, *options.categorical]:
        if name not in source.columns:
            raise CliError(f'{source.name}: has no column "{name}": {_hint(name, source)}')
    if target in options.drop:
        raise UsageError(f"train: --drop {target}: that is the target")
    table = source.read()
    classes, codes = learn_labels(table[target], Place(source.name, target, source.first_row))
    features = table.drop_columns(list(dict.fromkeys([target, *options.drop])))
    if features.num_columns == 0:
        raise CliError(f"{source.name}: expected columns beside the target, got none")
    features, columns = understand(features, source.name, source.first_row, options.categorical)
    numbers = source.first_row + np.arange(len(table))
    say(f"{source.name}: {len(table):,} rows, {len(columns)} columns", quiet=options.json)
    width = max(len(column.name) for column in columns)
    for column in columns[:50]:
        say(column.line(width), quiet=options.json)
    if len(columns) > 50:
        say(f"  and {len(columns) - 50:,} more", quiet=options.json)
    counts = np.bincount(codes[codes >= 0], minlength=len(classes))
    _say_classes(f"target {target}", classes, counts, options.json)
    known = np.flatnonzero(codes >= 0)
    if len(known) < len(codes):
        say(f"{len(codes) - len(known):,} rows without a {target} left out", quiet=options.json)
        features, codes, numbers = features.take(pa.array(known)), codes[known], numbers[known]
    return Dataset(features, codes, classes, {"target": target}, numbers, columns, source)


def _say_classes(what: str, classes: npt.NDArray[Any], counts: Counts, quiet: bool) -> None:
    each = [f"{name} {count:,}" for name, count in zip(classes[:12].tolist(), counts.tolist(), strict=False)]
    more = f", ... ({len(classes)} in all)" if len(classes) > 12 else ""
    say(f"{what}: {', '.join(each)}{more}", quiet=quiet)


def _hint(name: str, source: Source) -> str:
    if len(source.columns) == 1 and ";" in source.columns[0]:
        return "its header has semicolons: say --delimiter ';'"
    return suggestion(name, source.columns)


def _images(options: argparse.Namespace) -> Dataset:
    from tinyrs.cli import images

    if options.target or options.drop or options.categorical:
        raise UsageError(
            "train: --target, --drop and --categorical are for tables; of images, folders are classes"
        )
    files, labels = images.list_labelled(options.data)
    recipe = images.Recipe()
    features, read, unreadable = recipe.read_all(files, options.threads or tinyrs.get_num_threads())
    images.report_unreadable(unreadable, len(files), options.data)
    of_file = dict(zip(files, labels, strict=True))
    classes, codes = np.unique(np.array([of_file[file] for file in read]), return_inverse=True)
    if len(classes) < 2:
        raise CliError(f"{options.data}: expected images in at least two subfolders, got one: {classes[0]}")
    say(f"{options.data}: {len(read):,} images, each as {recipe}", quiet=options.json)
    _say_classes("categories", classes, np.bincount(codes), options.json)
    training = {"images": recipe.as_json()}
    return Dataset(features, codes, classes, training, np.arange(len(read)), files=read)


def hold_out(codes: Counts, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows to train on and rows to measure on: one in ten, as many of each class as is its share.

    Of no class are all rows held out.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(codes)), codes))
    held = np.zeros(len(codes), dtype=bool)
    held[order[HOLD_OUT // 2 :: HOLD_OUT]] = True
    held[order[np.unique(codes[order], return_index=True)[1]]] = False
    return np.flatnonzero(~held), np.flatnonzero(held)


def fit(
    X: Any, y: npt.NDArray[Any], options: argparse.Namespace
) -> tuple[TinyClassifier, list[Record], float]:
    """The model, the record of each epoch, and how long it took."""
    start, records, times = time.perf_counter(), list[Record](), list[float]()
    epochs = options.epochs or default_epochs(len(y))

    def over(record: Record) -> bool:
        records.append(record)
        times.append(time.perf_counter() - start)
        return options.time_limit is not None and times[-1] > options.time_limit

    model = TinyClassifier(
        hidden_layer_sizes=tuple(options.hidden),
        max_iter=epochs,
        callbacks=[over],
        n_threads=options.threads,
        random_state=options.seed,
    )
    if options.time_limit is not None and epochs > 2:
        # The learning rate has a course to run, so it must be known beforehand how many epochs there will be.
        model.set_params(max_iter=2, refit=False).fit(X, y)
        trial = time.perf_counter() - start
        epoch = times[-1] - times[0] if len(times) > 1 else options.time_limit
        # The next fit prepares the data once more, as the trial did beside its two epochs; and each epoch is
        # made twice, without and with the rows that are held out.
        left = options.time_limit - trial - (trial - 2 * epoch)
        both = epoch * (1 + 1 / (1 - model.validation_fraction))
        model.set_params(max_iter=int(np.clip(left / max(both, 1e-9), 1, epochs)), refit=True)
        records.clear()
    model.set_params(verbose=int(sys.stderr.isatty())).fit(X, y)
    return model, records, time.perf_counter() - start


def _validation(predictor: Predictor, data: Dataset, options: argparse.Namespace) -> Rows:
    """The rows of --valid that have a class."""
    if data.source is None:
        return evaluate.images_rows(predictor, options.valid, options.threads)
    chunks = [
        rows for _, rows in evaluate.table_rows(predictor, options.valid, data.training["target"], options)
    ]
    rows = Rows(
        np.concatenate([chunk.encoded for chunk in chunks]),
        np.concatenate([chunk.codes for chunk in chunks]),
        pa.concat_tables([chunk.raw for chunk in chunks]),
        np.concatenate([chunk.numbers for chunk in chunks]),
    )
    known = np.flatnonzero(rows.codes >= 0)
    if len(known) == 0:
        raise CliError(f"{options.valid}: expected rows with a class, got none")
    assert isinstance(rows.raw, pa.Table)
    return Rows(rows.encoded[known], rows.codes[known], rows.raw.take(pa.array(known)), rows.numbers[known])
