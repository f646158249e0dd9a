"""The data of `tinyrs train`: reads labelled rows from a table or a folder of images, and splits them."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import tinyrs
from tinyrs.cli.column_types import NUMBER_PATTERN, ColumnLocation, ColumnSummary, infer_columns, is_text
from tinyrs.cli.errors import CliError, UsageError, suggestion
from tinyrs.cli.labelled_rows import LabelledRows
from tinyrs.cli.labels import learn_labels
from tinyrs.cli.output import printable, say
from tinyrs.cli.table_predictor import TablePredictor
from tinyrs.cli.table_reader import TableReader, open_table
from tinyrs.cli.text_format import DEFAULT, TextFormat
from tinyrs.predictor import Predictor
from tinyrs.tabular.row_source import RowSource
from tinyrs.tabular.values import CellError

# One row in HOLD_OUT is held out to measure the model.
HOLD_OUT = 10
MAX_COLUMNS, MAX_CLASSES = 50, 12

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Part:
    """The rows that one model is trained on, as `TinyClassifier.fit` takes them.

    Attributes
    ----------
    X : array, table or RowSource
    y : array of shape (n_rows,), or the name of the target in a RowSource
    n_rows : int
    file : str
        Where they come from, for error messages.
    """

    X: Any
    y: Any
    n_rows: int
    file: str


@dataclass(frozen=True)
class TrainingData:
    """Labelled rows: `X` is a table or an array of image features, `y` (rows,) are indices in `classes`."""

    X: Any
    y: npt.NDArray[np.int64]
    classes: npt.NDArray[Any]
    record: dict[str, Any]  # what the model file keeps: the target column, or how images are encoded
    numbers: npt.NDArray[np.int64]  # the number of each row in its file
    file: str  # the file or folder, for error messages
    seed: int  # of the split
    # For a table:
    columns: list[ColumnSummary] = field(default_factory=list)
    table: TableReader | None = None
    # For images:
    files: list[Path] = field(default_factory=list)

    def features(self, indices: Indices) -> Any:
        """The rows of `X` at these indices."""
        return self.X.take(pa.array(indices)) if isinstance(self.X, pa.Table) else self.X[indices]

    @property
    def n_rows(self) -> int:
        return len(self.y)

    def part(self, indices: Indices) -> Part:
        """The rows at these indices."""
        return Part(self.features(indices), self.classes[self.y[indices]], len(indices), self.file)

    @property
    def held_out_origin(self) -> str:
        """How `split` chooses the rows to measure the model on, for the reader."""
        return f"one in {HOLD_OUT}, stratified by class"

    def everything(self) -> Part:
        """All rows."""
        return self.part(np.arange(len(self.y)))

    def split(self) -> tuple[Part, Indices]:
        """The rows to train on, and the indices of those to measure the model on.

        CliError if there are too few.
        """
        train, held_out = hold_out(self.y, self.seed)
        if len(held_out) == 0:
            raise CliError(
                f"{self.file}: {len(self.y)} rows are too few to hold some out: measure with --valid FILE"
            )
        return self.part(train), held_out

    def rows(self, predictor: Predictor, indices: Indices) -> LabelledRows:
        """The rows at these indices, encoded for a model that was trained on this data."""
        X, y, numbers = self.features(indices), self.y[indices], self.numbers[indices]
        if self.table is None:
            return LabelledRows(X, y, [self.files[i] for i in indices], numbers)
        return LabelledRows(TablePredictor(predictor, self.table).encode(X, 1), y, X, numbers)


def read_table(options: argparse.Namespace) -> TrainingData:
    """Reads the table and prints what each column was understood to be."""
    table = open_table(options.data, TextFormat.of(options))
    target = check_columns(table, options)
    rows = table.format.without_missing_in(table.read_all())
    classes, y = learn_labels(rows[target], ColumnLocation(table.name, target, table.first_row))
    X = rows.drop_columns(list(dict.fromkeys([target, *options.drop])))
    X = table.format.in_training(X, table.name, table.first_row, options.categorical)
    X, columns = infer_columns(X, table.name, table.first_row, options.categorical)
    columns = [_with_hint(column, X[column.name], options.categorical) for column in columns]
    numbers = table.first_row + np.arange(len(rows))
    say(f"{table.name}: {len(rows):,} rows, {len(columns)} columns", quiet=options.json)
    say_columns(columns, options.json)
    labelled = np.flatnonzero(y >= 0)
    say_classes(f"target {target}", classes, np.bincount(y[labelled], minlength=len(classes)), options.json)
    if len(labelled) < len(y):
        say(f"{len(y) - len(labelled):,} rows without a value in {target} skipped", quiet=options.json)
        X, y, numbers = X.take(pa.array(labelled)), y[labelled], numbers[labelled]
    record: dict[str, Any] = {"target": target}
    if text_format := table.format.as_json():
        record["csv"] = text_format
    return TrainingData(
        X, y, classes, record, numbers, table.name, options.seed, columns=columns, table=table
    )


def _with_hint(column: ColumnSummary, values: pa.ChunkedArray, categorical: list[str]) -> ColumnSummary:
    """The summary, with a hint if an option would make the column one of numbers."""
    if column.kind != "categories" or column.name in categorical or not is_text(values.type):
        return column
    return replace(column, note=DEFAULT.hint(values) or column.note)


def check_columns(table: TableReader, options: argparse.Namespace) -> str:
    """The name of the target. Raises if a column named in the options does not exist."""
    target: str | None = options.target or ("y" if not table.has_names and "y" in table.columns else None)
    if target is None:
        raise UsageError(f"train: expected --target COLUMN, one of {', '.join(table.columns[:20])}")
    for name in [target, *options.drop, *options.categorical]:
        if name not in table.columns:
            hint = suggestion(name, table.columns)
            if all(re.fullmatch(NUMBER_PATTERN, column) for column in table.columns):
                hint = "the first row holds numbers: if it is not a header, use --no-header"
            raise CliError(f'{table.name}: no column "{name}": {hint}')
    if target in options.drop:
        raise UsageError(f"train: --drop {target}: the target cannot be dropped")
    if not set(table.columns) - {target, *options.drop}:
        raise CliError(f"{table.name}: expected columns besides the target, got none")
    return target


def cell_error(error: CellError, source: RowSource, file: str) -> Exception:
    """The error about a value of a RowSource, with its file, column and row."""
    if error.column is None:
        return error
    return ColumnLocation(file, source.names[error.column]).cell_error(error)


def read_images(options: argparse.Namespace) -> TrainingData:
    """Reads and encodes the images of a folder with one subfolder for each class."""
    from tinyrs.cli import image_features

    if options.target or options.drop or options.categorical:
        raise UsageError(
            "train: --target, --drop and --categorical are for tables; the classes of images are subfolders"
        )
    label_of = image_features.list_labelled_images(options.data)
    encoder = image_features.ImageEncoder()
    images = encoder.encode_all(list(label_of), options.threads or tinyrs.get_num_threads())
    image_features.report_unreadable(images.unreadable, len(label_of), options.data)
    classes, y = np.unique(np.array([label_of[file] for file in images.files]), return_inverse=True)
    if len(classes) < 2:
        raise CliError(f"{options.data}: expected images in at least two subfolders, got one: {classes[0]}")
    say(f"{options.data}: {len(images.files):,} images", quiet=options.json)
    say(f"  {encoder}", quiet=options.json)
    say_classes("classes", classes, np.bincount(y, minlength=len(classes)), options.json)
    return TrainingData(
        images.features,
        y,
        classes,
        {"images": encoder.as_json()},
        np.arange(len(images.files)),
        options.data,
        options.seed,
        files=images.files,
    )


def say_columns(columns: list[ColumnSummary], quiet: bool) -> None:
    """Prints what each column was understood to be."""
    width = max(len(printable(column.name)) for column in columns)
    for column in columns[:MAX_COLUMNS]:
        say(column.text(width), quiet=quiet)
    if len(columns) > MAX_COLUMNS:
        say(f"  and {len(columns) - MAX_COLUMNS:,} more", quiet=quiet)


def say_classes(
    title: str, classes: npt.NDArray[Any], counts: npt.NDArray[np.integer[Any]], quiet: bool
) -> None:
    """Prints the number of rows of each class."""
    pairs = zip(classes[:MAX_CLASSES].tolist(), counts[:MAX_CLASSES].tolist(), strict=True)
    more = f", ... ({len(classes)} in all)" if len(classes) > MAX_CLASSES else ""
    say(f"{title}: {', '.join(f'{printable(name)} {count:,}' for name, count in pairs)}{more}", quiet=quiet)


def fold_of_rows(y: npt.NDArray[np.int64], folds: int, seed: int) -> Indices:
    """The index of each row's fold, (rows,). The only row of a class has -1: it is in every training set.

    Rows of a class are spread evenly over the folds.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(y)), y))
    fold = np.empty(len(y), dtype=np.intp)
    fold[order] = np.arange(len(y)) % folds
    fold[np.bincount(y)[y] == 1] = -1
    return fold


def hold_out(y: npt.NDArray[np.int64], seed: int) -> tuple[Indices, Indices]:
    """A stratified split: indices of the rows to train on, and of one row in HOLD_OUT to measure on.

    At least one row of each class is trained on. By hand because scikit-learn's train_test_split
    refuses classes with a single row.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(y)), y))
    held_out = np.zeros(len(y), dtype=bool)
    held_out[order[HOLD_OUT // 2 :: HOLD_OUT]] = True
    held_out[order[np.unique(y[order], return_index=True)[1]]] = False
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
