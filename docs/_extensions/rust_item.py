"""The directive `rust-item`: a function, struct or enum of a Rust file, found by its name, or "impl NAME".

As `literalinclude` with `:pyobject:`, an item that no longer exists is a warning, and so ends the build.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from docutils.nodes import Node
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.code import LiteralInclude


def item_lines(text: str, name: str) -> tuple[int, int]:
    """The first and the last line, counted from 1, of an item with its comments and attributes.

    Raises ValueError if there is not exactly one item of this name.
    """
    lines = text.splitlines()
    declaration = rf"(pub(\(\w+\))? )?(unsafe )?(const )?(fn|struct|enum|trait) {name}\b"
    if name.startswith("impl "):
        declaration = rf"impl\b.* (for )?{name.removeprefix('impl ')}\b"
    starts = [i for i, line in enumerate(lines) if re.match(rf"\s*{declaration}", line)]
    if len(starts) != 1:
        raise ValueError(f"expected one item {name!r}, found {len(starts)}")
    first = last = starts[0]
    while re.match(r"\s*(///|#\[)", lines[first - 1]):
        first -= 1
    # rustfmt closes an item at the indentation at which it opened it.
    closing = re.match(r"\s*", lines[last])[0] + "}"
    while not (lines[last] == closing or (last == starts[0] and lines[last].endswith(("}", ";")))):
        last += 1
    return first + 1, last + 1


class RustItem(LiteralInclude):
    option_spec: ClassVar = {**LiteralInclude.option_spec, "item": directives.unchanged_required}

    def run(self) -> list[Node]:
        _, path = self.env.relfn2path(self.arguments[0])
        name = self.options.pop("item")
        try:
            first, last = item_lines(Path(path).read_text(encoding="utf-8"), name)
        except ValueError as error:
            return [self.state.document.reporter.warning(f"{path}: {error}", line=self.lineno)]
        self.options |= {"lines": f"{first}-{last}", "language": "rust", "dedent": None}
        return super().run()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("rust-item", RustItem)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
