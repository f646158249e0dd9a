"""What all reports share: the HTML document with its style, the heading, lists of facts, files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files

import tinyrs
from tinyrs.cli.report.markup import Markup, join, tag
from tinyrs.cli.report.provenance import FileDigest

# The digits of a digest that are shown; the tooltip has all.
DIGEST = 12


def document(subject: str, sections: Iterable[Markup | None]) -> Markup:
    """The HTML document with these sections; None stands for a section that is left out."""
    # Even if escaping failed, the browser would neither run scripts nor load anything.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    footer = tag("footer", f"Written by tinyrs {tinyrs.__version__}. This page loads nothing from elsewhere.")
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("title", f"tinyrs: {subject}"),
            tag("style", Markup(files("tinyrs.cli.report").joinpath("report.css").read_text())),
        ),
        tag("body", tag("main", join(*filter(None, sections)), footer)),
        lang="en",
    )
    return Markup("<!DOCTYPE html>\n" + page + "\n")


def header(subject: str, time: datetime, text: str) -> Markup:
    """The heading of the page, and a line with the time and `text`."""
    shown = tag("time", f"{time:%-d %B %Y, %H:%M}", datetime=time.isoformat(timespec="seconds"))
    return tag("header", tag("h1", subject), tag("p", shown, text))


def facts(entries: Sequence[tuple[str, Markup | str]]) -> Markup:
    """A list of names and values."""
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in entries]
    return tag("dl", *pairs, class_="facts")


def file(digest: FileDigest) -> Markup:
    """Name, size and shortened digest of a file."""
    if digest.sha256 is None:
        return tag("span", digest.name)
    short = tag("abbr", f"{digest.sha256[:DIGEST]}\u2026", title=digest.sha256)
    return tag("span", f"{digest.name} ({digest.size:,} bytes, SHA-256 ", tag("code", short), ")")
