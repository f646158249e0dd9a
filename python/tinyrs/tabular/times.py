"""Dates, times of day and durations as numbers of seconds, and the calendar of a date.

A date, with or without a time of day, is the seconds since 1970-01-01 00:00 UTC. One with a time zone is
converted to UTC; one without is taken as it is. A time of day is the seconds since midnight. In text, dates
and times are as in ISO 8601; durations are that, or as pandas and Python print them ("1 days 02:03:04").
Fractions of a microsecond are dropped.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from re import Match
    from typing import Any

DAY = 86400
_CLOCK = r"(\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
_DATE = rf"(\d{{4}})-(\d{{2}})-(\d{{2}})(?:[T ]{_CLOCK} ?(Z|UTC|[+-]\d{{2}}(?::?\d{{2}})?)?)?"
_DURATION = r"(?:(-?\d+) days?,?(?: |$))?(?:([+-]?)(\d+):(\d{2}):(\d{2}(?:\.\d+)?))?"
_ISO_DURATION = r"(-?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"


def date_seconds(value: Any) -> float | None:
    """The seconds of a date, a datetime, a pandas.Period (its start) or their text; None if it is none."""
    from datetime import date, datetime, timezone

    if isinstance(value, str):
        return _date_in(value.strip())
    if hasattr(value, "to_timestamp"):
        value = value.to_timestamp()
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime(warn=False)
    if isinstance(value, datetime):
        zone = None if value.tzinfo is None else timezone.utc
        return (value - datetime(1970, 1, 1, tzinfo=zone)).total_seconds()
    return float((value - date(1970, 1, 1)).days * DAY) if isinstance(value, date) else None


def dates_in(texts: Sequence[str]) -> Any:
    """The `date_seconds` of texts of the same form, as an array (texts,); None if one is of another form.

    A column of a file has most often one form, which NumPy reads much faster than Python reads text by text:
    from "2024-01-31" to "2024-01-31T23:59:59.999999Z".
    """
    import numpy as np

    length = len(texts[0]) if texts else 0
    if not texts or set(map(len, texts)) != {length}:
        return None
    characters = np.array(texts).view(np.uint32).reshape(len(texts), -1)
    if characters.shape[1] != length:  # NumPy drops zeros at the end of a text
        return None
    if length > len("2024-01-31Z") and (characters[:, -1] == ord("Z")).all():
        length -= 1
    form = np.array(["0000-00-00 00:00:00.000000"[:length]]).view(np.uint32)
    if length not in (10, 16, 19, *range(21, 27)):
        return None
    characters = np.ascontiguousarray(characters[:, :length])
    characters[:, 10:11][characters[:, 10:11] == ord("T")] = ord(" ")
    # Of a character below "0", the difference is a huge number.
    if (np.where(form == ord("0"), characters - ord("0") > 9, characters != form)).any():
        return None
    try:
        dates = characters.view(f"U{length}")[:, 0].astype("datetime64[us]")
    except ValueError:  # no such day or time
        return None
    # Python's dates start with the year 1.
    return None if (dates < np.datetime64("0001-01-01")).any() else dates.astype(np.int64) / 1e6


def time_seconds(value: Any) -> float | None:
    """The seconds since midnight of a time of day or its text; None if it is none."""
    from datetime import time

    if isinstance(value, str):
        found = _match(_CLOCK, value)
        try:
            value = None if found is None else time(*_clock(found[1], found[2], found[3], found[4]))
        except ValueError:
            return None
    if not isinstance(value, time):
        return None
    whole = value.hour * 3600 + value.minute * 60 + value.second
    return (whole * 10**6 + value.microsecond) / 10**6


def duration_seconds(value: Any) -> float | None:
    """The seconds of a timedelta or its text; None if it is none."""
    from datetime import timedelta

    if isinstance(value, str):
        return _duration_in(value)
    if hasattr(value, "to_pytimedelta"):
        value = value.to_pytimedelta()
    return value.total_seconds() if isinstance(value, timedelta) else None


def value_of(seconds: float, kind: str) -> Any:
    """The date and time, time of day or duration of these seconds."""
    from datetime import datetime, timedelta

    duration = timedelta(seconds=seconds)
    if kind == "duration":
        return duration
    return datetime(1970, 1, 1) + duration if kind == "date" else (datetime.min + duration).time()


def text_of(seconds: float, kind: str) -> str:
    """The text of a date, time of day or duration; a date at midnight is printed without the time."""
    return str(value_of(seconds, kind)).removesuffix(" 00:00:00" if kind == "date" else "")


# The numbers that a date is encoded as besides its seconds: how they are described to the users of an export.
PARTS = {
    "year": "year",
    "month": "month from 1",
    "day_of_week": "day of the week, Monday is 0",
    "day_of_year": "day of the year from 1",
    "hour": "hour from 0",
}


def calendar(seconds: Any) -> dict[str, Any]:
    """Each of `PARTS` of the dates with these seconds, a float or an array; NaN for NaN.

    The Gregorian calendar in arithmetic that floats and arrays share: years start in March, so that the leap
    day is the last one, and 400 years have 146,097 days (Howard Hinnant, "chrono-compatible low-level date
    algorithms").
    """
    days = seconds // DAY
    since_year_0 = days + 719468
    cycle = since_year_0 // 146097
    day = since_year_0 - cycle * 146097
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    month = (5 * (day - (365 * year + year // 4 - year // 100)) + 2) // 153
    month = (month + 2) % 12 + 1
    year = year + cycle * 400 + (month <= 2)
    before = year - 1
    new_year = before * 365 + before // 4 - before // 100 + before // 400 - 719162
    return {
        "year": year,
        "month": month,
        "day_of_week": (days + 3) % 7,
        "day_of_year": days - new_year + 1,
        "hour": (seconds - days * DAY) // 3600,
    }


def _match(pattern: str, text: str) -> Match[str] | None:
    import re

    return re.fullmatch(pattern, text.strip(), re.ASCII)


def _clock(hour: str, minute: str, second: str | None, fraction: str | None) -> tuple[int, int, int, int]:
    return int(hour), int(minute), int(second or 0), int((fraction or "")[:6].ljust(6, "0"))


def _date_in(text: str) -> float | None:
    from datetime import datetime, timezone

    found = _match(_DATE, text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        clock = _clock(hour or "0", minute or "0", second, fraction)
        moment = datetime(int(year), int(month), int(day), *clock, tzinfo=timezone.utc)
    except ValueError:
        return None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()
    if zone in (None, "Z", "UTC"):
        return seconds
    offset = int(zone[1:3]) * 3600 + int(zone[3:].lstrip(":") or 0) * 60
    return seconds - offset if zone[0] == "+" else seconds + offset


def _duration_in(text: str) -> float | None:
    from datetime import timedelta

    if not text.strip():
        return None
    if found := _match(_ISO_DURATION, text):
        sign, days, hours, minutes, seconds = found.groups()
        negative = sign == "-"
    elif found := _match(_DURATION, text):
        days, sign, hours, minutes, seconds = found.groups()
        negative = False
        if sign == "-":
            hours, minutes, seconds = f"-{hours}", f"-{minutes}", f"-{seconds}"
    else:
        return None
    if not any((days, hours, minutes, seconds)):
        return None
    total = timedelta(int(days or 0), float(seconds or 0), 0, 0, int(minutes or 0), int(hours or 0))
    return (-total if negative else total).total_seconds()
