"""Target columns: which classes there are, and which class each row belongs to."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.cli.column_types import Column, ColumnLocation, first_true, to_text

# Not 007: as an integer it would become 7.
INTEGER = re.compile(r"-?(0|[1-9]\d*)(\.0+)?$")
# A target with more distinct values than this must have at least MIN_ROWS_PER_CLASS rows a class on average.
MANY_CLASSES, MIN_ROWS_PER_CLASS = 20, 5


def learn_labels(column: Column, location: ColumnLocation) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The sorted classes of a target column, and each row's index in them (rows,), -1 if it is missing.

    Classes are integers if all values are, so that 10 comes after 9; 1.0 counts as one, because pandas
    writes it for integers beside a missing value. Otherwise classes are text. CliError for fewer than two
    classes, and for a column that looks continuous.
    """
    labels = to_text(column, location)
    encoded = pc.dictionary_encode(labels)
    values = label_values(encoded.dictionary.to_pylist(), len(labels) - labels.null_count, location)
    classes, inverse = np.unique(np.array(values), return_inverse=True)
    return classes, _class_indices(encoded, inverse)


def label_values(names: list[str], rows: int, location: ColumnLocation) -> list[int] | list[str]:
    """The classes that the different texts in `rows` rows of a target column mean; see `learn_labels`."""
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise location.column_error(f"expected at least two classes, got {found}")
    if len(names) > MANY_CLASSES and rows < MIN_ROWS_PER_CLASS * len(names):
        raise location.column_error(
            f"expected classes with several rows each, got {len(names):,} different values in {rows:,} rows; "
            "tinyrs does not predict continuous values"
        )
    if all(INTEGER.match(name) for name in names):
        integers = [int(name.partition(".")[0]) for name in names]
        # Text after all if two names are the same integer ("1" and "1.0"), or one does not fit into int64.
        if len(set(integers)) == len(integers) and max(map(abs, integers)) < 2**63:
            return integers
    return names


def match_labels(
    column: Column, classes: npt.NDArray[Any], location: ColumnLocation
) -> npt.NDArray[np.int64]:
    """Each row's index in a model's `classes` (rows,), -1 if it is missing. CliError for an unknown class."""
    labels = to_text(column, location)
    encoded = pc.dictionary_encode(labels)
    known = {_lookup_key(value): index for index, value in enumerate(classes.tolist())}
    numeric = classes.dtype.kind in "iuf"
    indices = []
    for name in encoded.dictionary.to_pylist():
        index = known.get(_lookup_key(name, numeric))
        if index is None:
            listed = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
            row = first_true(pc.equal(labels, name))
            raise location.value_error(row, f"a class of the model ({listed})", name)
        indices.append(index)
    return _class_indices(encoded, np.array(indices, dtype=np.int64))


def _lookup_key(value: object, numeric: bool = False) -> object:
    """A class, or text from a file, as a key that is equal if both mean the same class.

    True and "true" are the same; so are 1, "1" and "1.0" if the classes are numeric.
    """
    if isinstance(value, str) and numeric:
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, bool):
        return str(value).lower()
    return float(value) if isinstance(value, (int, float)) else value


def _class_indices(encoded: pa.DictionaryArray, indices: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The class index of each row, given the class index of each dictionary entry; -1 for null."""
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    # Code -1 selects the appended entry.
    return np.asarray(np.append(indices, -1)[codes])
