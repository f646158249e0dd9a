"""The HTML report of `tinyrs train --report`: complete, well-formed, and safe for untrusted tables."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, csv_text, flowers
from report_pages import TABLES, Page, check_charts
from tinyrs.cli.metrics_text import confusion_lines
from tinyrs.cli.report import charts, names
from tinyrs.cli.report.axes import Axis, LogAxis, Unit
from tinyrs.cli.report.charts import Series
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.tuning import intervals
from tinyrs.tuning.scores import Metrics, Reliability

EVIL = ['<script>alert("1")</script>', "<img src=x onerror=alert(2)>", "]]> & &amp; \x01 ' \" </style></svg>"]


@pytest.fixture
def page(tinyrs_cli: Run) -> str:
    """The report about a table in which column names, categories and classes contain markup."""
    table = flowers(400)
    renamed = dict(zip(sorted(set(table["colour"])), EVIL, strict=True))
    evil_table = {
        EVIL[0]: [renamed[colour] for colour in table["colour"]],
        "length": table["length"],
        "id": list(range(400)),
        EVIL[1]: [EVIL[kind - 9].replace("\x01", "") for kind in table["kind"]],
    }
    Path("a & b.csv").write_text(csv_text(evil_table))
    args = ["--target", EVIL[1], "-o", "m", "--hidden", "8", "--epochs", "5", "--report", "r.html"]
    done = tinyrs_cli("train", "a & b.csv", *args)
    assert done.status == 0, done.err
    return Path("r.html").read_text()


def report(tinyrs_cli: Run, table: str, *options: str) -> str:
    """The report about one of TABLES."""
    Path("data.csv").write_text(csv_text(TABLES[table]()))
    args = ["--target", "kind", "-o", "m", "--hidden", "8", "--epochs", "3", "--report", "r.html", "--json"]
    done = tinyrs_cli("train", "data.csv", *args, *options)
    assert done.status == 0, done.err
    return Path("r.html").read_text()


def test_the_page_has_all_sections_and_charts(page: str) -> None:
    found = Page(page)
    for heading in (
        "1 warning",
        "Loss",
        "Validation accuracy",
        "Calibration",
        "Confusion matrix",
        "What the model looks at",
        "Least confident predictions",
        "How it was made",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert [name for name, _ in found.elements].count("svg") == 3
    assert "looks like a row number: consider --drop id" in found.text
    # The least confident rows have their row numbers.
    assert re.search(r"<td>\d{1,3}</td>", page)


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("auc", "Validation AUC"),
        ("balanced_accuracy", "Validation balanced accuracy"),
        # Its curve is the validation loss beside the training loss.
        ("log_loss", "Validation accuracy"),
    ],
)
def test_the_second_chart_shows_the_metric_asked_for(tinyrs_cli: Run, metric: str, title: str) -> None:
    page = report(tinyrs_cli, "long names", "--metric", metric)
    card = re.search(rf"<section[^>]*><h2>{title}</h2>.*?</section>", page, re.DOTALL)
    assert card
    chooses = "The validation rows chose the best epoch."
    assert page.count(chooses) == 1
    assert (chooses in card[0]) == (metric != "log_loss")
    label = re.search(r'aria-label="Line chart over the epochs: ([^"]*)"', card[0])
    assert label
    start, end = re.findall(r"(?:from|to) ([\d.]+%?)", label[1])
    assert start.endswith("%") == ("accuracy" in title)
    assert f"{title[0].lower()}{title[1:]} from {start} to {end}; best" in label[1]


def test_a_table_with_dates_has_a_report(tinyrs_cli: Run) -> None:
    rng = np.random.default_rng(0)
    days = rng.integers(0, 1000, 400)
    table = {
        "when": [str(np.datetime64("2020-01-01") + day) for day in days.tolist()],
        "noise": rng.normal(size=400).tolist(),
        "kind": np.where(days < 500, "yes", "no").tolist(),
    }
    Path("data.csv").write_text(csv_text(table))
    args = ["--target", "kind", "-o", "m", "--hidden", "32", "--epochs", "30", "--report", "r.html"]
    assert tinyrs_cli("train", "data.csv", *args).status == 0
    page = Path("r.html").read_text()
    # One row a column, with the parts of the date, such as its year, counted to it.
    found = re.findall(r'<th scope="row">(\w+)</th><td[^>]*>.*?<span>(-?[\d.]+)</span>', page)
    importance = {name: float(value) for name, value in found}
    assert list(importance) == ["when", "noise"]
    assert importance["when"] > 0.1 > importance["noise"]


def test_the_page_executes_and_loads_nothing(page: str) -> None:
    found = Page(page)
    assert {name for name, _ in found.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "div"),
        *("h1", "h2", "p", "b", "i", "span", "small", "abbr", "code", "time", "ul", "li", "dl", "dt", "dd"),
        *("table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        *("svg", "g", "line", "text", "polyline", "path", "rect", "circle"),
    }
    for _, attributes in found.elements:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "href")}
    assert "http" not in page.replace("http-equiv", "")
    # The markup from the table is shown as text.
    assert EVIL[0] in found.text
    assert EVIL[1] in found.text
    assert "\x01" not in page


def test_each_chart_is_valid_xml_inside_its_view_box(page: str) -> None:
    assert check_charts(page) == 3


def test_the_page_is_accessible(page: str) -> None:
    found = Page(page)
    levels = [name for name, _ in found.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}
    for name, attributes in found.elements:
        if name == "svg":
            assert attributes["role"] == "img"
            assert re.match("Line chart|Reliability diagram", attributes["aria-label"] or "")
        if name == "th":
            assert attributes["scope"] in ("col", "row", "colgroup", "rowgroup")
        if attributes.get("class") == "scroll":
            # The keyboard can scroll it.
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", css))


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        channels = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_the_contrast_that_wcag_asks_for_in_light_and_dark(root: Path) -> None:
    css = (root / "python/tinyrs/cli/report/report.css").read_text()
    light, dark = css.split("prefers-color-scheme: dark")
    for theme in (colours(light), colours(dark)):
        for text in ("ink", "dim", "one", "two", "warn"):
            for background in ("page", "card"):
                assert contrast(theme[text], theme[background]) >= 4.5, (text, background)


def test_the_page_says_where_the_model_comes_from(page: str) -> None:
    found = Page(page)
    for file in ("a & b.csv", "m"):
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        assert digest in found.titles()
        assert digest[:12] in found.text
    assert "tinyrs train 'a & b.csv' --target" in found.text
    assert "a model trained on 360 rows, on 40 other rows (one in 10, stratified by class)" in found.text
    assert "a model trained in the same way on all 400 rows" in found.text
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT', page)
    for name in ("Seed", "Version"):
        assert name in found.text


def test_the_top_row_has_the_metrics_with_their_intervals(page: str) -> None:
    (top,) = re.findall(r'<dl class="metrics">.*?</dl>', page, re.DOTALL)
    found = Page(top)
    for name in ("Accuracy", "Macro recall", "ROC AUC", "Average precision", "Log loss", "Calibration error"):
        assert name in found.text
    assert len(re.findall(r"95%: [\d.]+%? to [\d.]+%?", found.text)) == 4


def test_the_confusion_matrix_has_named_axes_with_precision_and_recall_at_its_edges(page: str) -> None:
    (matrix,) = re.findall(r'<table class="confusion">.*?</table>', page, re.DOTALL)
    words = re.findall(r">(actual|predicted|precision|recall)<", matrix)
    assert sorted(words) == ["actual", "precision", "predicted", "recall"]
    rows = re.findall(r"<tr>.*?</tr>", matrix, re.DOTALL)
    assert len(rows) == 2 + 3 + 1
    assert all(len(re.findall(r'class="edge"', row)) == 1 for row in rows[1:5])
    assert len(re.findall(r'<td title="precision of .*?: 95% interval', rows[-1])) >= 1


def test_two_guesses_have_different_names(page: str) -> None:
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)', page.partition("Least confident")[2])
    assert heads[:4] == ["row", "actual", "1st guess", "2nd guess"]
    assert "sure" not in heads


def test_long_names_are_elided_in_the_middle_and_whole_in_a_tooltip(tinyrs_cli: Run) -> None:
    page = report(tinyrs_cli, "long names")
    found, table = Page(page), TABLES["long names"]()
    for name in [*list(table)[:2], *table["kind"][:1]]:
        assert name in found.titles()
    shown = set(re.findall(r'<th scope="col"><abbr title="[^"]*">(number_[^<]*)', page))
    assert len(shown) == 2
    assert all("\u2026" in name and name.endswith("refunds") for name in shown)


def test_of_many_columns_none_is_hidden_without_a_hint(tinyrs_cli: Run) -> None:
    page = report(tinyrs_cli, "500 columns")
    assert page.count("numbers from") == 500
    assert "<summary>480 less important columns</summary>" in page
    assert "Of the 500 columns, the 6 most important are shown." in page
    assert "most important are shown" not in report(tinyrs_cli, "long names")


def test_the_page_says_what_was_measured_and_what_was_written(tinyrs_cli: Run) -> None:
    measured = report(tinyrs_cli, "long names", "--no-refit", "--threshold", "0.2")
    assert "the model that was measured" in measured
    assert "half the price is predicted from a probability of 0.2000." in measured
    # A first guess with less than half the probability.
    first = re.findall(r"returns[^<]*</abbr> <span class=\"share\">([\d.]+)%</span></td>", measured)
    assert any(20 <= float(share) < 50 for share in first)
    folds = report(tinyrs_cli, "12 classes", "--cv", "2")
    assert "each of 1,500 rows, by a model trained on other rows (2-fold cross-validation)" in folds
    assert len(re.findall(r"accuracy of the folds: [\d.]+%, [\d.]+%<", folds)) == 1


def test_of_many_classes_the_errors_and_the_worst_classes_are_listed(tinyrs_cli: Run) -> None:
    page = report(tinyrs_cli, "60 classes")
    assert "<h2>Most frequent errors</h2>" in page
    assert "<summary>40 more classes, with a higher recall</summary>" in page
    assert 'class="confusion' not in page


def test_text_and_attributes_are_escaped_but_markup_is_not() -> None:
    assert tag("b", "<&>", Markup("<i></i>"), title='"<') == '<b title="&quot;&lt;">&lt;&amp;&gt;<i></i></b>'
    assert tag("meta", http_equiv="a") == '<meta http-equiv="a">'


@pytest.mark.parametrize(
    ("values", "low", "high", "ticks"),
    [
        ([1.0], 0.5, 2, "0.5 1 2"),
        ([0.61, 1.9], 0.5, 2, "0.5 1 2"),
        ([3.0, 9.0], 2, 10, "2 5 10"),
        ([30.0, 4.0, 49.0], 2, 100, "10 100"),
        ([0.003, 7e5], 0.002, 1e6, "0.01 1 100 10000 1000000"),
    ],
)
def test_a_logarithmic_axis_has_round_ends_and_ticks(
    values: list[float], low: float, high: float, ticks: str
) -> None:
    axis = LogAxis.around("x", values, "{:.7g}".format)
    assert (axis.low, axis.high) == pytest.approx((low, high))
    assert " ".join(label for _, label in axis.ticks()) == ticks
    assert [float(label) for _, label in axis.ticks()] == pytest.approx([value for value, _ in axis.ticks()])


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [np.nan, 1.0, np.inf], [np.nan], [-3e9, 5e-9]])
def test_a_line_chart_of_constant_huge_or_non_finite_values_is_valid(values: list[float]) -> None:
    svg = charts.epoch_lines([Series("a", "one", np.array(values))], "loss", 0)
    root = ET.fromstring(svg)
    for element in root.iter():
        drawn = " ".join(value for name, value in element.attrib.items() if name != "aria-label")
        assert "nan" not in drawn
        assert "inf" not in drawn


RANGES = [(0, 1), (0.2, 0.21), (0.715, 0.81), (1, 256), (1, 11), (-5, 5), (0, 1e9), (-2e-7, 3e-7), (3, 3)]


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_tick_labels_say_exactly_where_the_ticks_are(low: float, high: float, unit: Unit) -> None:
    ticks = Axis("x", low, high, unit).ticks()
    if unit is Unit.INTEGER and not (high - low >= 1 or low == high):
        return
    assert 1 <= len(ticks) <= 9
    for value, label in ticks:
        assert low - 1e-9 * abs(low) <= value <= high + 1e-9 * abs(high)
        said = float(label.rstrip("%").replace(",", "")) / (100 if label.endswith("%") else 1)
        assert said == pytest.approx(value, rel=1e-9, abs=1e-12 * abs(high - low))
    steps = np.diff([value for value, _ in ticks])
    np.testing.assert_allclose(steps, steps[:1].repeat(len(steps)))
    assert len({label for _, label in ticks}) == len(ticks)
    if unit is Unit.INTEGER:
        assert all(re.fullmatch(r"-?[\d,]+|-?\de\+\d\d", label) for _, label in ticks)


def test_names_are_elided_in_the_middle_and_stay_different() -> None:
    assert names.elided("short", 10) == "short"
    assert names.elided("abcdefghijklmnop", 9) == "abcd\u2026mnop"
    alike = ["a" * 30 + "x" + "b" * 30, "a" * 30 + "y" + "b" * 30, "c"]
    shown = names.elided_names(alike, 10)
    assert len(set(shown)) == 3
    assert shown[2] == "c"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (1234, "1.2k"),
        (12_345, "12k"),
        (999_600, "1.0M"),
        (2 * 10**9, "2.0G"),
    ],
)
def test_counts_have_at_most_four_characters(count: int, text: str) -> None:
    assert names.compact(count) == text


def test_the_reliability_diagram_has_intervals_counts_and_faint_bins() -> None:
    confidence, rows = np.arange(10) / 10 + 0.05, np.array([0, 0, 0, 0, 3, 40, 0, 5, 2000, 4])
    accuracy = np.where(rows > 0, 0.5, 0.0)
    root = ET.fromstring(charts.reliability_diagram(Reliability(confidence, accuracy, rows)))
    points = list(root.iter("g"))
    assert [g.attrib["class"] for g in points] == ["point faint", "point", "point", "point", "point faint"]
    # The axis begins with the first bin that has rows.
    assert [t.text for t in root.iter("text") if t.get("class") == "count"] == [
        "3",
        "40",
        "0",
        "5",
        "2.0k",
        "4",
    ]
    tooltip = points[1].find("title")
    assert tooltip is not None
    assert f"95% interval {intervals.proportion(0.5, 40).text()}" in (tooltip.text or "")
    # The ends of the interval are drawn where they belong.
    centre, interval = points[1].find("circle"), points[1].find("path")
    assert centre is not None
    assert interval is not None
    low, high = map(float, re.findall(r"(?:M[\d.]+ |V)([\d.]+)", interval.attrib["d"])[:2])
    assert low - float(centre.attrib["cy"]) == pytest.approx(float(centre.attrib["cy"]) - high, abs=0.2)
    assert low > high


def test_with_many_classes_the_most_frequent_errors_replace_the_matrix() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(30), 500)
    codes = rng.integers(0, 30, 500)
    metrics = Metrics.of(p, codes, np.arange(30))
    lines = confusion_lines(metrics)
    assert lines[0] == "most frequent errors (true class -> predicted class):"
    counts = [int(re.findall(r"\d+", line)[0]) for line in lines[1:]]
    assert counts == sorted(counts, reverse=True)
    errors = metrics.confusion - np.diag(np.diag(metrics.confusion))
    assert counts[0] == errors.max()
