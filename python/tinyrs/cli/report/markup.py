"""HTML and SVG, written element by element: whatever is not markup already is escaped, in this one place."""

from __future__ import annotations

import re
from html import escape

# Elements that have no content, and so no end.
VOID = {"br", "img", "meta"}
# What XML and HTML do not allow in a text, escaped or not.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already."""


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element. `class_` is the attribute class, `stroke_width` is stroke-width; None is no attribute."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(part if isinstance(part, Markup) else _text(part) for part in content)
    return Markup(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{inner}</{name}>")


def join(*parts: Markup) -> Markup:
    return Markup("\n".join(parts))


def _text(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(_FORBIDDEN.sub("\ufffd", text))
