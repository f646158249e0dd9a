"""What a stream of tables tells about its columns in one pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor
from tinyrs.tabular.preprocessor_fit import category_column, fit_table, number_column
from tinyrs.tabular.statistics import TrainingStatistics
from tinyrs.tabular.tables import Column, NumberCells, Numbers, Table
from tinyrs.tabular.values import MISSING, category_name

# The distinct values that are counted for a column of categories.
MAX_COUNTED = 1 << 16


class FrequentValues:
    """Counts of the most frequent values of a stream, of which at most `size` are kept.

    A count is too low by at most n / (size + 1) after n values, so every value more frequent than that is
    kept (Misra and Gries 1982; merged as in Agarwal et al. 2012). Counts of up to `size` distinct values are
    exact.
    """

    def __init__(self, size: int = MAX_COUNTED) -> None:
        self._size = size
        self.counts: dict[Hashable, int] = {}

    def add(self, column: Column) -> None:
        """Counts the values of a column."""
        values, inverse = column.distinct()
        counts = self.counts
        for value, count in zip(values, np.bincount(inverse, minlength=len(values)).tolist(), strict=True):
            # 1, 1.0 and True are equal, but different categories; NaN is not equal to itself.
            key = None if value != value else (type(value), value)
            counts[key] = counts.get(key, 0) + count
        if len(counts) > self._size:
            floor = sorted(counts.values(), reverse=True)[self._size]
            self.counts = {key: count - floor for key, count in counts.items() if count > floor}

    def names(self, kind: str) -> dict[str, int]:
        """The counts by the names of the categories in a column of this kind."""
        named: dict[str, int] = {}
        for key, count in self.counts.items():
            name = category_name(None if key is None else key[1], kind)  # type: ignore[index]  # a pair
            named[name] = named.get(name, 0) + count
        return named


@dataclass
class _Numbers:
    """The missing values and the range of a column of numbers."""

    missing: int = 0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: Numbers) -> None:
        missing = int(np.isnan(values).sum())
        self.missing += missing
        if missing < len(values):
            self.low = min(self.low, float(np.nanmin(values)))
            self.high = max(self.high, float(np.nanmax(values)))


class StreamedStatistics:
    """The missing values, ranges and categories of the columns of a stream of tables.

    Parameters
    ----------
    categorical : sequence of int
        The columns of numbers to encode as categories.
    """

    def __init__(self, categorical: Sequence[int]) -> None:
        self._categorical = frozenset(categorical)
        self._numbers: dict[int, _Numbers] = {}
        self._values: dict[int, FrequentValues] = {}
        self.n_rows = 0

    def add(self, table: Table) -> None:
        """Takes note of the rows of a table."""
        self.n_rows += table.n_rows
        for index, column in enumerate(table.columns):
            if isinstance(column, NumberCells) and index not in self._categorical:
                self._numbers.setdefault(index, _Numbers()).add(table.numbers(index, column.kind))
            else:
                self._values.setdefault(index, FrequentValues()).add(column)

    def preprocessor(self, sample: Table, weights: Numbers | None = None) -> Preprocessor:
        """How the columns are encoded: kinds and quartiles from a sample of the rows, the rest exactly.

        `weights` are those of the sample (rows,), for the quartiles.
        """
        fitted = fit_table(sample, sorted(self._categorical), weights)
        assert fitted.statistics is not None
        share = self.n_rows / max(sample.n_rows, 1)
        missing = [round(count * share) for count in fitted.statistics.missing]
        quartiles = list(fitted.statistics.quartiles)
        numbers = list[NumberColumn]()
        for number in fitted.numbers:
            seen, summary = self._numbers.get(number.column), None
            if seen is None or number.column >= fitted.n_columns:  # numbers in text; parts of dates
                numbers.append(number)
                continue
            missing[number.column] = seen.missing
            if seen.low <= seen.high:
                middle = quartiles[number.column] or (seen.low, seen.low, seen.low, seen.low, seen.high)
                summary = (seen.low, *middle[1:4], seen.high)
            quartiles[number.column] = summary
            numbers.append(number_column(number.column, summary, seen.missing > 0, number.kind))
        categories, counts = list[CategoryColumn](), list[tuple[int, ...]]()
        for category in fitted.categories:
            named = self._values[category.column].names(category.kind)
            missing[category.column] = named.get(MISSING, 0)
            categories.append(category_column(category.column, named, category.kind))
            counts.append(tuple(named[name] for name in categories[-1].names))
        statistics = TrainingStatistics(self.n_rows, tuple(missing), tuple(quartiles), tuple(counts))
        return Preprocessor(fitted.n_columns, tuple(numbers), tuple(categories), fitted.parts, statistics)
