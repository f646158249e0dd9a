"""Learns from the columns of a table how they are encoded: `Preprocessor` (in `preprocessor.py`) applies it.

Numbers that take only a few values are encoded like other numbers. One-hot columns for them, in addition or
instead, raised the mean error on the KEEL sets of benchmarks/accuracy.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from tinyrs.tabular.column_notes import ColumnWarning, column_warnings
from tinyrs.tabular.max_abs_scaler import MaxAbsScaler
from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor
from tinyrs.tabular.statistics import Quartiles, TrainingStatistics
from tinyrs.tabular.tables import Column, Numbers, SparseTable, Table
from tinyrs.tabular.times import calendar
from tinyrs.tabular.values import MISSING, category_name

# The most frequent categories have a code of their own; rarer ones share the buckets by their hash.
MAX_CATEGORIES = 256
BUCKETS = 16


def fit_preprocessor(
    table: Table | SparseTable, categorical: Sequence[int], weights: Numbers | None = None
) -> Preprocessor | MaxAbsScaler:
    """Learns how a table is encoded; a ColumnWarning names columns that are of no use or misleading.

    Parameters
    ----------
    table : Table or SparseTable
    categorical : sequence of int
        The columns of numbers to encode as categories. Columns of text always are.
    weights : array of shape (rows,), optional
        The positive weight of each row, for the quantiles of numbers.

    Raises
    ------
    ValueError
        If there are categorical columns in a sparse table.
    """
    if not isinstance(table, SparseTable):
        preprocessor = fit_table(table, categorical, weights)
        for message in column_warnings(table, preprocessor):
            # At the caller of `fit`, behind the wrappers of scikit-learn.
            warnings.warn(message, ColumnWarning, stacklevel=5)
        return preprocessor
    if categorical:
        raise ValueError("categorical_features: expected none for a sparse matrix, whose zeros are numbers")
    return MaxAbsScaler.fit(table)


def fit_table(table: Table, categorical: Sequence[int] = (), weights: Numbers | None = None) -> Preprocessor:
    """`fit_preprocessor` for a dense table."""
    categories = {i for i, column in enumerate(table.columns) if column.is_category} | set(categorical)
    fitted, parts = list[NumberColumn](), list[tuple[int, str]]()
    part_columns = list[NumberColumn]()
    missing, summaries, counts = list[int](), list[Quartiles | None](), list[dict[str, int]]()
    for column, cells in enumerate(table.columns):
        if column in categories:
            counts.append(category_counts(cells))
            missing.append(counts[-1].get(MISSING, 0))
            summaries.append(None)
            continue
        numbers = table.numbers(column, cells.kind)
        missing.append(int(np.isnan(numbers).sum()))
        summaries.append(summarize(numbers, weights))
        fitted.append(number_column(column, summaries[-1], missing[-1] > 0, cells.kind))
        for part, values in calendar(numbers).items() if cells.kind == "date" else ():
            if len(np.unique(values[~np.isnan(values)])) > 1:
                # The date itself says that it is missing.
                index = len(table.columns) + len(parts)
                part_columns.append(number_column(index, summarize(values, weights), False, "number"))
                parts.append((column, part))
    fitted_categories = tuple(
        category_column(column, of_column, table.columns[column].category_kind())
        for column, of_column in zip(sorted(categories), counts, strict=True)
    )
    statistics = TrainingStatistics(
        table.n_rows,
        tuple(missing),
        tuple(summaries),
        tuple(
            tuple(of_column[name] for name in category.names)
            for category, of_column in zip(fitted_categories, counts, strict=True)
        ),
    )
    return Preprocessor(
        len(table.columns), (*fitted, *part_columns), fitted_categories, tuple(parts), statistics
    )


def number_column(column: int, summary: Quartiles | None, missing_indicator: bool, kind: str) -> NumberColumn:
    """Learns centre and scale of the column with index `column`, from minimum, quartiles and maximum.

    The centre is the median. The scale is 1 / (interquartile range) or, if the quartiles are equal,
    2 / (maximum - minimum); it is 0 for a constant column and for a column of missing values only.
    """
    if summary is None:
        return NumberColumn(column, 0.0, 0.0, missing_indicator, kind)
    low, q25, median, q75, high = summary
    with np.errstate(divide="ignore", over="ignore"):
        # Halved before the subtraction: the range of finite numbers may overflow.
        half_iqr, half_range = q75 / 2 - q25 / 2, high / 2 - low / 2
        scale = 0.5 / half_iqr if half_iqr > 0 else 1 / half_range if half_range > 0 else 0.0
    scale = float(scale) if np.isfinite(scale) else 0.0
    return NumberColumn(column, median, scale, missing_indicator, kind)


def summarize(numbers: Numbers, weights: Numbers | None) -> Quartiles | None:
    """The `quantiles` of a column (rows,); None if all its values are missing."""
    return None if np.isnan(numbers).all() else tuple(quantiles(numbers, weights).tolist())


def fit_categories(column: int, cells: Column) -> CategoryColumn:
    """Learns the categories of the column with index `column`, from its cells."""
    return category_column(column, category_counts(cells), cells.category_kind())


def category_column(column: int, counts: Mapping[str, int], kind: str) -> CategoryColumn:
    # By falling frequency, ties by name.
    names = sorted(counts, key=lambda name: (-counts[name], name))
    buckets = BUCKETS if len(names) > MAX_CATEGORIES else 0
    return CategoryColumn(column, tuple(names[:MAX_CATEGORIES]), buckets, kind)


def category_counts(cells: Column) -> dict[str, int]:
    """How many rows have each category, by its name, in the order of their first row."""
    kind, (values, inverse) = cells.category_kind(), cells.distinct()
    counts: dict[str, int] = {}
    for value, count in zip(values, np.bincount(inverse, minlength=len(values)).tolist(), strict=True):
        if count:
            name = category_name(value, kind)
            counts[name] = counts.get(name, 0) + count
    return counts


def quantiles(values: Numbers, weights: Numbers | None) -> Numbers:
    """The minimum, the quartiles and the maximum of `values` (rows,) without its NaNs, as an array (5,).

    Each is one of the values, not an interpolation (NumPy's method "inverted_cdf"). A row of weight 2 counts
    as two rows.
    """
    order = np.argsort(values)
    order = order[: np.count_nonzero(~np.isnan(values))]  # argsort puts NaN last
    cumulative = np.arange(1.0, len(order) + 1) if weights is None else np.cumsum(weights[order])
    # The factor below 1 absorbs the rounding of the sum, which could skip the value at a quantile.
    wanted = np.array([0, 0.25, 0.5, 0.75, 1]) * cumulative[-1] * (1 - 1e-12)
    return np.asarray(values[order[np.searchsorted(cumulative, wanted)]])
