"""Notes on columns that are of no use to a model, or mislead it, for `TinyClassifier` and `tinyrs train`."""

from __future__ import annotations

import numpy as np

from tinyrs.tabular.tables import Column, Numbers
from tinyrs.tabular.values import MISSING, category_name

# Categories of which more than this share is distinct are likely names, identifiers or free text.
MAX_DISTINCT_SHARE = 0.5
# In fewer rows, most categories may occur once by chance.
MIN_ROWS = 21


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
