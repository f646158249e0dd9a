"""Builds HTML and SVG elements. All text that is not `Markup` is escaped here, and only here."""

from __future__ import annotations

import re
from html import escape

# HTML elements without content, which have no end tag.
VOID = {"br", "img", "meta"}
# Characters that XML and HTML do not allow, not even escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup, so it is not escaped again."""


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element. The keyword `class_` sets the attribute class, `stroke_width` sets stroke-width.

    Attributes that are None are left out.
    """
    attribute_text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(part if isinstance(part, Markup) else _text(part) for part in content)
    start = f"<{name}{attribute_text}>"
    return Markup(start if name in VOID else f"{start}{inner}</{name}>")


def join(*parts: Markup) -> Markup:
    return Markup("\n".join(parts))


def _text(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(_FORBIDDEN.sub("\ufffd", text))
