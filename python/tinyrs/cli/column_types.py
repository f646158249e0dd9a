"""What the columns of a table are: numbers, or categories with names.

Integers, fractions and text that reads as such are numbers; all else is a category named by its text, so that
a CSV file and a Parquet file of the same table mean the same. All of it is done by pyarrow on whole columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.cli.shell import CliError

# What stands for a number that is missing.
NO_NUMBER = pa.array(["", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?"])
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# 007 is none: it would come back as 7.
WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0+)?$")
# A column of text with this share of numbers has mistakes in it; with less, it is of another kind.
MOSTLY = 0.9
MAX_SHOWN = 40


@dataclass(frozen=True)
class Place:
    """Where a column is, for errors: its file, its name, and the row at which it starts."""

    file: str
    column: str
    row: int = 1

    def error(self, offset: int, expected: str, got: Any) -> CliError:
        """For the value at `offset` rows after the start."""
        text = repr(got)
        text = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
        return CliError(
            f'{self.file}: row {self.row + offset}, column "{self.column}": expected {expected}, got {text}'
        )

    def complaint(self, message: str) -> CliError:
        """For the column as a whole."""
        return CliError(f'{self.file}: column "{self.column}": {message}')


Numbers = npt.NDArray[np.float64]


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
    )


def numbers(column: pa.Array, place: Place) -> Numbers:
    """A column as numbers (rows,), NaN where one is missing. CliError where there is none."""
    column = _whole(column)
    kind = column.type
    # Decimals by their text: pyarrow's own way to a float may miss the nearest one.
    if pa.types.is_decimal(kind) or not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        column = texts(column, place)
    try:
        # Text that is no number is refused all the same; a whole number above 2^53 is rounded.
        found = pc.cast(column, pa.float64(), safe=False)
    except pa.ArrowInvalid:
        cleaned = _cleaned(column)
        try:
            found = pc.cast(cleaned, pa.float64())
        except pa.ArrowInvalid:
            bad = _first(pc.invert(pc.match_substring_regex(cleaned, NUMBER)))
            raise place.error(bad, "a number", column[bad].as_py()) from None
    # It has NaN where there was null.
    values = found.to_numpy(zero_copy_only=False)
    infinite = np.isinf(values)
    if infinite.any():
        bad = int(infinite.argmax())
        raise place.error(bad, "a finite number", column[bad].as_py())
    return np.asarray(values)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _cleaned(column: pa.Array) -> pa.Array:
    """Text without spaces around it; null for what stands for no number."""
    column = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.is_in(column, value_set=NO_NUMBER), pa.scalar(None, column.type), column)


def _first(mask: pa.Array) -> int:
    """The place of the first true."""
    return int(pc.index(mask, True).as_py())


def texts(column: pa.Array, place: Place) -> pa.Array:
    """A column as text, null where there is none."""
    try:
        column = _whole(column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        column = pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise place.complaint(f"expected numbers or text, got {column.type}") from None
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


@dataclass(frozen=True)
class Summary:
    """What was understood of a column."""

    name: str
    kind: str  # "numbers" or "categories"
    missing: int
    # Numbers: the least and the largest. Categories: how many, and the most frequent ones.
    low: float | None = None
    high: float | None = None
    distinct: int | None = None
    frequent: tuple[str, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, (), "")}

    @property
    def what(self) -> str:
        if self.kind == "numbers":
            return "numbers" + ("" if self.low is None else f" from {self.low:g} to {self.high:g}")
        shown = ", ".join(name if len(name) <= 20 else name[:17] + "..." for name in self.frequent)
        more = ", ..." if (self.distinct or 0) > len(self.frequent) else ""
        return f"{self.distinct:,} categories: {shown}{more}"

    def line(self, width: int) -> str:
        missing = f"; {self.missing:,} missing" if self.missing else ""
        return f"  {self.name:{width}}  {self.what}{missing}" + (
            f"\n  {'':{width}}  {self.note}" if self.note else ""
        )


def understand(
    table: pa.Table, file: str, first_row: int, categorical: Iterable[str] = ()
) -> tuple[pa.Table, list[Summary]]:
    """The columns of a table that is to be learnt from, as float64 with NaN or as text with nulls."""
    columns: dict[str, pa.Array] = {}
    summaries = []
    for name in table.column_names:
        column, place = _whole(table[name]), Place(file, name, first_row)
        if name not in categorical and _holds_numbers(column, place):
            values = numbers(column, place)
            columns[name] = pa.array(values)
            summaries.append(_of_numbers(name, values))
        else:
            columns[name] = texts(column, place)
            summaries.append(_of_categories(name, columns[name]))
    return pa.table(columns), summaries


def _holds_numbers(column: pa.Array, place: Place) -> bool:
    """CliError for text that is mostly numbers: one slip would make a category of each of them."""
    if not is_text(column.type):
        return is_number(column.type)
    cleaned = _cleaned(column)
    fits = pc.match_substring_regex(cleaned, NUMBER)
    share = pc.mean(fits).as_py()
    if share is not None and MOSTLY <= share < 1:
        bad, others = _first(pc.invert(fits)), pc.sum(pc.invert(fits)).as_py()
        rows = "1 row" if others == 1 else f"{others:,} rows"
        hint = f"a number, as everywhere but in {rows} (correct it, or say --categorical {place.column})"
        raise place.error(bad, hint, column[bad].as_py())
    return share is None or share == 1


def _of_numbers(name: str, values: Numbers) -> Summary:
    known = values[~np.isnan(values)]
    note = ""
    if len(known) == 0:
        return Summary(name, "numbers", len(values), note="always missing, so of no use")
    if known.min() == known.max():
        note = "always the same, so of no use"
    elif len(known) == len(values) > 2 and (np.diff(values) == 1).all():
        note = f"counts the rows: if it says nothing about them, --drop {name}"
    return Summary(
        name, "numbers", len(values) - len(known), float(known.min()), float(known.max()), note=note
    )


def _of_categories(name: str, column: pa.Array) -> Summary:
    counts = pc.value_counts(pc.drop_null(column))
    distinct, missing = len(counts), column.null_count
    order = pc.sort_indices(counts.field("counts"), sort_keys=[("", "descending")]) if distinct else []
    frequent = tuple(counts.field("values").take(order[:4]).to_pylist()) if distinct else ()
    note = ""
    if distinct > 0.5 * (len(column) - missing) and len(column) > 20:
        note = f"nearly one a row, which says little about new rows: consider --drop {name}"
    return Summary(name, "categories", missing, distinct=distinct, frequent=frequent, note=note)


# Labels.


def learn_labels(column: pa.Array, place: Place) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The classes of a target, and the place of each row's in them, -1 where a row has none.

    Whole numbers, which pandas writes as 1.0 beside a hole, are numbers, so that 10 comes after 9; all else
    is text.
    """
    names = texts(column, place)
    encoded = pc.dictionary_encode(names)
    found = encoded.dictionary.to_pylist()
    if len(found) < 2:
        raise place.complaint(
            f"expected at least two classes, got {'only ' + repr(found[0]) if found else 'none'}"
        )
    rows = len(names) - names.null_count
    if len(found) > 20 and rows < 5 * len(found):
        raise place.complaint(
            f"expected a few classes with some rows each, got {len(found):,} different values in "
            f"{rows:,} rows: a quantity is not a class"
        )
    values: list[int] | list[str] = found
    if all(WHOLE.match(name) for name in found):
        whole = [int(name.partition(".")[0]) for name in found]
        # Not if two of them are one number, or none that NumPy has.
        if len(set(whole)) == len(whole) and max(map(abs, whole)) < 2**63:
            values = whole
    classes, inverse = np.unique(np.array(values), return_inverse=True)
    return classes, _codes(encoded, inverse)


def match_labels(column: pa.Array, classes: npt.NDArray[Any], place: Place) -> npt.NDArray[np.int64]:
    """The place of each row's label in a model's `classes`, -1 where a row has none.

    CliError for a label that the model does not know.
    """
    names = texts(column, place)
    encoded = pc.dictionary_encode(names)
    known = {_key(value): code for code, value in enumerate(classes.tolist())}
    numeric = classes.dtype.kind in "iuf"
    codes = []
    for name in encoded.dictionary.to_pylist():
        code = known.get(_key(name, numeric))
        if code is None:
            listed = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
            raise place.error(_first(pc.equal(names, name)), f"a class of the model ({listed})", name)
        codes.append(code)
    return _codes(encoded, np.array(codes, dtype=np.int64))


def _key(value: object, numeric: bool = False) -> object:
    """What a label is known by in a file: True is true, and 1.0 is 1 where classes are numbers."""
    if isinstance(value, str) and numeric:
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return str(value).lower() if isinstance(value, bool) else value


def _codes(encoded: pa.DictionaryArray, codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    # The last one is for -1.
    return np.asarray(np.append(codes, -1)[indices])
