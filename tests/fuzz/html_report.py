"""The HTML report of tables with any names and categories: well-formed, and nothing in it executes."""

from __future__ import annotations

import csv
from pathlib import Path

from report_pages import Page

from fuzz.harness import FOLDER, Source, command

CSV, HTML = FOLDER / "report.csv", FOLDER / "report.html"


def write_table(source: Source) -> None:
    """Sixty rows of a column of strings, one of numbers, and the target, with any names and values."""
    strings = [source.text() for _ in range(1 + source.whole(3))]
    classes = ["a" + source.text(), "b" + source.text()]
    with CSV.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(["c" + source.text(), "d" + source.text(), "kind"])
        for i in range(60):
            writer.writerow([strings[i % len(strings)], i * 0.1, classes[i // 3 % 2]])


def seeds() -> dict[str, bytes]:
    return {f"strings-{i}": bytes(range(i, i + 60)) for i in (0, 1, 20, 77)}


def one(data: bytes) -> None:
    write_table(Source(data))
    Path(HTML).unlink(missing_ok=True)
    options = [
        "--target",
        "kind",
        "-o",
        FOLDER / "report-model",
        "--hidden",
        4,
        "--epochs",
        1,
        "--report",
        HTML,
    ]
    status, _ = command("train", CSV, *options)
    if status:
        assert not HTML.exists()
        return
    text = HTML.read_text()
    page = Page(text)
    names = {name for name, _ in page.elements}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form", "a"}, names
    assert "b" not in names or "</script><b>" not in text, "markup of the table is in the page"
    for name, attributes in page.elements:
        executable = [key for key in attributes if key.startswith("on") or key in ("src", "href", "srcdoc")]
        assert not executable or (name == "img" and (attributes["src"] or "").startswith("data:")), (
            name,
            attributes,
        )
    assert not {character for character in text if ord(character) < 32 and character not in "\n\t"}
