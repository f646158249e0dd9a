"""The HTML report of `tinyrs train --report`: complete, well-formed, and safe for untrusted tables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, csv_text, flowers
from PIL import Image
from tinyrs.cli.metrics import Metrics
from tinyrs.cli.report import charts
from tinyrs.cli.report.charts import Series
from tinyrs.cli.report.markup import Markup, tag

EVIL = ['<script>alert("1")</script>', "<img src=x onerror=alert(2)>", "]]> & &amp; \x01 ' \" </style></svg>"]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Parses a page into elements and text, and asserts that all elements are closed in the right order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, text: str) -> None:
        self.text += text


@pytest.fixture
def page(tinyrs_cli: Run) -> str:
    """The report about a table in which column names, categories and classes contain markup."""
    table = flowers(400)
    names = dict(zip(sorted(set(table["colour"])), EVIL, strict=True))
    evil_table = {
        EVIL[0]: [names[colour] for colour in table["colour"]],
        "length": table["length"],
        EVIL[1]: [EVIL[kind - 9].replace("\x01", "") for kind in table["kind"]],
    }
    Path("a & b.csv").write_text(csv_text(evil_table))
    args = ["--target", EVIL[1], "-o", "m", "--hidden", "8", "--epochs", "5", "--report", "r.html"]
    done = tinyrs_cli("train", "a & b.csv", *args)
    assert done.status == 0, done.err
    return Path("r.html").read_text()


def test_the_page_has_all_sections_and_charts(page: str) -> None:
    found = Page(page)
    for heading in (
        "Loss",
        "Validation accuracy",
        "Confusion matrix",
        "Calibration",
        "Permutation importance",
        "Columns",
        "Least confident predictions",
    ):
        assert heading in found.text
    assert [name for name, _ in found.elements].count("svg") == 4
    # The least confident rows have their row numbers.
    assert re.search(r"<td>\d{1,3}</td>", page)


def test_the_page_executes_and_loads_nothing(page: str) -> None:
    found = Page(page)
    assert {name for name, _ in found.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "div"),
        *("h1", "h2", "p", "b", "span", "table", "thead", "tbody", "tr", "th", "td"),
        *("svg", "line", "text", "polyline", "rect", "circle"),
    }
    for _, attributes in found.elements:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "href")}
    assert "http" not in page.replace("http-equiv", "")
    # The markup from the table is shown as text.
    assert EVIL[0] in found.text
    assert EVIL[1] in found.text
    assert "\x01" not in page


def test_each_chart_is_valid_xml_inside_its_view_box(page: str) -> None:
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for svg in svgs:
        root = ET.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for element in root.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert -1 <= float(element.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert -1 <= float(element.get(name, 0)) <= height
            assert "nan" not in " ".join(element.attrib.values()).lower()


def browser() -> str:
    """The path of Chromium or Chrome. Without one the test is skipped, or fails in `make report-browser`."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = f"no browser: expected one of {', '.join(names)}"
        if os.environ.get("TINYRS_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def test_a_browser_renders_the_page(page: str, tmp_path: Path) -> None:
    """The browser finds the same elements as our parser, logs no message, and draws the charts."""
    # Chromium cannot use its sandbox as root in a container; the page is our own.
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    command = [browser(), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,2000"]
    url = (tmp_path / "r.html").as_uri()
    dom = subprocess.run([*command, "--dump-dom", url], capture_output=True, text=True, timeout=120)
    assert dom.returncode == 0, dom.stderr
    assert "CONSOLE" not in dom.stderr
    assert [name for name, _ in Page(dom.stdout).elements] == [name for name, _ in Page(page).elements]

    picture = tmp_path / "r.png"
    subprocess.run([*command, f"--screenshot={picture}", url], capture_output=True, timeout=120, check=True)
    image = Image.open(picture).convert("RGB")
    colours = {colour: count for count, colour in image.getcolors(1 << 24) or ()}
    # --one (bars and lines, blue) and --two (points, orange) of report.css.
    assert colours[(37, 99, 184)] > 1000
    assert colours[(217, 102, 31)] > 100


def test_text_and_attributes_are_escaped_but_markup_is_not() -> None:
    assert tag("b", "<&>", Markup("<i></i>"), title='"<') == '<b title="&quot;&lt;">&lt;&amp;&gt;<i></i></b>'
    assert tag("meta", http_equiv="a") == '<meta http-equiv="a">'


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [np.nan, 1.0, np.inf], [np.nan], [-3e9, 5e-9]])
def test_a_line_chart_of_constant_huge_or_non_finite_values_is_valid(values: list[float]) -> None:
    svg = charts.epoch_lines([Series("a", "one", np.array(values))], "loss", 0, "label")
    assert "nan" not in svg
    assert "inf" not in svg
    ET.fromstring(svg)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.21), (1, 256), (-5, 5), (0, 1e9), (3, 3)])
def test_ticks_are_few_and_within_the_range(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 9
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)


def test_with_many_classes_the_most_frequent_errors_replace_the_matrix() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(30), 500)
    codes = rng.integers(0, 30, 500)
    metrics = Metrics.of(p, codes, np.arange(30))
    lines = metrics.confusion_lines()
    assert lines[0] == "most frequent errors (true class -> predicted class):"
    counts = [int(re.findall(r"\d+", line)[0]) for line in lines[1:]]
    assert counts == sorted(counts, reverse=True)
    errors = metrics.confusion - np.diag(np.diag(metrics.confusion))
    assert counts[0] == errors.max()
