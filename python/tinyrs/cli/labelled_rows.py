"""Rows with known labels, encoded for a model: what `evaluate`, and `train --valid`, measure a model on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import tinyrs
from tinyrs.cli.column_types import ColumnLocation
from tinyrs.cli.errors import CliError, suggestion
from tinyrs.cli.labels import match_labels
from tinyrs.cli.output import progress_bar
from tinyrs.cli.table_predictor import TablePredictor
from tinyrs.cli.table_reader import open_table
from tinyrs.cli.text_format import TextFormat
from tinyrs.predictor import Predictor


@dataclass(frozen=True)
class LabelledRows:
    """Rows as the model sees them, their classes, and what they were in the file."""

    encoded: npt.NDArray[Any]  # (rows, columns)
    y: npt.NDArray[np.int64]  # (rows,): index in the model's classes, -1 if the label is missing
    raw: pa.Table | list[Path]  # the columns of a table, or image files
    numbers: npt.NDArray[np.int64]  # (rows,): the number of each row in its file

    @classmethod
    def concatenated(cls, parts: Sequence[LabelledRows]) -> LabelledRows:
        """The rows of all parts, in order."""
        tables = [part.raw for part in parts if isinstance(part.raw, pa.Table)]
        files = [file for part in parts if isinstance(part.raw, list) for file in part.raw]
        return cls(
            np.concatenate([part.encoded for part in parts]),
            np.concatenate([part.y for part in parts]),
            pa.concat_tables(tables) if tables else files,
            np.concatenate([part.numbers for part in parts]),
        )

    def take(self, indices: npt.NDArray[np.intp]) -> LabelledRows:
        raw = (
            self.raw.take(pa.array(indices))
            if isinstance(self.raw, pa.Table)
            else [self.raw[i] for i in indices]
        )
        return LabelledRows(self.encoded[indices], self.y[indices], raw, self.numbers[indices])


@dataclass(frozen=True)
class TableOptions:
    """How a table is read: the format of a CSV file, and the number of threads that predict its rows."""

    format: TextFormat
    threads: int | None


def table_chunks(
    predictor: Predictor, path: str, target: str, options: TableOptions
) -> Iterator[tuple[TablePredictor, LabelledRows]]:
    """The chunks of a table with the labels in column `target`, each with the predictor for them."""
    table = open_table(path, options.format)
    if target not in table.columns:
        raise CliError(f'{path}: no column "{target}": {suggestion(target, table.columns)}')
    table_predictor = TablePredictor(predictor, table, target=target, n_threads=options.threads)
    with progress_bar("rows") as advance:
        for chunk, row in table.numbered_chunks():
            labels = table.format.without_missing(chunk[target])
            y = match_labels(labels, predictor.classes_, ColumnLocation(table.name, target, row))
            raw = pa.Table.from_batches([chunk.select(table_predictor.columns)])
            encoded = table_predictor.encode(chunk, row)
            yield table_predictor, LabelledRows(encoded, y, raw, row + np.arange(len(chunk)))
            advance(len(chunk))


def table_rows(predictor: Predictor, path: str, target: str, options: TableOptions) -> LabelledRows:
    """The rows of a table that have a label. CliError if there are none."""
    rows = LabelledRows.concatenated([rows for _, rows in table_chunks(predictor, path, target, options)])
    labelled = np.flatnonzero(rows.y >= 0)
    if len(labelled) == 0:
        raise no_labels(path, target)
    return rows.take(labelled)


def no_labels(path: str, target: str) -> CliError:
    return CliError(f'{path}: column "{target}": expected labels, got none')


def image_rows(predictor: Predictor, folder: str, threads: int | None) -> LabelledRows:
    """The images of a folder with one subfolder for each class."""
    from tinyrs.cli import image_features

    encoder = image_features.ImageEncoder.of(predictor)
    label_of = image_features.list_labelled_images(folder)
    known = {str(name): index for index, name in enumerate(predictor.classes_.tolist())}
    unknown = next((label for label in label_of.values() if label not in known), None)
    if unknown is not None:
        raise CliError(f"{folder}: the model has no class {unknown!r}: {suggestion(unknown, known)}")
    images = encoder.encode_all(list(label_of), threads or tinyrs.get_num_threads())
    image_features.report_unreadable(images.unreadable, len(label_of), folder)
    y = np.array([known[label_of[file]] for file in images.files])
    return LabelledRows(images.features, y, images.files, np.arange(len(images.files)))
