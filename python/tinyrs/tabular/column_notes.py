"""Notes on columns that are of no use to a model, or mislead it, for `TinyClassifier` and `tinyrs train`."""

from __future__ import annotations

import numpy as np

from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.tables import Column, Numbers, Table
from tinyrs.tabular.values import MISSING, category_name

# Categories of which more than this share is distinct are likely names, identifiers or free text.
MAX_DISTINCT_SHARE = 0.5
# In fewer rows, most categories may occur once by chance.
MIN_ROWS = 21
# The columns that one warning names.
MAX_NAMED = 10


class ColumnWarning(UserWarning):
    """A column of a training set is of no use to the model, or misleads it."""


def column_warnings(table: Table, preprocessor: Preprocessor) -> list[str]:
    """The notes on the columns of a training table, with their names.

    Of an array, whose columns have no names, only the columns of categories are looked at: constant columns
    are common in arrays of pixels or counts.
    """
    notes: dict[str, list[str]] = {}

    def add(column: int, note: str) -> None:
        if note:
            notes.setdefault(note, []).append(
                str(column) if table.names is None else repr(table.names[column])
            )

    for category in preprocessor.categories:
        add(category.column, note_on_categories(table.columns[category.column]))
    for number in preprocessor.numbers if table.names is not None else ():
        if number.column < preprocessor.n_columns:
            add(number.column, note_on_numbers(table.numbers(number.column, number.kind)))
    return [
        f"column{'s' if len(columns) > 1 else ''} {', '.join(columns[:MAX_NAMED])}"
        f"{', ...' if len(columns) > MAX_NAMED else ''}: {note}: consider dropping "
        f"{'them' if len(columns) > 1 else 'it'}"
        for note, columns in notes.items()
    ]


def note_on_numbers(numbers: Numbers) -> str:
    """What is wrong with a column of numbers (rows,) with NaN for missing values; empty if nothing is."""
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        return "all values are missing"
    if known.min() == known.max():
        return "constant"
    if len(numbers) == len(known) > 2 and numbers[1] == numbers[0] + 1 and (np.diff(numbers) == 1).all():
        return "looks like a row number"
    return ""


def note_on_categories(column: Column) -> str:
    """What is wrong with a column of categories; empty if nothing is."""
    values, inverse = column.distinct()
    missing = np.array([category_name(value, "text") == MISSING for value in values], dtype=bool)
    distinct, rows = int((~missing).sum()), int((~missing[inverse]).sum())
    if len(inverse) >= MIN_ROWS and distinct > MAX_DISTINCT_SHARE * rows:
        return "most values occur only once, so new rows have others"
    return ""
