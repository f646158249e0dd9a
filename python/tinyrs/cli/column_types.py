"""Decides what the columns of a training table hold, and reads those of any table as the model does.

A CSV file has no types, so text that reads as numbers is numbers here. Everything else follows the rule of
`tinyrs.tabular.values`, so a CSV file and a Parquet file of the same table give the same model.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.cli.errors import CliError
from tinyrs.cli.output import printable
from tinyrs.tabular.column_notes import note_on_categories, note_on_numbers
from tinyrs.tabular.preprocessor_fit import category_counts
from tinyrs.tabular.tables import Column as Cells
from tinyrs.tabular.tables import ObjectCells, read_column
from tinyrs.tabular.times import text_of
from tinyrs.tabular.values import MISSING, MISSING_TEXT, TIMES, CellError

Column: TypeAlias = pa.Array | pa.ChunkedArray
Numbers = npt.NDArray[np.floating[Any]]

# Text that means a missing value in a column of numbers.
MISSING_NUMBERS = pa.array(sorted(MISSING_TEXT))
NUMBER_PATTERN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# A text column with at least this share of numbers is assumed to hold numbers with typing errors.
MIN_NUMBER_SHARE = 0.9
MAX_VALUE_SHOWN = 40


@dataclass(frozen=True)
class ColumnLocation:
    """Where the values of a column come from, for error messages."""

    file: str
    column: str
    first_row: int = 1  # the row of the file that the first value is in
    numbers: npt.NDArray[np.int64] | None = None  # the row of each value, if they do not follow each other

    def value_error(self, offset: int, expected: str, value: Any) -> CliError:
        """An error about the value `offset` rows after the first."""
        got = repr(value)
        got = got if len(got) <= MAX_VALUE_SHOWN else got[: MAX_VALUE_SHOWN - 3] + "..."
        row = self.first_row + offset if self.numbers is None else self.numbers[offset]
        return CliError(f'{self.file}: row {row}, column "{self.column}": expected {expected}, got {got}')

    def cell_error(self, error: CellError) -> CliError:
        """The error about a value that does not fit its column."""
        return self.value_error(error.row, error.expected, error.value)

    def column_error(self, message: str) -> CliError:
        """An error about the whole column."""
        return CliError(f'{self.file}: column "{self.column}": {message}')


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
    )


def to_numbers(column: Column, location: ColumnLocation) -> Numbers:
    """A column as float64 (rows,), NaN for missing values. CliError for text that is not a number."""
    column = combined(column)
    kind = column.type
    if not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        return _numbers_one_by_one(column, location)
    if pa.types.is_decimal(kind):
        # Through text: pyarrow's direct cast may not give the nearest float.
        column = pc.cast(column, pa.string())
    try:
        # safe=False rounds integers above 2^53. Text that is not a number is an error in either mode.
        floats = pc.cast(column, pa.float64(), safe=False)
    except pa.ArrowInvalid:
        cleaned = _without_missing(column)
        try:
            floats = pc.cast(cleaned, pa.float64())
        except pa.ArrowInvalid:
            return _numbers_one_by_one(column, location)
    # to_numpy converts null to NaN.
    values = floats.to_numpy(zero_copy_only=False)
    infinite = np.isinf(values)
    if infinite.any():
        bad = int(infinite.argmax())
        raise location.value_error(bad, "a finite number", column[bad].as_py())
    return np.asarray(values)


def _numbers_one_by_one(column: pa.Array, location: ColumnLocation) -> Numbers:
    """`to_numbers` for a column that pyarrow cannot convert as a whole."""
    try:
        return to_cells(column, location).numbers("number")
    except CellError as error:
        raise location.cell_error(error) from None


def to_text(column: Column, location: ColumnLocation) -> pa.Array:
    """A column as text, null for missing values, NaN and empty text."""
    try:
        column = combined(column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        column = pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise location.column_error(f"expected numbers or text, got {column.type}") from None
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def combined(column: Column) -> pa.Array:
    """A column as a single chunk."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def first_true(mask: pa.Array) -> int:
    """The index of the first true value."""
    return int(pc.index(mask, True).as_py())


def missing_option(text: str) -> str:
    """The option that makes `text` a missing value, to copy into a shell."""
    # Without "=", argparse would take -x for an option.
    between = "=" if text.startswith("-") and text != "-" else " "
    return f"--missing{between}{shlex.quote(text)}"


def _without_missing(column: pa.Array) -> pa.Array:
    """Text without surrounding spaces, null for text that means a missing number."""
    column = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.is_in(column, value_set=MISSING_NUMBERS), pa.scalar(None, column.type), column)


