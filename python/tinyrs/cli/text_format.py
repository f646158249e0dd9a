"""How a text file spells a table: delimiter, encoding, header, numbers and missing values."""

from __future__ import annotations

import argparse
import codecs
import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tinyrs.cli.arguments import Parser, one_byte_character
from tinyrs.cli.column_types import (
    MIN_NUMBER_SHARE,
    MISSING_NUMBERS,
    NUMBER_PATTERN,
    ColumnLocation,
    combined,
    first_true,
    is_text,
    missing_option,
)
from tinyrs.cli.errors import CliError

# Tried in this order; of those that split the first lines into most columns, the first is taken.
DELIMITERS = ",;\t|"
LINES_TRIED = 20
SPACES = " \u00a0\u202f"
UNITS = "%$€£¥"


@dataclass(frozen=True)
class TextFormat:
    """How text files are read. `train` keeps what differs from the defaults in the model file."""

    delimiter: str | None = None  # None: detected
    encoding: str | None = None  # None: detected
    header: bool = True
    decimal: str = "."
    thousands: str = ""
    strip: str = ""  # characters to remove from numbers
    missing: tuple[str, ...] = ()  # text that means a missing value, in addition to the empty text

    @classmethod
    def of(cls, options: argparse.Namespace, record: Mapping[str, Any] | None = None) -> TextFormat:
        """The format of the options; for options that were not given, that of a model's training record.

        Raises
        ------
        CliError
            If the decimal mark and the thousands separator are the same, or the record is invalid.
        """
        try:
            kept = {key: TYPES[key](value) for key, value in ((record or {}).get("csv") or {}).items()}
        except (KeyError, TypeError, AttributeError, ValueError, argparse.ArgumentTypeError):
            raise CliError(f"{options.model}: the model file describes CSV files in an unknown way") from None
        given = {field.name: getattr(options, field.name) for field in fields(cls)}
        found = cls(**kept | {name: value for name, value in given.items() if value is not None})
        if found.decimal == found.thousands:
            raise CliError(f"--decimal and --thousands: expected two characters, got {found.decimal!r} twice")
        return found

    def as_json(self) -> dict[str, Any]:
        """What differs from the defaults; a comma is the default delimiter."""
        found = asdict(replace(self, delimiter=None if self.delimiter == "," else self.delimiter))
        return {name: value for name, value in found.items() if value != getattr(DEFAULT, name)}

    def with_delimiter_of(self, head: str, name: str) -> TextFormat:
        """This format with the delimiter of the text `head`, if there is none yet."""
        if self.delimiter is not None:
            return self
        if re.search(r"\.tsv(\.\w+)?$", name.lower()):
            return replace(self, delimiter="\t")
        return replace(self, delimiter=max(DELIMITERS, key=lambda d: _columns(head, d)))

    def without_missing(self, column: pa.Array) -> pa.Array:
        """A column with null for text that means a missing value."""
        if not self.missing or not is_text(column.type):
            return column
        missing = pc.is_in(pc.utf8_trim_whitespace(column), value_set=pa.array(self.missing, column.type))
        return pc.if_else(missing, pa.scalar(None, column.type), column)

    def without_missing_in(self, rows: pa.Table) -> pa.Table:
        return pa.table(
            {name: self.without_missing(combined(rows[name])) for name in rows.column_names},
        )

    def plain_numbers(self, column: pa.Array, location: ColumnLocation) -> pa.Array:
        """A column of numbers with "1.234,5 €" as "1234.5"; other text stays as it is.

        CliError for a number like 1.234 if the decimal mark is another one and nothing says what the dot is.
        """
        if self._plain or not is_text(column.type):
            return column
        trimmed = self._trimmed(column)
        numbers = pc.match_substring_regex(trimmed, self._number)
        plain = pc.replace_substring_regex(trimmed, _set(self.thousands), "") if self.thousands else trimmed
        plain = pc.replace_substring(plain, self.decimal, ".")
        other = pc.and_(pc.match_substring_regex(trimmed, NUMBER_PATTERN), pc.invert(numbers))
        if pc.any(other).as_py():
            row = first_true(other)
            mark = f"--decimal {self.decimal!r}"
            hint = "" if self.thousands else "; if it separates thousands: --thousands '.'"
            raise location.value_error(row, f"a number with {mark}{hint}", column[row].as_py())
        return pc.if_else(numbers, plain, column)

    def in_training(self, table: pa.Table, file: str, first_row: int, categorical: Iterable[str]) -> pa.Table:
        """The columns of a training table, plain numbers in those that hold numbers in this format."""
        columns = {name: combined(table[name]) for name in table.column_names}
        for name, column in columns.items():
            if not self._plain and name not in categorical and is_text(column.type):
                values = _known(self._trimmed(column))
                share = pc.mean(pc.match_substring_regex(values, f"{self._number}|{NUMBER_PATTERN}")).as_py()
                if share is not None and share >= MIN_NUMBER_SHARE:
                    columns[name] = self.plain_numbers(column, ColumnLocation(file, name, first_row))
        return pa.table(columns)

    def hint(self, column: pa.Array) -> str:
        """The option with which a column of text would be one of numbers; empty if there is none."""
        values = _known(pc.utf8_trim_whitespace(combined(column)))
        for text, form in (
            ("numbers with a decimal comma: --decimal ,", replace(DEFAULT, decimal=",")),
            ("numbers with commas between thousands: --thousands ,", replace(DEFAULT, thousands=",")),
            (
                "numbers with a decimal comma and dots between thousands: --decimal , --thousands .",
                replace(DEFAULT, decimal=",", thousands="."),
            ),
            (f"numbers with a unit: --strip '{UNITS}'", replace(DEFAULT, strip=UNITS)),
            (
                f"numbers with a unit and commas between thousands: --strip '{UNITS}' --thousands ,",
                replace(DEFAULT, strip=UNITS, thousands=","),
            ),
            (
                f"numbers with a unit and a decimal comma: --strip '{UNITS}' --decimal , --thousands .",
                replace(DEFAULT, strip=UNITS, decimal=",", thousands="."),
            ),
        ):
            if pc.all(pc.match_substring_regex(form._trimmed(values), form._number)).as_py() and len(values):
                return text
        return _hint_about_missing(values)

    @property
    def _plain(self) -> bool:
        """Whether numbers are spelled as everywhere else."""
        return (self.decimal, self.thousands, self.strip) == (".", "", "")

    @cached_property
    def _number(self) -> str:
        """The pattern of a number without its unit."""
        decimal, digits = re.escape(self.decimal), r"\d+"
        if self.thousands:
            digits = rf"(\d+|\d{{1,3}}({_set(self.thousands)}\d{{3}})+)"
        return rf"^[+-]?({digits}({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?$"

    def _trimmed(self, column: pa.Array) -> pa.Array:
        """Text without surrounding spaces, and without the characters to strip."""
        if self.strip:
            column = pc.replace_substring_regex(column, _set(self.strip), "")
        return pc.utf8_trim(column, SPACES + "\t")


