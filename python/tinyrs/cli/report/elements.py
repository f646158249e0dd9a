"""What the sections of the page are made of: cards, tables and lists that can be unfolded."""

from __future__ import annotations

from collections.abc import Sequence

from tinyrs.cli.report.markup import Markup, tag


def card(title: str, text: str | Markup, *content: Markup | None, class_: str = "wide") -> Markup:
    """A section with a heading and a sentence that explains it."""
    return tag("section", tag("h2", title), tag("p", text), *filter(None, content), class_=class_)


def row(*cells: Markup) -> Markup:
    return tag("tr", *cells)


def cell(content: object, *, is_text: bool = False) -> Markup:
    return tag("td", content, class_="text" if is_text else None)


def head(content: object, *, is_text: bool = False) -> Markup:
    """The heading of a column."""
    return tag("th", content, scope="col", class_="text" if is_text else None)


def row_head(content: object) -> Markup:
    """The heading of a row."""
    return tag("th", content, scope="row")


def table(label: str, heads: Sequence[Markup], rows: Sequence[Markup], class_: str | None = None) -> Markup:
    """A table. If it is too wide, it scrolls sideways and shows a shadow where it goes on.

    `label` names it for screen readers; the focus (tabindex) lets the keyboard scroll it.
    """
    whole = tag("table", tag("thead", *heads), tag("tbody", *rows), class_=class_)
    return tag("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0)


def unfoldable(summary: str, content: Markup) -> Markup:
    """Content that is shown, and printed, once the reader has clicked on its summary."""
    return tag("details", tag("summary", summary), content)


def legend(*entries: tuple[str, str]) -> Markup:
    """A line below the text of a chart: the style of each mark, a class of report.css, and its meaning."""
    parts = [tag("span", tag("i", class_=f"mark {style}"), meaning) for style, meaning in entries]
    return tag("div", *parts, class_="legend")
