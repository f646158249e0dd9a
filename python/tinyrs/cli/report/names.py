"""Shortens names and numbers for the page. The full form is in a tooltip, or elsewhere on the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyrs.cli.report.markup import Markup, tag
from tinyrs.tuning.intervals import Interval

ELLIPSIS = "\u2026"
# An en dash between word joiners.
UNBROKEN_DASH = "\u2060\u2013\u2060"


def elided(name: str, length: int) -> str:
    """`name` in at most `length` characters: without its middle, since names often differ at their end."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return name[: length - 1 - tail] + ELLIPSIS + name[len(name) - tail :]


def elided_names(names: Sequence[str], length: int) -> list[str]:
    """The names in about `length` characters, or in more if different names would look the same."""
    while len({elided(name, length) for name in names}) < len(set(names)):
        length += 4
    return [elided(name, length) for name in names]


def abbreviated(name: str, shown: str) -> Markup | str:
    """`shown`, with the full `name` as a tooltip if it differs."""
    return name if shown == name else tag("abbr", shown, title=name)


def percent(share: float) -> str:
    return "\u2013" if np.isnan(share) else f"{share:.1%}"


def with_interval(share: float, interval: Interval) -> str:
    """A share and its interval in short, such as "74.5% (61\u201385)"; no line breaks in the interval."""
    if np.isnan(share):
        return "\u2013"
    return f"{share:.1%} ({100 * interval.low:.0f}{UNBROKEN_DASH}{100 * interval.high:.0f})"


def compact(count: int) -> str:
    """A count in at most four characters: 999, 1.2k, 12k, 3.4M."""
    for unit, factor in (("", 1), ("k", 10**3), ("M", 10**6)):
        if count < 999.5 * factor:
            return f"{count / factor:.{int(unit != '' and count < 9.95 * factor)}f}{unit}"
    return f"{count / 10**9:.1f}G"
