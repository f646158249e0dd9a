"""The section about the held-out rows of which the model is least sure."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tinyrs.cli.column_types import ColumnSummary
from tinyrs.cli.report.elements import card, cell, head, row, table
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.report.names import abbreviated, elided, elided_names
from tinyrs.cli.training_results import TrainingResults
from tinyrs.tuning.scores import predicted_classes

LISTED = 12
# How many columns of the table are shown.
MAX_COLUMNS = 6
# The longest heading, class, value and file name, in characters.
HEADING, NAME, VALUE, FILE = 24, 22, 24, 40
# The largest side of an image, in pixels.
THUMBNAIL = 72


def least_confident(results: TrainingResults, column_order: Sequence[int]) -> Markup:
    """The rows with the smallest margin between the first and the second guess.

    `column_order` has the indices of the columns, those to show first.
    """
    title = "Least confident predictions"
    text = (
        f"The held-out rows {_closest(results)}: the first guess has \u2713 if it is right, and \u2717 if it "
        "is wrong. Look for unusual rows and wrong labels."
    )
    heads = [head(name, is_text=True) for name in ("actual", "1st guess", "2nd guess")]
    columns = [results.columns[i] for i in column_order[:MAX_COLUMNS]]
    if columns:
        shown = elided_names([column.name for column in columns], HEADING)
        heads = [head("row"), *heads] + [
            head(abbreviated(column.name, short), is_text=_is_text(column))
            for column, short in zip(columns, shown, strict=True)
        ]
        if len(columns) < len(column_order):
            text += f" Of the {len(column_order):,} columns, the {len(columns)} most important are shown."
    else:
        heads = [head("image", is_text=True), *heads, head("file", is_text=True)]
    classes = _class_names(results.metrics.classes)
    rows = [row(*_row(results, i, columns, classes)) for i in results.least_confident(LISTED).tolist()]
    return card(title, text, table(title, [row(*heads)], rows, "full"))


def _closest(results: TrainingResults) -> str:
    if results.threshold is None:
        return "whose two most probable classes are closest"
    return f"whose probability of {results.metrics.classes[1]} is closest to {results.threshold:.4g}"


def _is_text(column: ColumnSummary) -> bool:
    return column.kind != "numbers"


def _class_names(classes: Sequence[str]) -> list[Markup | str]:
    shown = elided_names(classes, NAME)
    return [abbreviated(*pair) for pair in zip(classes, shown, strict=True)]


def _row(
    results: TrainingResults, index: int, columns: Sequence[ColumnSummary], classes: Sequence[Markup | str]
) -> list[Markup]:
    raw, p, actual = results.rows.raw, results.probabilities[index], int(results.rows.y[index])
    first = int(predicted_classes(p[np.newaxis], results.threshold)[0])
    second = int(np.argmax(np.where(np.arange(len(p)) == first, -1, p)))
    right = first == actual
    verdict = ("\u2713", "right") if right else ("\u2717", "wrong")
    guesses = [
        tag("td", classes[actual], class_="text guess"),
        tag(
            "td",
            tag("span", verdict[0], title=verdict[1], class_="verdict"),
            *_guess(classes[first], float(p[first])),
            class_="text guess" if right else "text guess wrong",
        ),
        tag("td", *_guess(classes[second], float(p[second])), class_="text guess"),
    ]
    if not isinstance(raw, pa.Table):
        return [cell(_thumbnail(raw[index])), *guesses, cell(_shortened(str(raw[index]), FILE), is_text=True)]
    values = [_value(raw[column.name][index].as_py(), is_text=_is_text(column)) for column in columns]
    return [cell(f"{results.rows.numbers[index]}"), *guesses, *values]


def _guess(name: Markup | str, probability: float) -> list[object]:
    return [" ", name, " ", tag("span", f"{probability:.1%}", class_="share")]


def _shortened(text: str, length: int) -> Markup | str:
    return abbreviated(text, elided(text, length))


def _value(value: object, *, is_text: bool) -> Markup:
    if value in (None, "") or (isinstance(value, float) and np.isnan(value)):
        return tag("td", "\u2013", title="missing", class_="text" if is_text else None)
    shown = value if isinstance(value, float) else _shortened(str(value), VALUE)
    return cell(shown, is_text=is_text)


def _thumbnail(file: Path) -> Markup:
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    source = f"data:image/png;base64,{data}"
    return tag("img", src=source, alt=file.name, width=small.width, height=small.height)
