"""Dates, times and durations as numbers."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tinyrs import TinyClassifier
from tinyrs.predictor import loads
from tinyrs.tabular.preprocessor_fit import fit_table
from tinyrs.tabular.tables import Table
from tinyrs.tabular.times import (
    PARTS,
    calendar,
    date_seconds,
    dates_in,
    duration_seconds,
    text_of,
    time_seconds,
)

EPOCH = dt.datetime(1970, 1, 1)
UTC = dt.timezone.utc


def test_the_calendar_is_that_of_datetime() -> None:
    whole = np.random.default_rng(0).integers(-62_135_596_800, 253_402_300_799, 3000)
    months = [dt.datetime(year, month, 1) for year in (1, 1900, 2000, 2023, 2024) for month in (1, 2, 3, 12)]
    ends = [(month - EPOCH).total_seconds() for month in months]
    seconds = np.concatenate([whole, ends, np.array(ends[1:]) - 1, [0, -0.25, 86399.5]])
    parts = calendar(seconds)
    assert list(parts) == list(PARTS)
    for i, value in enumerate(seconds.tolist()):
        date = EPOCH + dt.timedelta(seconds=np.floor(value))
        want = (date.year, date.month, date.weekday(), date.timetuple().tm_yday, date.hour)
        assert tuple(values[i] for values in parts.values()) == want
        assert tuple(calendar(value).values()) == want
    assert np.isnan(list(calendar(float("nan")).values())).all()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-31", dt.datetime(2024, 1, 31)),
        (" 2024-01-31 23:59 ", dt.datetime(2024, 1, 31, 23, 59)),
        ("2024-01-31T23:59:01.5", dt.datetime(2024, 1, 31, 23, 59, 1, 500000)),
        ("2024-01-31T23:59:01.123456789Z", dt.datetime(2024, 1, 31, 23, 59, 1, 123456)),
        ("2024-01-31 23:59:01+01:00", dt.datetime(2024, 1, 31, 22, 59, 1)),
        ("2024-01-31T10:00:00-0530", dt.datetime(2024, 1, 31, 15, 30)),
        ("0001-01-01", dt.datetime(1, 1, 1)),
        *[(text, None) for text in ("2024-02-30", "2024-01-31 24:00", "2024-1-31", "20240131", "x")],
    ],
)
def test_dates_in_text(text: str, value: dt.datetime | None) -> None:
    assert date_seconds(text) == (None if value is None else (value - EPOCH).total_seconds())


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%MZ"]
)
def test_many_dates_in_text(form: str) -> None:
    rng = np.random.default_rng(0)
    moments = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59)] + [
        EPOCH + dt.timedelta(seconds=seconds) for seconds in rng.uniform(-5e9, 5e9, 500)
    ]
    texts = [moment.strftime(form).rjust(len(EPOCH.strftime(form)), "0") for moment in moments]
    np.testing.assert_array_equal(dates_in(texts), [date_seconds(text) for text in texts])
    # Only the day varies; the time may be with T or a space.
    assert dates_in([texts[2], texts[3].replace("T", " ")]).tolist() == [*map(date_seconds, texts[2:4])]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["2024-01-31", "2024-01-31 10:00"],
        ["2024-01-31", "2024-02-30"],
        ["2024-01-31\0"],
        *[
            [text]
            for text in ("0000-01-01", "2024-01-3x", "2024/01/31", "20240131", "x", "", "Z", "2024-01-31Z")
        ],
        *[[f"2024-01-31 {time}"] for time in ("24:00", "1:00", "10", "10:00:00.", "10:00:00+01:00")],
        ["2024-01-31Z"],
        ["\u0662024-01-31"],
    ],
)
def test_texts_that_are_read_one_by_one(texts: list[str]) -> None:
    assert dates_in(texts) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 days 02:03:04", dt.timedelta(1, 4, 0, 0, 3, 2)),
        ("-1 days +23:59:57", dt.timedelta(seconds=-3)),
        ("1 day, 2:03:04.5", dt.timedelta(1, 4.5, 0, 0, 3, 2)),
        ("-0:01:00", dt.timedelta(minutes=-1)),
        ("5 days", dt.timedelta(5)),
        ("P1DT2H3M4.5S", dt.timedelta(1, 4.5, 0, 0, 3, 2)),
        ("-PT1M", dt.timedelta(minutes=-1)),
        *[(text, None) for text in ("", "P", "PT", "5", "1:2", "days")],
    ],
)
def test_durations_in_text(text: str, value: dt.timedelta | None) -> None:
    assert duration_seconds(text) == (None if value is None else value.total_seconds())


def test_times_in_text() -> None:
    assert [time_seconds(text) for text in ("10:30", "23:59:59.25")] == [37800, 86399.25]
    assert [time_seconds(text) for text in ("24:00", "1:00", "x", "")] == [None] * 4
    assert [text_of(*pair) for pair in ((0, "date"), (61, "date"), (61.5, "time"), (-1, "duration"))] == [
        "1970-01-01", "1970-01-01 00:01:01", "00:01:01.500000", "-1 day, 23:59:59"
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_values_of_every_library(unit: str) -> None:
    """The same instant has the same seconds; a date with a time zone is converted to UTC."""
    berlin = dt.timezone(dt.timedelta(hours=1))
    column = np.array(["2024-01-31T10:30:05"], f"M8[{unit}]")
    values = [
        "2024-01-31 10:30:05",
        dt.datetime(2024, 1, 31, 10, 30, 5),
        dt.datetime(2024, 1, 31, 11, 30, 5, tzinfo=berlin),
        pd.Timestamp("2024-01-31 10:30:05").as_unit(unit),
        pd.Timestamp("2024-01-31 10:30:05", tz="UTC").tz_convert("Asia/Tokyo"),
        pd.Period("2024-01-31 10:30:05", freq="s"),
        column[0],
    ]
    want = (dt.datetime(2024, 1, 31, 10, 30, 5) - EPOCH).total_seconds()
    for value in values:
        X = np.empty((1, 1), dtype=object)
        X[0, 0] = value
        assert Table.read(X).numbers(0, "date").tolist() == [want], value
    zoned = pd.Series(column).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo").rename("x").to_frame()
    for table in (Table.read(column.reshape(1, 1)), Table.read(zoned)):
        assert table.columns[0].kind == "date"
        assert table.numbers(0, "date").tolist() == [want]
    durations = Table.read((column - np.datetime64("2024-01-31")).reshape(1, 1))
    assert durations.numbers(0, "duration").tolist() == [37805]


def test_only_parts_that_vary_are_encoded() -> None:
    days = pd.to_datetime(["2024-01-01", "2024-01-09", None, "2024-01-30"])
    preprocessor = fit_table(Table.read(pd.DataFrame({"day": days, "n": [1.0, 2, 3, 4]})))
    assert preprocessor.parts == ((0, "day_of_week"), (0, "day_of_year"))
    encoded = preprocessor.encode(pd.DataFrame({"day": days, "n": [1.0, 2, 3, 4]}))
    assert encoded[:, 2:].tolist()[:2] == [[0, 1], [1, 9]]
    assert np.isnan(encoded[2]).tolist() == [True, False, True, True]
    # Two numbers, the parts of the date, and one indicator of a missing date.
    assert preprocessor.feature_encoder.n_features == 2 + 2 + 1
    same = fit_table(Table.read(pd.DataFrame({"day": days[:1]})))
    assert same.parts == ()
    assert same.feature_encoder.n_features == 1


def test_a_classifier_learns_from_the_calendar() -> None:
    """Weekends are not a linear function of the seconds; a missing date is a missing number."""
    rng = np.random.default_rng(0)
    days = pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 730, 600), unit="D"))
    y = np.where(days.dt.day_of_week >= 5, "weekend", "week")
    X: Any = pd.DataFrame({"day": days, "n": rng.normal(size=600)})
    clf = TinyClassifier(n_layers=1, width=32, max_iter=40, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.98
    predictor = loads(clf.predictor().to_bytes())
    X.loc[0, "day"] = pd.NaT
    want = clf.predict_proba(X[:20])
    np.testing.assert_array_equal(predictor.predict_proba(X[:20]), want)  # type: ignore[union-attr]
    rows = [
        {"day": None if v is pd.NaT else v.isoformat(), "n": n} for v, n in X[:20].itertuples(index=False)
    ]
    one = [list(predictor.predict_proba_one(row).values()) for row in rows]  # type: ignore[union-attr]
    np.testing.assert_array_equal(one, want)
