"""The page that `tinyrs train --report` writes: one HTML file that asks the network for nothing."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa

import tinyrs
from tinyrs.cli.report import charts
from tinyrs.cli.report.findings import Findings
from tinyrs.cli.report.markup import Markup, join, tag
from tinyrs.cli.shell import writing

LEAST_SURE = 12
MAX_BARS = 20
MAX_CLASSES = 20
MAX_COLUMNS = 12
THUMBNAIL = 72


def write(path: str, source: str, findings: Findings) -> None:
    """Writes the page about a model that was trained on `source`, whole or not at all."""
    with writing(path) as file:
        file.write(page(source, findings).encode())


def page(source: str, findings: Findings) -> Markup:
    target = findings.target
    what = f"{target} from {source}" if target else source
    title = f"tinyrs: {what}"
    sections = [_headline(what, findings), _loss(findings), _score(findings), _confusion(findings)]
    sections += [_reliability(findings), _columns(findings), _least_sure(findings)]
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
    )
    # Not even a slip of ours could load a thing from elsewhere.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    footer = tag("footer", f"Written by tinyrs {tinyrs.__version__}. Nothing here is loaded from anywhere.")
    document = tag(
        "html",
        tag(
            "head",
            *head,
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("title", title),
            tag("style", Markup(files("tinyrs.cli").joinpath("report.css").read_text())),
        ),
        tag("body", tag("main", join(*filter(None, sections)), footer)),
        lang="en",
    )
    return Markup("<!DOCTYPE html>\n" + document + "\n")


def _section(title: str, about: str, *content: Markup, wide: bool = False) -> Markup:
    return tag("section", tag("h2", title), tag("p", about), *content, class_="wide" if wide else None)


def _headline(what: str, findings: Findings) -> Markup:
    figures = findings.figures
    network = "-".join(map(str, findings.predictor.network.layer_sizes))
    shown = [
        (f"{figures.accuracy:.2%}", "accuracy", f"the most frequent class: {figures.baseline:.2%}"),
        (f"{figures.log_loss:.4f}", "log loss", f"knowing nothing: {np.log(len(figures.classes)):.4f}"),
        (f"{figures.calibration_error:.4f}", "calibration error", "how far off the probabilities are"),
        (f"{len(findings.records):,}", "epochs", f"in {findings.seconds:.1f} s; kept: {findings.best + 1}"),
        (network, "network", f"{findings.predictor.network.n_parameters:,} parameters"),
    ]
    cells = [tag("div", name, tag("b", value), tag("span", about)) for value, name, about in shown]
    measured = f"Measured on {figures.rows:,} rows that were not trained on: {findings.what}."
    return join(
        tag("header", tag("h1", what), tag("p", measured)),
        tag("section", tag("div", *cells, class_="figures"), class_="wide"),
    )


def _loss(findings: Findings) -> Markup:
    series = [charts.Series("training", "one", findings.curve("loss"))]
    if "validation_loss" in findings.records[0]:
        series.append(charts.Series("rows held out while training", "two", findings.curve("validation_loss")))
    about = (
        "Lower is better. Training's includes label smoothing; the dashed line is the epoch that was kept."
    )
    return _section("Loss", about, charts.lines(series, "loss", findings.best, "Loss by epoch"))


def _score(findings: Findings) -> Markup | None:
    if "validation_score" not in findings.records[0]:
        return None
    series = [charts.Series("accuracy", "two", findings.curve("validation_score"))]
    about = (
        "Share of the rows held out while training that are predicted right, by which the epoch was chosen."
    )
    chart = charts.lines(series, "accuracy", findings.best, "Accuracy by epoch", percent=True)
    return _section("Accuracy while training", about, chart)


def _confusion(findings: Findings) -> Markup:
    figures = findings.figures
    if len(figures.classes) > MAX_CLASSES:
        about = f"The most frequent mistakes; a matrix of {len(figures.classes)} classes would be unreadable."
        rows = [
            tag(
                "tr",
                tag("td", f"{count:,}"),
                tag("td", figures.classes[i], class_="text"),
                tag("td", figures.classes[j], class_="text"),
            )
            for count, i, j in figures.worst_pairs(20)
        ]
        names = tag(
            "tr", tag("th", "rows"), tag("th", "it is", class_="text"), tag("th", "was called", class_="text")
        )
        return _section(
            "Mistakes",
            about,
            tag("div", tag("table", tag("thead", names), tag("tbody", *rows)), class_="scroll"),
        )
    shares = figures.confusion / np.maximum(figures.confusion.sum(axis=1, keepdims=True), 1)
    body = [
        tag(
            "tr",
            tag("th", name),
            *[_cell(count, shares[i, j], i == j) for j, count in enumerate(counts)],
            tag("td", "-" if np.isnan(figures.recall[i]) else f"{figures.recall[i]:.1%}"),
        )
        for i, (name, counts) in enumerate(zip(figures.classes, figures.confusion.tolist(), strict=True))
    ]
    head = tag(
        "tr", tag("th"), *[tag("th", name, title=name) for name in figures.classes], tag("th", "found")
    )
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="confusion")
    about = "A line for what a row is, a column for what was said; the colour is the share of the line."
    return _section(
        "Confusion matrix", about, tag("div", table, class_="scroll"), wide=len(figures.classes) > 7
    )


def _cell(count: int, share: float, right: bool) -> Markup:
    colour = "good" if right else "bad"
    return tag(
        "td",
        f"{count:,}",
        style=f"background: rgb(var(--{colour}) / {0.65 * share:.3f})",
        title=f"{share:.1%}",
    )


def _reliability(findings: Findings) -> Markup:
    about = "Of the rows of which it was 80 % sure, 80 % should be right: bars should end at the dashed line."
    return _section("Calibration", about, charts.reliability(findings.figures.reliability))


def _columns(findings: Findings) -> Markup | None:
    if not findings.columns:
        return None
    rises = findings.importance()
    order = np.argsort(-rises, kind="stable")[:MAX_BARS]
    names = [findings.columns[i].name for i in order]
    importance = _section(
        "What it looks at",
        "By how much the log loss rises when a column is shuffled; what two columns know counts for neither.",
        charts.bars(names, rises[order], "Permutation importance"),
    )
    body = [
        tag(
            "tr",
            tag("th", column.name),
            tag("td", column.what, class_="text"),
            tag("td", f"{column.missing:,}"),
        )
        for column in findings.columns[:MAX_BARS]
    ]
    head = tag(
        "tr", tag("th", "column", class_="text"), tag("th", "holds", class_="text"), tag("th", "missing")
    )
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="full")
    more = len(findings.columns) - len(body)
    about = "What was understood of the columns of the table" + (f", the first {len(body)}." if more else ".")
    return join(importance, _section("What it was given", about, tag("div", table, class_="scroll")))


def _least_sure(findings: Findings) -> Markup:
    places = findings.least_sure(LEAST_SURE)
    raw, classes = findings.rows.raw, findings.figures.classes
    shown = raw.column_names[:MAX_COLUMNS] if isinstance(raw, pa.Table) else ["file"]
    heads = ["row" if isinstance(raw, pa.Table) else "", "it is", "was called", "sure", "or", "sure"]
    body = []
    for place in places.tolist():
        p = findings.probabilities[place]
        first, second = np.argsort(-p, kind="stable")[:2].tolist()
        if isinstance(raw, pa.Table):
            lead = tag("td", f"{findings.rows.numbers[place]}")
            values = ["" if (v := raw[name][place].as_py()) is None else v for name in shown]
        else:
            lead, values = tag("td", _thumbnail(raw[place])), [str(raw[place])]
        body.append(
            tag(
                "tr",
                lead,
                tag("td", classes[findings.rows.codes[place]], class_="text"),
                tag("td", classes[first], class_="text"),
                tag("td", f"{p[first]:.1%}"),
                tag("td", classes[second], class_="text"),
                tag("td", f"{p[second]:.1%}"),
                *[tag("td", value, class_="text" if isinstance(value, str) else None) for value in values],
            )
        )
    text = {"it is", "was called", "or", "file"}
    head = tag("tr", *[tag("th", name, class_="text" if name in text else None) for name in [*heads, *shown]])
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="full")
    about = "Of the rows not trained on, those at which two classes were closest: odd ones, or wrong labels."
    return _section("What it is least sure of", about, tag("div", table, class_="scroll"), wide=True)


def _thumbnail(file: Path) -> Markup:
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return tag("img", src=f"data:image/png;base64,{data}", alt="", width=small.width, height=small.height)
