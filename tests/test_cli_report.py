"""The page of `tinyrs train --report`: well formed, complete, and harmless whatever is in the table."""

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
from tinyrs.cli.metrics import Figures
from tinyrs.cli.report import charts
from tinyrs.cli.report.charts import Series
from tinyrs.cli.report.markup import Markup, tag

EVIL = ['<script>alert("1")</script>', "<img src=x onerror=alert(2)>", "]]> & &amp; \x01 ' \" </style></svg>"]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would make of it: each element closed, in order; which there are, and what text."""

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
    """Of a table in which everything that is text is an attack."""
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


def test_what_is_on_the_page(page: str) -> None:
    found = Page(page)
    for heading in (
        "Loss",
        "Accuracy while training",
        "Confusion matrix",
        "Calibration",
        "What it looks at",
        "What it was given",
        "What it is least sure of",
    ):
        assert heading in found.text
    assert [name for name, _ in found.elements].count("svg") == 4
    # Rows are named as in the file.
    assert re.search(r"<td>\d{1,3}</td>", page)


def test_nothing_on_the_page_is_executed_or_loaded(page: str) -> None:
    found = Page(page)
    assert {name for name, _ in found.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "div"),
        *("h1", "h2", "p", "b", "span", "table", "thead", "tbody", "tr", "th", "td"),
        *("svg", "line", "text", "polyline", "rect", "circle"),
    }
    for _, attributes in found.elements:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "href")}
    assert "http" not in page.replace("http-equiv", "")
    # It is there, as text.
    assert EVIL[0] in found.text
    assert EVIL[1] in found.text
    assert "\x01" not in page


def test_each_chart_is_well_formed(page: str) -> None:
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
    """A browser of the Chromium family. Without one the test is skipped; `make report-browser` insists."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = f"no browser: expected one of {', '.join(names)}"
        if os.environ.get("TINYRS_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def test_in_a_browser(page: str, tmp_path: Path) -> None:
    """A real one finds what our parser does, has nothing to complain about, and paints the charts."""
    # Root has no sandbox in a container; the page is ours.
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
    # The blue of bars and lines, the orange of points: --one and --two of the style sheet.
    assert colours[(37, 99, 184)] > 1000
    assert colours[(217, 102, 31)] > 100


def test_everything_but_markup_is_escaped() -> None:
    assert tag("b", "<&>", Markup("<i></i>"), title='"<') == '<b title="&quot;&lt;">&lt;&amp;&gt;<i></i></b>'
    assert tag("meta", http_equiv="a") == '<meta http-equiv="a">'


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [np.nan, 1.0, np.inf], [np.nan], [-3e9, 5e-9]])
def test_lines_of_any_numbers(values: list[float]) -> None:
    svg = charts.lines([Series("a", "one", np.array(values))], "loss", 0, "label")
    assert "nan" not in svg
    assert "inf" not in svg
    ET.fromstring(svg)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.21), (1, 256), (-5, 5), (0, 1e9), (3, 3)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 9
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)


def test_many_classes_are_a_list_of_mistakes() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(30), 500)
    codes = rng.integers(0, 30, 500)
    figures = Figures.of(p, codes, np.arange(30))
    lines = figures.confusion_lines()
    assert lines[0] == "most frequent mistakes:"
    counts = [int(re.findall(r"\d+", line)[0]) for line in lines[1:]]
    assert counts == sorted(counts, reverse=True)
    wrong = figures.confusion - np.diag(np.diag(figures.confusion))
    assert counts[0] == wrong.max()
