"""`ShiftReport`, what `Predictor.check` returns: how the columns of a table differ from those of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor
from tinyrs.tabular.preprocessor_fit import summarize
from tinyrs.tabular.shift import ShiftCounter, shift_check
from tinyrs.tabular.statistics import Quartiles
from tinyrs.tabular.values import MISSING

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnShift:
    """How a column differs from that of training. None stands for what does not apply or is not known.

    Attributes
    ----------
    column : str or int
        The name of the column, or else its index.
    kind : str
        "category", "number", "boolean", "date", "time" or "duration"; dates and times are in seconds.
    missing, missing_in_training : float or None
        The share of missing values, from 0 to 1.
    unseen : float or None
        The share of values whose category had no code of its own in training.
    out_of_range : float or None
        The share of values below the minimum or above the maximum of training.
    quartiles, quartiles_in_training : tuple of 3 float or None
        The lower quartile, the median and the upper quartile.
    shift : float or None
        The largest difference of a quartile, in interquartile ranges of training.
    warning : str or None
        The warning that `Predictor.predict` gives for this column.
    """

    column: str | int
    kind: str
    missing: float
    missing_in_training: float | None = None
    unseen: float | None = None
    out_of_range: float | None = None
    quartiles: Quartiles | None = None
    quartiles_in_training: Quartiles | None = None
    shift: float | None = None
    warning: str | None = None


@dataclass(frozen=True, repr=False)
class ShiftReport:
    """How the columns of a table differ from those of training.

    Attributes
    ----------
    n_rows : int
    columns : tuple of ColumnShift
    """

    n_rows: int
    columns: tuple[ColumnShift, ...]

    @property
    def warnings(self) -> list[str]:
        """The warnings that `Predictor.predict` gives for the same table, one for each column."""
        return [column.warning for column in self.columns if column.warning is not None]

    def to_dict(self) -> list[dict[str, Any]]:
        """A dict for each column, for `pandas.DataFrame(report.to_dict())` or JSON."""
        return [asdict(column) for column in self.columns]

    def __repr__(self) -> str:
        head = ("column", "kind", "missing", "(training)", "unseen", "out of range", "shift")
        rows = [head] + [
            (
                repr(c.column),
                c.kind,
                *map(_percent, (c.missing, c.missing_in_training, c.unseen, c.out_of_range)),
                "" if c.shift is None else f"{c.shift:.2f}",
            )
            for c in self.columns
        ]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        title = f"{self.n_rows:,} rows, compared with those of training"
        return "\n".join([title, *lines, *(f"warning: {warning}" for warning in self.warnings)])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def report_shift(preprocessor: Preprocessor, names: tuple[str, ...] | None, encoded: Numbers) -> ShiftReport:
    """Compares encoded rows (rows, columns) with those of training."""
    counter = ShiftCounter(shift_check(preprocessor, names))
    counter.add(encoded, len(encoded))
    warnings = counter.messages_of_columns()
    columns = []
    for number in preprocessor.numbers:
        if number.column < preprocessor.n_columns:
            columns.append((number.column, _of_numbers(number, preprocessor, encoded[:, number.column])))
    for category in preprocessor.categories:
        if not category.n_codes:  # it is not read
            continue
        codes = encoded[:, category.column]
        columns.append((category.column, _of_categories(category, preprocessor, codes)))
    return ShiftReport(
        len(encoded),
        tuple(
            ColumnShift(
                **fields, column=column if names is None else names[column], warning=warnings.get(column)
            )
            for column, fields in sorted(columns, key=lambda item: item[0])
        ),
    )


def _of_numbers(number: NumberColumn, preprocessor: Preprocessor, values: Numbers) -> dict[str, Any]:
    """The fields of `ColumnShift` for a column of numbers (rows,)."""
    five, statistics = summarize(values, None), preprocessor.statistics
    fields: dict[str, Any] = {
        "kind": number.kind,
        "missing": _share(np.isnan(values)),
        "quartiles": None if five is None else five[1:4],
    }
    if statistics is None:
        return fields
    fields["missing_in_training"] = statistics.missing[number.column] / statistics.n_rows
    trained = statistics.quartiles[number.column]
    if trained is not None:
        fields["quartiles_in_training"] = trained[1:4]
        fields["out_of_range"] = _share((values < trained[0]) | (values > trained[4]))
        if five is not None:
            fields["shift"] = _quartile_shift(five[1:4], trained)
    return fields


def _quartile_shift(quartiles: Sequence[float], trained: Quartiles) -> float | None:
    """The largest difference of a quartile, in interquartile ranges of training; if that is 0, in ranges."""
    unit = trained[3] - trained[1] or trained[4] - trained[0]
    differences = [abs(new - old) for new, old in zip(quartiles, trained[1:4], strict=True)]
    return max(differences) / unit if unit > 0 else None


def _of_categories(category: CategoryColumn, preprocessor: Preprocessor, codes: Numbers) -> dict[str, Any]:
    """The fields of `ColumnShift` for a column of codes (rows,)."""
    missing, statistics = np.isnan(codes), preprocessor.statistics
    if MISSING in category.names:
        missing |= codes == category.names.index(MISSING)
    fields: dict[str, Any] = {
        "kind": "category",
        "missing": _share(missing),
        "unseen": _share((codes < 0) | (codes >= len(category.names))),
    }
    if statistics is not None:
        fields["missing_in_training"] = statistics.missing[category.column] / statistics.n_rows
    return fields


def _share(mask: npt.NDArray[np.bool_]) -> float:
    return float(mask.mean()) if len(mask) else 0.0