DEFAULT = TextFormat()


def _columns(head: str, delimiter: str) -> tuple[int, int]:
    """The number of columns of the first rows, 1 if it varies; and of the first row."""
    try:
        rows = list(filter(None, csv.reader(head.splitlines()[:LINES_TRIED], delimiter=delimiter)))
    except csv.Error:
        rows = []
    # The last one may be cut.
    counts = [len(row) for row in (rows[:-1] if len(rows) > 2 else rows)] or [1]
    return counts[0] if len(set(counts)) == 1 else 1, counts[0]


def _known(column: pa.Array) -> pa.Array:
    """The values that are not missing."""
    return column.filter(
        pc.invert(pc.fill_null(pc.is_in(column, value_set=MISSING_NUMBERS), True))
    ).drop_null()


def _set(characters: str) -> str:
    """The regular expression of one of these characters; a space is also one that does not break."""
    if " " in characters:
        characters += SPACES
    return "[" + re.sub(r"([\\\]^-])", r"\\\1", characters) + "]"


def _hint_about_missing(values: pa.Array) -> str:
    """A hint if all values are numbers except for one text that occurs often."""
    others = pc.value_counts(values.filter(pc.invert(pc.match_substring_regex(values, NUMBER_PATTERN))))
    if len(others) != 1 or 2 * others[0]["counts"].as_py() > len(values):
        return ""
    text, rows = others[0]["values"].as_py(), others[0]["counts"].as_py()
    return f"numbers except '{text}' in {rows:,} row{'s' if rows > 1 else ''}: {missing_option(text)}"


# The options.


def add_text_options(parser: Parser, *, kept: bool = False) -> None:
    """The options for CSV files; `kept` if the defaults are those of training."""
    default = "as in training; " if kept else ""
    group = parser.add_argument_group("CSV files" + (" (by default read as in training)" if kept else ""))
    group.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        type=one_byte_character,
        help=f"column separator; `tab` is accepted (default: {default}detected among , ; tab and |)",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        type=encoding_name,
        help=f"such as utf-16 or cp1252 (default: {default}detected)",
    )
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first row holds the column names; without, columns are x0, x1, ...",
    )
    group.add_argument(
        "--decimal", metavar="MARK", type=decimal_mark, help="decimal mark of numbers, . or , (default: .)"
    )
    group.add_argument(
        "--thousands",
        metavar="MARK",
        type=thousands_mark,
        help="character between groups of three digits, such as , or ' (default: none)",
    )
    group.add_argument(
        "--strip",
        metavar="CHARACTERS",
        type=stripped_characters,
        help="remove these from numbers, such as '$%%'",
    )
    group.add_argument(
        "--missing",
        metavar="TEXT,...",
        type=missing_texts,
        help="text that means a missing value, such as 'NA,?,-'; empty text always does",
    )


def encoding_name(text: str) -> str:
    """The type of an option: the name of a text encoding that Python knows."""
    try:
        "".encode(text)
        return codecs.lookup(text).name
    except (LookupError, ValueError, UnicodeError):
        raise argparse.ArgumentTypeError(
            f"expected an encoding such as utf-16 or cp1252, got {text!r}"
        ) from None


def decimal_mark(text: str) -> str:
    """The type of an option: . or ,"""
    if text not in (".", ","):
        raise argparse.ArgumentTypeError(f"expected . or , got {text!r}")
    return text


def thousands_mark(text: str) -> str:
    """The type of an option: one character that is not part of a number, or none."""
    if len(text) > 1 or re.fullmatch(r"[\w+-]", text):
        raise argparse.ArgumentTypeError(f"expected one character such as , or ' got {text!r}")
    return text


def stripped_characters(text: str) -> str:
    """The type of an option: characters that are not part of a number."""
    if re.search(r"[\d.,+-]", text):
        raise argparse.ArgumentTypeError(f"expected characters that are not part of a number, got {text!r}")
    return text


def missing_texts(text: str | Iterable[str]) -> tuple[str, ...]:
    """The type of an option: texts, separated by commas."""
    texts = text.split(",") if isinstance(text, str) else text
    return tuple(dict.fromkeys(filter(None, (name.strip() for name in texts))))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


TYPES: dict[str, Any] = {
    "delimiter": one_byte_character,
    "encoding": encoding_name,
    "header": _boolean,
    "decimal": decimal_mark,
    "thousands": thousands_mark,
    "strip": stripped_characters,
    "missing": missing_texts,
}
