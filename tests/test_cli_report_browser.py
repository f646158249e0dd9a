"""The HTML report in a browser, at the widths of a phone and a laptop: its structure, not its pixels."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import csv_text, flowers
from PIL import Image
from report_pages import TABLES, Page, benchmark_page

# Writes what is wrong with the layout of the page, as JSON, into the attribute data-wrong of its root.
CHECKS = (Path(__file__).parent / "report_layout.js").read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a browser, in `make report-browser`; otherwise the tests are skipped."""
    if not os.environ.get("TINYRS_BROWSER"):
        # A headless browser may crash by itself, which must not fail the default tests.
        pytest.skip("set TINYRS_BROWSER=1, as make report-browser does")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(f"no browser: expected one of {', '.join(names)}")
    # Chromium cannot use its sandbox as root in a container; the page is our own.
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    return [found, *flags, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]


@pytest.fixture(scope="module")
def pages(browser: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports about tables that are hard to lay out."""
    from tinyrs.cli.main import main

    found = {}
    for name, make in {"flowers": lambda: flowers(400), **TABLES}.items():
        folder = tmp_path_factory.mktemp("report")
        table: dict[str, list[Any]] = make()
        (folder / "data.csv").write_text(csv_text(table))
        files = [folder / "data.csv", "-o", folder / "m", "--report", folder / "r.html"]
        options = ["--target", "kind", "--hidden", "8", "--epochs", "3", "--json"]
        assert main(["train", *map(str, files), *options]) == 0
        found[name] = folder / "r.html"
    found["budget"] = found["flowers"].with_name("budget.html")
    data, model = found["flowers"].with_name("data.csv"), found["flowers"].with_name("b")
    files = [data, "-o", model, "--report", found["budget"]]
    limits = ["--budget", "50us", "--budget", "20KB", "--time-limit", "20"]
    assert main(["train", *map(str, files), "--target", "kind", *limits, "--json"]) == 0
    found["benchmark"] = tmp_path_factory.mktemp("report") / "r.html"
    found["benchmark"].write_text(benchmark_page())
    return found


def faults(browser: list[str], page: str, folder: Path, width: int) -> list[str]:
    """What is wrong with the layout of a page in a window of this width."""
    # The page itself forbids scripts.
    assert "script-src" not in page
    page = re.sub("<meta http-equiv=[^>]*>", "", page).replace("</body>", f"<script>{CHECKS}</script></body>")
    (folder / "checked.html").write_text(page)
    dom = run([*browser, f"--window-size={width},2000", "--dump-dom"], folder / "checked.html")
    assert "CONSOLE" not in dom.stderr, dom.stderr
    ((_, attributes),) = [element for element in Page(dom.stdout).elements if element[0] == "html"]
    found: list[str] = json.loads(attributes["data-wrong"] or "")
    return found


def run(command: list[str], page: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("table", ["flowers", *TABLES, "budget", "benchmark"])
def test_nothing_overflows_overlaps_or_is_clipped(
    browser: list[str], pages: dict[str, Path], tmp_path: Path, table: str, width: int
) -> None:
    assert faults(browser, pages[table].read_text(), tmp_path, width) == []


@pytest.mark.parametrize(
    ("css", "fault"),
    [
        (".chart text { font-size: 30px !important; }", "overlap: "),
        (".chart text { font-size: 7px !important; }", "too small: "),
        (".chart .y-tick { transform: translateX(-40px); }", "leaves the chart: "),
        ("main { min-width: 2000px; }", "the page is wider than the window"),
        ("header { min-width: 1500px; }", "overflows: HEADER"),
        (".third { flex: 0 0 48% !important; }", "a hole in the grid: "),
        (".scroll { background: none !important; } table { width: 3000px; }", "scrolls without a hint: "),
        ("h1 { overflow: hidden; }", "may be clipped: H1"),
        ("td { position: relative; left: -20px; } td + td { left: -40px; }", "cells overlap: "),
    ],
)
def test_the_checks_find_planted_faults(
    browser: list[str], pages: dict[str, Path], tmp_path: Path, css: str, fault: str
) -> None:
    page = pages["flowers"].read_text().replace("</style>", css + "</style>")
    assert any(found.startswith(fault) for found in faults(browser, page, tmp_path, 1280))


def test_a_browser_builds_what_was_written_without_a_message(
    browser: list[str], pages: dict[str, Path]
) -> None:
    dom = run([*browser, "--dump-dom"], pages["flowers"])
    assert "CONSOLE" not in dom.stderr
    written = Page(pages["flowers"].read_text()).elements
    assert [name for name, _ in Page(dom.stdout).elements] == [name for name, _ in written]


@pytest.mark.parametrize(
    ("dark", "card", "points"), [(0, (255, 255, 255), (180, 81, 15)), (1, (27, 33, 42), (240, 148, 90))]
)
def test_light_and_dark(
    browser: list[str],
    pages: dict[str, Path],
    tmp_path: Path,
    dark: int,
    card: tuple[int, int, int],
    points: tuple[int, int, int],
) -> None:
    """The background of the cards, and --two (validation lines and points) of report.css."""
    picture = tmp_path / "r.png"
    # Chromium's value for dark is 0.
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    run([*browser, scheme, "--window-size=1280,2000", f"--screenshot={picture}"], pages["flowers"])
    image = Image.open(picture).convert("RGB")
    counts = {colour: count for count, colour in image.getcolors(1 << 24) or ()}
    assert counts[card] > 400_000
    assert counts[points] > 100
