#!/usr/bin/env python3
"""Checks that every link inside a built site leads to a file and anchor that exist: check_links.py FOLDER"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the anchors that others can link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.add(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def dead_links(folder: Path) -> list[str]:
    """A line for each link without a target."""
    folder = folder.resolve()
    files = [path for path in sorted(folder.rglob("*.html")) if folder / "_static" not in path.parents]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    dead = []
    for path, page in pages.items():
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchor = unquote(url.fragment)
            if not target.is_file():
                dead.append(f"{path.relative_to(folder)}: no file {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                dead.append(f"{path.relative_to(folder)}: no anchor {link}")
    return dead


if __name__ == "__main__":
    site = Path(sys.argv[1])
    found = dead_links(site)
    print(*found, f"{len(list(site.rglob('*.html')))} pages, {len(found)} dead links", sep="\n")
    sys.exit(1 if found else 0)
