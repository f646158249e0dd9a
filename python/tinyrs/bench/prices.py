"""Prices of machines: from text such as "0.0425", or by name from prices.csv.

Prices change. Those of prices.csv are on-demand prices for Linux, without disks and traffic, and are shown
with the date at which their source had them. A line has provider, machine, region, vCPU, price per hour,
currency, date and source.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from functools import cache
from importlib import resources

from tinyrs.bench.config import Price, RefusedError

# A number with a decimal point or comma, and a currency before or after it.
_TEXT = re.compile(r"([^\W\d_]+|\$|€|£|¥)?\s*(\d+(?:[.,]\d+)?|[.,]\d+)\s*([^\W\d_]+|\$|€|£|¥)?")
_CURRENCY = "USD"


def parse(value: object) -> Price:
    """Parses a positive number with an optional currency (default: USD), or the name of a machine.

    Raises RefusedError.
    """
    text = str(value).strip()
    found = _TEXT.fullmatch(text)
    if found:
        before, number, after = found.groups()
        per_hour = float(number.replace(",", "."))
        if per_hour > 0 and not (before and after):
            return Price(per_hour, before or after or _CURRENCY)
    elif text in machines():
        return machines()[text]
    near = difflib.get_close_matches(text, machines(), n=1)
    known = f"did you mean {near[0]}?" if near else f"known are {', '.join(machines())}"
    raise RefusedError(f"a price per hour such as 0.0425 or '0,05 EUR', or a machine ({known})", value)


@cache
def machines() -> dict[str, Price]:
    """The prices of prices.csv by the name of the machine."""
    text = resources.files("tinyrs.bench").joinpath("prices.csv").read_text(encoding="utf-8")
    return {
        row["machine"]: Price(
            per_hour=float(row["price"]),
            currency=row["currency"],
            machine=row["machine"],
            provider=row["provider"],
            region=row["region"],
            vcpu=int(row["vcpu"]),
            date=row["date"],
            source=row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    }


def utilisation(value: object) -> float:
    """Parses a number above 0 and up to 1."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise RefusedError("a number above 0 and up to 1", value)
    return number
