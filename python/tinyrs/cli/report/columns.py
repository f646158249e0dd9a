"""The section about the columns of the training table: importance, content, missing values and warnings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyrs.cli.column_types import ColumnSummary
from tinyrs.cli.report.elements import card, head, row, table, unfoldable
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.training_results import TrainingResults

# The most important columns are listed, the others can be unfolded, and those beyond are left out.
LISTED, UNFOLDED = 20, 1000
MAX_WARNINGS = 8

Floats = npt.NDArray[np.float64]


def warnings(results: TrainingResults) -> Markup | None:
    """The notes about columns that should perhaps be dropped."""
    notes = [
        tag("li", tag("b", column.name), f": {column.note}") for column in results.columns if column.note
    ]
    if not notes:
        return None
    title = "1 warning" if len(notes) == 1 else f"{len(notes):,} warnings"
    rest = notes[MAX_WARNINGS:]
    more = unfoldable(f"{len(rest):,} more", tag("ul", *rest)) if rest else None
    text = "Columns that may harm the model or do not help it."
    return card(title, text, tag("ul", *notes[:MAX_WARNINGS]), more, class_="wide warning")


def columns(results: TrainingResults, importance: Floats) -> Markup:
    """The columns of the training table, the most important first. `importance` has a value for each."""
    largest = max(float(importance.max(initial=0.0)), 1e-12)
    rows = [
        _column(results.columns[i], float(importance[i]), largest)
        for i in np.argsort(-importance, kind="stable")
    ]
    heads = [
        row(
            head("column", is_text=True),
            head("importance", is_text=True),
            head("content", is_text=True),
            head("missing"),
        )
    ]
    listed, rest = rows[:LISTED], rows[LISTED:UNFOLDED]
    more = f"{len(rest):,} less important columns"
    if len(rows) > UNFOLDED:
        more += f", and {len(rows) - UNFOLDED:,} that are not on this page"
    text = (
        "Importance: the increase of the log loss when the values of the column are shuffled (permutation "
        "importance). Columns that carry the same information can all have a low importance."
    )
    return card(
        "What the model looks at",
        text,
        table("Columns", heads, listed, "full columns"),
        unfoldable(more, table("More columns", heads, rest, "full columns")) if rest else None,
    )


def _column(column: ColumnSummary, importance: float, largest: float) -> Markup:
    width = f"width: {100 * max(importance, 0) / largest:.1f}%"
    bar = tag("div", tag("i", style=width), class_="meter", aria_hidden="true")
    note = tag("small", column.note, class_="note") if column.note else ""
    return row(
        tag("th", column.name, scope="row"),
        tag("td", tag("div", bar, tag("span", f"{importance:.4f}"), class_="measured"), class_="text"),
        tag("td", column.content, note, class_="text"),
        tag("td", f"{column.missing:,}", class_=None if column.missing else "zero"),
    )
