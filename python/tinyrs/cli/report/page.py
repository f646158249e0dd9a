"""Assembles the report: a section for each aspect of the results."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

import tinyrs
from tinyrs.cli.metrics import CALIBRATION_ERROR, Metrics
from tinyrs.cli.output import open_output
from tinyrs.cli.report import charts
from tinyrs.cli.report.markup import Markup, join, tag
from tinyrs.cli.training_results import TrainingResults

# How many rows, columns and classes the tables show at most.
LEAST_CONFIDENT = 12
MAX_COLUMNS_LISTED = 20
MAX_COLUMNS_OF_ROW = 12
MAX_CLASSES = 20
MAX_ERRORS = 20
# Above this number of classes, the confusion matrix has the full width of the page.
MAX_CLASSES_HALF_WIDTH = 7
# Largest side of an image of a row, in pixels.
THUMBNAIL = 72


def write(path: str, source: str, results: TrainingResults) -> None:
    """Writes the report about a model that was trained on the file or folder `source`."""
    with open_output(path) as file:
        file.write(page(source, results).encode())


def page(source: str, results: TrainingResults) -> Markup:
    subject = f"{results.target} from {source}" if results.target else source
    sections = [
        _headline(subject, results),
        _loss(results),
        _validation_accuracy(results),
        _confusion(results.metrics),
        _calibration(results.metrics),
        _columns(results),
        _least_confident(results),
    ]
    # Even if escaping failed, the browser would neither run scripts nor load anything.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    footer = tag("footer", f"Written by tinyrs {tinyrs.__version__}. This page loads nothing from elsewhere.")
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("title", f"tinyrs: {subject}"),
            tag("style", Markup(files("tinyrs.cli.report").joinpath("report.css").read_text())),
        ),
        tag("body", tag("main", join(*filter(None, sections)), footer)),
        lang="en",
    )
    return Markup("<!DOCTYPE html>\n" + document + "\n")


def _section(title: str, text: str, *content: Markup, wide: bool = False) -> Markup:
    return tag("section", tag("h2", title), tag("p", text), *content, class_="wide" if wide else None)


def _table(head: Markup, body: list[Markup], class_: str | None = None) -> Markup:
    """A table that scrolls sideways if it is too wide."""
    table = tag("table", tag("thead", head), tag("tbody", *body), class_=class_)
    return tag("div", table, class_="scroll")


def _headline(subject: str, results: TrainingResults) -> Markup:
    metrics, network = results.metrics, results.predictor.network
    uniform = np.log(len(metrics.classes))
    epochs = f"in {results.seconds:.1f} s; best epoch: {results.best_epoch + 1}"
    numbers = [
        ("accuracy", f"{metrics.accuracy:.2%}", f"always the most frequent class: {metrics.baseline:.2%}"),
        ("log loss", f"{metrics.log_loss:.4f}", f"uniform probabilities: {uniform:.4f}"),
        ("calibration error", f"{metrics.calibration_error:.4f}", CALIBRATION_ERROR),
        ("epochs", f"{len(results.history):,}", epochs),
        ("network", "-".join(map(str, network.layer_sizes)), f"{network.n_parameters:,} parameters"),
    ]
    cells = [tag("div", name, tag("b", value), tag("span", note)) for name, value, note in numbers]
    measured = f"Measured on {metrics.rows:,} rows that were not used for training ({results.rows_origin})."
    return join(
        tag("header", tag("h1", subject), tag("p", measured)),
        tag("section", tag("div", *cells, class_="metrics"), class_="wide"),
    )


def _loss(results: TrainingResults) -> Markup:
    series = [charts.Series("training loss", "one", results.curve("loss"))]
    if "validation_loss" in results.history[0]:
        series.append(charts.Series("validation loss", "two", results.curve("validation_loss")))
    text = "Lower is better. The training loss includes label smoothing. Dashed line: the best epoch."
    return _section("Loss", text, charts.epoch_lines(series, "loss", results.best_epoch, "Loss by epoch"))


def _validation_accuracy(results: TrainingResults) -> Markup | None:
    if "validation_score" not in results.history[0]:
        return None
    series = [charts.Series("accuracy", "two", results.curve("validation_score"))]
    text = "Accuracy on the validation rows set aside during training, which chose the best epoch."
    chart = charts.epoch_lines(series, "accuracy", results.best_epoch, "Accuracy by epoch", percent=True)
    return _section("Validation accuracy", text, chart)


def _confusion(metrics: Metrics) -> Markup:
    """The confusion matrix, or for many classes the most frequent errors."""
    if len(metrics.classes) > MAX_CLASSES:
        return _most_frequent_errors(metrics)
    shares = metrics.confusion / np.maximum(metrics.confusion.sum(axis=1, keepdims=True), 1)
    body = [
        tag(
            "tr",
            tag("th", name),
            *[_confusion_cell(count, shares[i, j], i == j) for j, count in enumerate(counts)],
            tag("td", "-" if np.isnan(metrics.recall[i]) else f"{metrics.recall[i]:.1%}"),
        )
        for i, (name, counts) in enumerate(zip(metrics.classes, metrics.confusion.tolist(), strict=True))
    ]
    names = [tag("th", name, title=name) for name in metrics.classes]
    table = _table(tag("tr", tag("th"), *names, tag("th", "recall")), body, "confusion")
    text = "Rows: true class. Columns: predicted class. Colour: share of the row."
    return _section("Confusion matrix", text, table, wide=len(metrics.classes) > MAX_CLASSES_HALF_WIDTH)


def _confusion_cell(count: int, share: float, correct: bool) -> Markup:
    colour = "good" if correct else "bad"
    return tag(
        "td",
        f"{count:,}",
        style=f"background: rgb(var(--{colour}) / {0.65 * share:.3f})",
        title=f"{share:.1%}",
    )


def _most_frequent_errors(metrics: Metrics) -> Markup:
    body = [
        tag(
            "tr",
            tag("td", f"{count:,}"),
            tag("td", metrics.classes[true], class_="text"),
            tag("td", metrics.classes[predicted], class_="text"),
        )
        for count, true, predicted in metrics.most_frequent_errors(MAX_ERRORS)
    ]
    head = tag(
        "tr",
        tag("th", "rows"),
        tag("th", "true class", class_="text"),
        tag("th", "predicted class", class_="text"),
    )
    text = f"Shown instead of a confusion matrix, because there are {len(metrics.classes)} classes."
    return _section("Most frequent errors", text, _table(head, body))


def _calibration(metrics: Metrics) -> Markup:
    text = (
        "Accuracy of the rows in each range of predicted probability. Dashed line: perfect calibration: "
        "80 % of the rows predicted with probability 80 % are correct."
    )
    return _section("Calibration", text, charts.reliability_diagram(metrics.reliability))


def _columns(results: TrainingResults) -> Markup | None:
    """Permutation importance and a summary of each column; None for images."""
    if not results.columns:
        return None
    importance = results.permutation_importance()
    order = np.argsort(-importance, kind="stable")[:MAX_COLUMNS_LISTED]
    names = [results.columns[i].name for i in order]
    chart = charts.horizontal_bars(names, importance[order], "Permutation importance")
    text = (
        "Increase of the log loss when the values of a column are shuffled. Columns that carry the same "
        "information can all show low importance."
    )
    shown = results.columns[:MAX_COLUMNS_LISTED]
    body = [
        tag(
            "tr",
            tag("th", column.name),
            tag("td", column.content, class_="text"),
            tag("td", f"{column.missing:,}"),
        )
        for column in shown
    ]
    head = tag(
        "tr", tag("th", "column", class_="text"), tag("th", "content", class_="text"), tag("th", "missing")
    )
    about_columns = "Types and values of the columns of the training table" + (
        "." if len(shown) == len(results.columns) else f"; the first {len(shown)} are shown."
    )
    return join(
        _section("Permutation importance", text, chart),
        _section("Columns", about_columns, _table(head, body, "full")),
    )


class _Cell(NamedTuple):
    """A cell of the table of rows, with the heading of its column."""

    heading: str
    content: object
    is_text: bool = False


def _least_confident(results: TrainingResults) -> Markup:
    rows = [_least_confident_row(results, i) for i in results.least_confident(LEAST_CONFIDENT).tolist()]
    body = [
        tag("tr", *[tag("td", cell.content, class_="text" if cell.is_text else None) for cell in row])
        for row in rows
    ]
    # Of a column with missing values, only some cells are text.
    head = [
        tag("th", cells[0].heading, class_="text" if any(cell.is_text for cell in cells) else None)
        for cells in zip(*rows, strict=True)
    ]
    text = (
        "The rows not used for training whose two most probable classes are closest. Look for unusual rows "
        "and wrong labels."
    )
    return _section("Least confident predictions", text, _table(tag("tr", *head), body, "full"), wide=True)


def _least_confident_row(results: TrainingResults, index: int) -> list[_Cell]:
    raw, classes, p = results.rows.raw, results.metrics.classes, results.probabilities[index]
    first, second = np.argsort(-p, kind="stable")[:2].tolist()
    prediction = [
        _Cell("true class", classes[results.rows.y[index]], True),
        _Cell("predicted class", classes[first], True),
        _Cell("probability", f"{p[first]:.1%}"),
        _Cell("second class", classes[second], True),
        _Cell("probability", f"{p[second]:.1%}"),
    ]
    if not isinstance(raw, pa.Table):
        return [_Cell("", _thumbnail(raw[index])), *prediction, _Cell("file", str(raw[index]), True)]
    values = {name: raw[name][index].as_py() for name in raw.column_names[:MAX_COLUMNS_OF_ROW]}
    return [
        _Cell("row", f"{results.rows.numbers[index]}"),
        *prediction,
        *[
            _Cell(name, "" if value is None else value, isinstance(value, str))
            for name, value in values.items()
        ],
    ]


def _thumbnail(file: Path) -> Markup:
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return tag("img", src=f"data:image/png;base64,{data}", alt="", width=small.width, height=small.height)
