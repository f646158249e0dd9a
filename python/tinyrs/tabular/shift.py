"""Warns of columns unlike those of the training rows: unseen categories, missing values, far numbers.

A number is far outside the range of training if it lies more than the width of the range below its minimum or
above its maximum. How many of a column's values that holds for is compared with what fresh rows like those of
training would have: `ColumnCheck`, in Rust, says what is clearly more.
"""

from __future__ import annotations

import math

from tinyrs._tinyrs import ColumnCheck
from tinyrs.tabular.times import text_of
from tinyrs.tabular.values import MISSING, TIMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor

    Finding = tuple[int, int, int]
    # The arguments of `ColumnCheck` for a column.
    Usual = tuple[int, float, float, float, float, float]

NAN, INFINITY = float("nan"), float("inf")
# The share of unseen values to expect if the model file does not say how many rows there were in training.
UNKNOWN_SHARE = 0.01
FEW_COLUMNS = 10
# If more columns than this have findings, the rest is one message.
MAX_COLUMNS_SHOWN = 10


class DataShiftWarning(UserWarning):
    """A column has clearly more unseen categories, missing values or far numbers than in training."""


def expected_share(count: int | None, preprocessor: Preprocessor) -> float:
    """The largest plausible share of values of which there were `count` in the training rows."""
    if count is None or preprocessor.statistics is None:
        return UNKNOWN_SHARE
    # The more columns there are, the rarer the events are that happen in one of them by chance.
    least = max(1.0, preprocessor.n_columns / FEW_COLUMNS)
    return min(1.0, (count + 2 * math.sqrt(count) + least) / (preprocessor.statistics.n_rows + 1))


class ShiftCheck:
    """Compares the columns of encoded rows with those of training.

    Parameters
    ----------
    preprocessor : Preprocessor
    names : sequence of str or None
        The names of the columns of the table.

    Attributes
    ----------
    columns : ColumnCheck
        Counts the values, and warns when it is passed to `FeatureEncoder.forward`.
    """

    def __init__(self, preprocessor: Preprocessor, names: Sequence[str] | None) -> None:
        # Not the preprocessor, which has a reference to this object.
        self.report = _Report(preprocessor, names)
        usual = [
            *(_usual_numbers(number, preprocessor) for number in preprocessor.numbers),
            *(_usual_categories(index, preprocessor) for index in range(len(preprocessor.categories))),
        ]
        checked = sorted(column for column in usual if column is not None)
        self.columns = ColumnCheck(preprocessor.n_encoded, checked, self.report)

    def warn_of(self, encoded: Any) -> None:
        """Warns of the columns of encoded rows (rows, columns) that are unlike those of training."""
        counter = ShiftCounter(self)
        counter.add(encoded, len(encoded))
        for message in counter.messages():
            warn(message)


def shift_check(preprocessor: Preprocessor, names: tuple[str, ...] | None) -> ShiftCheck:
    """The `ShiftCheck` with these arguments, made once."""
    check = preprocessor.shift_checks.get(names)
    if check is None:
        check = preprocessor.shift_checks[names] = ShiftCheck(preprocessor, names)
    return check


class ShiftCounter:
    """Counts the values of several blocks of encoded rows, which threads may add at the same time."""

    def __init__(self, check: ShiftCheck) -> None:
        from threading import Lock

        self._check, self._lock = check, Lock()
        self.rows = 0
        # For each column, how many values are missing, and how many are unusual.
        self._counts: list[tuple[int, int]] = []

    def add(self, encoded: Any, rows: int) -> None:
        """Counts the values of `rows` encoded rows, an array (rows, columns) or a tuple of columns."""
        counts = self._check.columns.count(encoded)
        with self._lock:
            before = self._counts or [(0, 0)] * len(counts)
            self._counts = [(a + m, b + u) for (a, b), (m, u) in zip(before, counts, strict=True)]
            self.rows += rows

    def messages(self) -> list[str]:
        """One line for each column of all rows that is unlike that of training, up to a limit."""
        return self._check.report.messages(self._findings(), self.rows)

    def messages_of_columns(self) -> dict[int, str]:
        """The message about each column that is unlike that of training, by its index."""
        return {f[0]: self._check.report.message(f, self.rows) for f in self._findings()}

    def _findings(self) -> list[Finding]:
        return self._check.columns.find(self._counts, self.rows) if self.rows else []


