"""What a value in a table means: the one rule for all tables, dicts and files.

A column has a *kind*, learnt in training, and a value is read as that kind:

- "number": 3, 3.0, "3", "3.0", Decimal(3) and numpy.int64(3) are the same number;
- "boolean": True, numpy.True_, "True", "TRUE", 1, 1.0 and "1" are the same, and so are their opposites;
- "date", "time", "duration": a number of seconds; see `times.py`;
- "text": a string is itself, and any other value is the text that Python prints for it, a whole float without
  its ".0".

None, NaN, NaT, pandas.NA and empty text are missing values; except in a column of text, so are the spellings
in `MISSING_TEXT`. A list, dict, array or complex number is never a value.
"""

from __future__ import annotations

import math

from tinyrs.tabular.times import date_seconds, dates_in, duration_seconds, text_of, time_seconds
from tinyrs.tabular.type_checks import is_missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

NAN, INFINITY = float("nan"), float("inf")
# What a column of each kind expects, for error messages.
EXPECTED = {
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2024-01-31 or 2024-01-31 23:59",
    "time": "a time such as 23:59 or 23:59:59",
    "duration": "a duration such as 1 days 02:03:04",
}
# The name of the category of missing values.
MISSING = "\0missing"
# Text that means a missing value in any column but one of text.
MISSING_TEXT = frozenset(["", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?"])
# True is 1 in Python, and so it is in text.
_BOOLEANS = {"true": 1, "false": 0}
# From this size on integers are named by their float, so that 10**30 and 1e30 have one name.
MAX_EXACT = 2**64


class CellError(ValueError):
    """A value that cannot be read as the kind of its column, `row` rows after the first of the table."""

    column: int | None = None  # the index of the column; set by `at`

    def __init__(self, expected: str, value: object, row: int = 0) -> None:
        self.expected, self.value, self.row = expected, value, row
        got = repr(value)
        super().__init__(f"expected {expected}, got {got if len(got) <= 80 else got[:77] + '...'}")

    def at(self, column: int, names: Sequence[str] | None, *, one_row: bool = False) -> CellError:
        """The same error, with the column and, unless there is only one, the row in its message."""
        error = type(self)(self.expected, self.value, self.row)
        error.column = column
        name = column if names is None else repr(names[column])
        error.args = (f"column {name}: {self}" + ("" if one_row else f" in row {self.row}"),)
        return error

    def in_row(self, row: int, names: Sequence[str] | None) -> CellError:
        """The same error, made by `at`, with another number of the row."""
        assert self.column is not None
        return type(self)(self.expected, self.value, row).at(self.column, names)


class CellTypeError(CellError, TypeError):
    """A value that no kind of column can hold."""


def is_cell(value: object) -> bool:
    """Whether a column can hold `value`: not a list, a dict, an array, a complex number or the like."""
    if isinstance(value, (str, bytes)):
        return True
    if isinstance(value, complex) or type(value).__name__.startswith("complex"):
        return False
    return not hasattr(value, "__len__") or getattr(value, "shape", None) == ()


def _plain(value: Any) -> Any:
    """`value`, or the Python value of a NumPy scalar. CellTypeError if no column can hold it."""
    if not is_cell(value):
        raise CellTypeError("a number, text, a date or a missing value", value)
    if not (hasattr(value, "dtype") and hasattr(value, "item")):
        return value
    # NumPy's times of nanoseconds would become integers.
    return value.astype(f"{value.dtype.kind}8[us]").item() if value.dtype.kind in "mM" else value.item()


def _number_in(text: str) -> float:
    """The number that `text` spells; NaN if it stands for a missing value."""
    text = text.strip()
    if text in MISSING_TEXT:
        return NAN
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    # float() also takes "1_000", "inf" and digits of other scripts.
    if text.isascii() and "_" not in text and text[-1] in "0123456789.":
        for read in (int, float):
            try:
                return read(text)
            except ValueError:
                pass
    raise CellError(EXPECTED["number"], text)


def read_number(value: Any) -> float:
    """The number that `value` means, an int if it is exact; NaN if it is missing. CellError if it is none."""
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, str):
        return _number_in(value)
    value = _plain(value)
    if isinstance(value, (int, float)):
        return value + 0
    if is_missing(value):
        return NAN
    from decimal import Decimal
    from numbers import Real

    if not isinstance(value, (Real, Decimal)):
        raise CellError(EXPECTED["number"], value)
    number = float(value)
    return int(math.trunc(value)) if number.is_integer() else number  # noqa: RUF046  # for mypy


def read_boolean(value: Any) -> float:
    """1 for true, 0 for false, NaN for a missing value. CellError if `value` is none of them."""
    try:
        number = read_number(value)
    except CellTypeError:
        raise
    except CellError:
        number = -1
    if number in (0, 1) or number != number:
        return float(number)
    raise CellError(EXPECTED["boolean"], value)


def _reader(kind: str, seconds: Callable[[Any], float | None]) -> Callable[[Any], float]:
    """The reader of a kind of times."""

    def read(value: Any) -> float:
        value = _plain(value)
        if is_missing(value) or (isinstance(value, str) and value.strip() in MISSING_TEXT):
            return NAN
        found = seconds(value)
        if found is None:
            raise CellError(EXPECTED[kind], value)
        return found

    return read


# Each returns a number, NaN for a missing value, and raises CellError.
READERS: dict[str, Callable[[Any], float]] = {
    "number": read_number,
    "boolean": read_boolean,
    "date": _reader("date", date_seconds),
    "time": _reader("time", time_seconds),
    "duration": _reader("duration", duration_seconds),
}
# The kinds whose values are not numbers to their libraries.
TIMES = ("date", "time", "duration")


def number_of(value: Any, kind: str) -> float:
    """`value` as a finite float or NaN, in a column of a kind that has a reader.

    CellError if the reader raises it, or the number is infinite as a float.
    """
    try:
        number = float(READERS[kind](value))
    except OverflowError:
        raise CellError("a finite number", value) from None
    if number in (INFINITY, -INFINITY):
        raise CellError("a finite number", value)
    return number


def numbers_of(row: Sequence[Any], kinds: Mapping[int, str], names: Sequence[str] | None) -> list[Any]:
    """A row with the values of the columns in `kinds`, by their index, as floats.

    Raises
    ------
    CellError
        If a value is not of the kind of its column; the message has the name of the column.
    """
    numbers, column = list(row), 0
    try:
        for column, kind in kinds.items():
            numbers[column] = number_of(numbers[column], kind)
    except CellError as error:
        raise error.at(column, names, one_row=True) from None
    return numbers


def _number_name(number: float) -> str:
    """The same name for the same number, whatever its type: 3 for 3.0."""
    if abs(number) < MAX_EXACT and number == int(number):
        return str(int(number))
    return repr(float(number))


def _text(value: Any) -> str:
    """The text of a value; empty for a missing one."""
    if isinstance(value, str):
        return str(value)
    value = _plain(value)
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    from decimal import Decimal
    from numbers import Real

    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        return str(value)
    return _number_name(read_number(value))


def category_name(value: Any, kind: str) -> str:
    """The name of the category of `value` in a column of a kind; MISSING for missing values.

    A value that is not of that kind is named by its text. CellTypeError for a value that no column can hold.
    """
    if kind != "text":
        try:
            number = READERS[kind](value)
        except CellTypeError:
            raise
        except CellError:
            pass
        else:
            if number != number:
                return MISSING
            if kind == "boolean":
                return ("False", "True")[int(number)]
            return text_of(number, kind) if kind in TIMES else _number_name(number)
    return _text(value) or MISSING


def infer_kind(values: Iterable[Any], *, category: bool) -> str:
    """The kind of a column with these values, each of which is enough once.

    Text is of another kind if all values read as that kind. Text of numbers is "number" in a column of
    categories, if it spells them as they print, with or without ".0": "007", "+7" and "1.10" are text, and so
    is "7" beside "7.0".
    """
    known = [value for value in values if not (is_missing(value) or (type(value) is str and not value))]
    types = {kind.__name__ for kind in map(type, known)}
    if types and types <= {"bool", "bool_"}:
        return "boolean"
    if types and all(isinstance(value, str) for value in known):
        return _kind_of_text({text for text in known if text.strip() not in MISSING_TEXT}, category)
    if any(isinstance(value, str) for value in known):
        return "text"
    return next((kind for kind in ("number", *TIMES) if _all_read(known, kind)), "text")


def _all_read(values: Iterable[Any], kind: str) -> bool:
    try:
        for value in values:
            READERS[kind](value)
    except CellError:
        return False
    return True


def _kind_of_text(texts: set[str], category: bool) -> str:
    if texts and {text.strip().lower() for text in texts} <= _BOOLEANS.keys():
        return "boolean"
    if not texts:
        return "text"
    for kind in TIMES:
        if (kind == "date" and dates_in(list(texts)) is not None) or _all_read(texts, kind):
            return kind
    names = {_printed(text) for text in texts} if category else {None}
    return "number" if None not in names and len(names) == len(texts) else "text"


def _printed(text: str) -> str | None:
    """The name of the number that `text` spells as it prints, or else None."""
    try:
        name = _number_name(_number_in(text))
    except CellError:
        return None
    return name if text in (name, name + ".0") else None