@dataclass(frozen=True)
class ColumnSummary:
    """What a column was understood to be. `train` prints it, and `--json` and the report contain it."""

    name: str
    kind: str  # "numbers", "booleans", "dates", "times", "durations" or "categories"
    missing: int
    # Of all but categories: the range, as text for times; None if all values are missing.
    low: float | str | None = None
    high: float | str | None = None
    # Of categories: how many there are, and the most frequent ones.
    distinct: int | None = None
    frequent: tuple[str, ...] = ()
    note: str = ""  # a warning

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, (), "")}

    @property
    def content(self) -> str:
        """The kind, and the range or the most frequent categories."""
        if self.kind != "categories":
            low, high = (f"{v:g}" if isinstance(v, float) else v for v in (self.low, self.high))
            has_range = low is not None and self.kind != "booleans"
            return f"{self.kind} from {low} to {high}" if has_range else self.kind
        names = map(printable, self.frequent)
        shown = ", ".join(name if len(name) <= 20 else name[:17] + "..." for name in names)
        more = ", ..." if (self.distinct or 0) > len(self.frequent) else ""
        return f"{self.distinct:,} categories: {shown}{more}"

    def text(self, width: int) -> str:
        """One line, or two with a note; the name is padded to `width`."""
        missing = f"; {self.missing:,} missing" if self.missing else ""
        note = f"\n  {'':{width}}  {printable(self.note)}" if self.note else ""
        return f"  {printable(self.name):{width}}  {self.content}{missing}{note}"


def infer_columns(
    table: pa.Table,
    file: str,
    first_row: int,
    categorical: Iterable[str] = (),
    numbers: npt.NDArray[np.int64] | None = None,
) -> tuple[pa.Table, list[ColumnSummary]]:
    """The columns of a training table, of which text that reads as numbers becomes float64 with NaN.

    Columns named in `categorical` are not converted. `numbers` are as in `ColumnLocation`.
    """
    columns: dict[str, pa.Array] = {}
    summaries = []
    for name in table.column_names:
        column, location = combined(table[name]), ColumnLocation(file, name, first_row, numbers)
        if name not in categorical and _holds_numbers(column, location):
            column = pa.array(to_numbers(column, location))
        columns[name] = column
        summaries.append(_summarize(name, to_cells(column, location), name in categorical))
    return pa.table(columns), summaries


def to_cells(column: Column, location: ColumnLocation) -> Cells:
    """A column as `tinyrs.tabular` reads it. CliError if a value is a list or the like."""
    column = combined(column)
    of_categories = pa.types.is_dictionary(column.type)
    try:
        if not (of_categories or is_text(column.type)):
            return read_column(pa.chunked_array([column]))
        encoded = column if of_categories else pc.dictionary_encode(column)
        # The last value is for missing ones.
        values = [*encoded.dictionary.to_pylist(), None]
        inverse = pc.fill_null(encoded.indices.cast(pa.int64()), len(values) - 1)
        return ObjectCells(values, inverse.to_numpy(zero_copy_only=False), of_categories)
    except CellError as error:
        raise location.cell_error(error) from None


def _holds_numbers(column: pa.Array, location: ColumnLocation) -> bool:
    """Whether a column holds numbers.

    CliError for text of which most values are numbers: as categories they would be of no use.
    """
    if not is_text(column.type):
        return is_number(column.type)
    cleaned = _without_missing(column)
    matches = pc.match_substring_regex(cleaned, NUMBER_PATTERN)
    share = pc.mean(matches).as_py()
    if share is not None and MIN_NUMBER_SHARE <= share < 1:
        bad, others = first_true(pc.invert(matches)), pc.sum(pc.invert(matches)).as_py()
        rows = "1 row" if others == 1 else f"{others:,} rows"
        fix = f"correct it, or use --categorical {location.column}"
        if pc.count_distinct(cleaned.filter(pc.invert(matches))).as_py() == 1:
            fix += f"; if it means a missing value: {missing_option(cleaned[bad].as_py())}"
        raise location.value_error(bad, f"a number, as in all but {rows} ({fix})", column[bad].as_py())
    return share is None or share == 1


def _summarize(name: str, cells: Cells, is_category: bool) -> ColumnSummary:
    if is_category or cells.is_category:
        return _summarize_categories(name, cells)
    values = cells.numbers(cells.kind)
    known = values[~np.isnan(values)]
    ends = [float(known.min()), float(known.max())] if len(known) else [None, None]
    low, high = (text_of(end, cells.kind) if end is not None and cells.kind in TIMES else end for end in ends)
    note = note_on_numbers(values)
    note = f"{note}: consider --drop {name}" if note else ""
    return ColumnSummary(name, f"{cells.kind}s", len(values) - len(known), low, high, note=note)


def _summarize_categories(name: str, cells: Cells) -> ColumnSummary:
    counts = category_counts(cells)
    missing, note = counts.pop(MISSING, 0), note_on_categories(cells)
    return ColumnSummary(
        name,
        "categories",
        missing,
        distinct=len(counts),
        frequent=tuple(sorted(counts, key=lambda name: -counts[name])[:4]),
        note=f"{note}: consider --drop {name}" if note else "",
    )