def _usual_numbers(number: NumberColumn, preprocessor: Preprocessor) -> Usual | None:
    """What `ColumnCheck` compares a column of numbers with; None for one that the model does not use."""
    column, statistics = number.column, preprocessor.statistics
    if column >= preprocessor.n_columns or not (number.scale > 0 or number.missing_indicator):
        return None
    low, high, missing = -INFINITY, INFINITY, None
    if statistics is not None:
        missing = statistics.missing[column]
        quartiles = statistics.quartiles[column]
        if quartiles is not None and number.scale > 0:
            low, high = far_limits(quartiles)
    unknown = missing is None and number.missing_indicator
    expected = 1.0 if unknown else expected_share(missing, preprocessor)
    # For any distribution, a fresh value is above the maximum of n others with probability 1 / (n + 1).
    return column, low, high, NAN, expected, expected_share(0, preprocessor)


def far_limits(quartiles: Sequence[float]) -> tuple[float, float]:
    """The numbers beyond which others are far outside the range of training."""
    low, high = quartiles[0], quartiles[-1]
    width = high - low
    return low - width, high + width


def _usual_categories(index: int, preprocessor: Preprocessor) -> Usual | None:
    """What `ColumnCheck` compares a column of categories with; None for one that the model does not use."""
    category, statistics = preprocessor.categories[index], preprocessor.statistics
    if not category.n_codes:
        return None
    has_missing = MISSING in category.names
    unseen = missing = None
    if statistics is not None:
        missing = statistics.missing[category.column]
        unseen = unseen_count(category, statistics.counts[index], statistics.n_rows)
    of_missing = 1.0 if missing is None and has_missing else expected_share(missing, preprocessor)
    of_unseen = 1.0 if unseen is None and category.buckets else expected_share(unseen, preprocessor)
    code = float(category.names.index(MISSING)) if has_missing else NAN
    return category.column, 0.0, len(category.names) - 1.0, code, of_missing, of_unseen


def unseen_count(category: CategoryColumn, counts: Sequence[int], n_rows: int) -> int:
    """The expected number of `n_rows` new rows whose category has no code, estimated from the training rows.

    Those of training had one, and about as many have an unseen category as were alone in training with theirs
    (Good and Turing).
    """
    without_code = n_rows - sum(counts) if category.buckets else 0
    return without_code + sum(count == 1 for count in counts)


class _Report:
    """The messages about findings; when called, they become warnings."""

    def __init__(self, preprocessor: Preprocessor, names: Sequence[str] | None) -> None:
        self._names, self._statistics = names, preprocessor.statistics
        self._numbers = {number.column: number for number in preprocessor.numbers}
        self._categories = {category.column: category for category in preprocessor.categories}

    def __call__(self, findings: Sequence[Finding], rows: int) -> None:
        for message in self.messages(findings, rows):
            warn(message)

    def messages(self, findings: Sequence[Finding], rows: int) -> list[str]:
        """One line for each column, up to a limit.

        Of one row, they do not name the value: equal warnings from one line of code are shown once.
        """
        messages = [self.message(finding, rows) for finding in findings[:MAX_COLUMNS_SHOWN]]
        if more := len(findings) - len(messages):
            messages.append(f"{more:,} other columns are unlike those of training too: see Predictor.check")
        return messages

    def message(self, finding: Finding, rows: int) -> str:
        """The line about one column."""
        (column, missing, unusual), parts = finding, []
        if unusual:
            describe = self._unseen if column in self._categories else self._far
            parts.append(describe(column, _values(unusual, rows), one=rows == 1))
        if missing:
            verb = "is" if rows == 1 else "are"
            parts.append(f"{_values(missing, rows)} {verb} missing{self._in_training(column)}")
        return f"column {label(column, self._names)}: {', and '.join(parts)}"

    def _unseen(self, column: int, values: str, *, one: bool) -> str:
        category = self._categories[column]
        if category.buckets:
            verb = "is" if one else "are"
            return f"{values} {verb} not among the {len(category.names)} most frequent of training"
        return f"{values} {'was' if one else 'were'} not seen in training"

    def _far(self, column: int, values: str, *, one: bool) -> str:
        assert self._statistics is not None
        quartiles, kind = self._statistics.quartiles[column], self._numbers[column].kind
        assert quartiles is not None
        low, high = (text_of(x, kind) if kind in TIMES else f"{x:g}" for x in (quartiles[0], quartiles[-1]))
        return f"{values} {'is' if one else 'are'} far outside the range of training ({low} to {high})"

    def _in_training(self, column: int) -> str:
        if self._statistics is None:
            return ""
        share = self._statistics.missing[column] / self._statistics.n_rows
        return f" ({share:.1%} in training)" if share else " (none in training)"


def _values(count: int, rows: int) -> str:
    return "the value" if rows == 1 else f"{count:,} of {rows:,} values"


def label(column: int, names: Sequence[str] | None) -> str:
    """What messages call a column: its name, or else its index."""
    return str(column) if names is None else repr(names[column])


def warn(message: str) -> None:
    """Warns at the line of the first caller outside of this package."""
    import sys
    import warnings

    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tinyrs."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DataShiftWarning, stacklevel=level)
