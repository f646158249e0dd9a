"""The same values give the same answer, whatever table they come from.

A model is trained on each kind of column from each source, and predicts the same rows from every other
source. The probabilities must be the same. Values of another kind are refused with one message. No case is
silent and different.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tinyrs
from pyarrow import parquet
from tinyrs import TinyClassifier
from tinyrs.cli.errors import CliError
from tinyrs.cli.main import main
from tinyrs.cli.table_predictor import TablePredictor, load_predictor
from tinyrs.cli.table_reader import open_table
from tinyrs.tabular.few_rows import FEW_ROWS

UTC = dt.timezone.utc
# Column x0 of each kind: its distinct values. A name that starts with "category" is declared as one.
KINDS: dict[str, list[Any]] = {
    "boolean": [True, False],
    "boolean, missing": [True, False, None],
    "number": [-1.25, 0.5, 3.0, 10.5],
    "number, missing": [0.5, -1.25, None],
    "whole number": [3, 0, 100000],
    "whole number, missing": [3, 0, 7, None],
    "decimal": [Decimal("0.50"), Decimal("2"), Decimal("-7.25")],
    "category of integers": [0, 1, 2, 3],
    "category of integers, missing": [0, 1, 2, None],
    "category of floats": [0.5, 1.5, 2.0],
    "category of booleans": [True, False],
    "category of codes": ["007", "7", "010"],
    "text": ["red", "green", "blue"],
    "text, missing": ["red", "green", None],
    "text of booleans": ["TRUE", "FALSE"],
    "date": [dt.date(2024, 1, 31), dt.date(2024, 7, 4), dt.date(1969, 12, 31)],
    "date, missing": [dt.date(2024, 1, 31), dt.date(2024, 7, 4), None],
    "datetime": [dt.datetime(2024, 1, 31, 10, 30), dt.datetime(2024, 2, 1, 23, 59, 59, 250000)],
    "datetime with a zone": [
        dt.datetime(2024, 1, 31, 10, 30, tzinfo=UTC),
        dt.datetime(2024, 2, 1, 23, tzinfo=UTC),
    ],
    "time": [dt.time(10, 30), dt.time(23, 59, 59), dt.time(0)],
    "duration": [dt.timedelta(days=1, seconds=3), dt.timedelta(minutes=-5), dt.timedelta(0)],
}
ROWS = 60

Columns = dict[str, list[Any]]


def is_category(kind: str) -> bool:
    return kind.startswith("category")


# Tables in memory.


def pandas_of(columns: Columns) -> pd.DataFrame:
    """A frame of the types of pandas: datetime64 for dates, float64 for integers with missing ones."""
    frame = pd.DataFrame(columns)
    first = columns["x0"][0]
    if isinstance(first, dt.date):
        frame["x0"] = pd.to_datetime(frame["x0"])
    if isinstance(first, dt.timedelta):
        frame["x0"] = pd.to_timedelta(frame["x0"])
    return frame


def arrow_of(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def array_of(columns: Columns) -> npt.NDArray[Any]:
    rows = np.empty((len(columns["x0"]), len(columns)), dtype=object)
    for i, values in enumerate(columns.values()):
        rows[:, i] = values
    return rows


IN_MEMORY: dict[str, Callable[[Columns], Any]] = {
    "pandas": pandas_of,
    "pandas, objects": lambda columns: pd.DataFrame(columns, dtype=object),
    "pandas, nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas, category": lambda columns: pd.DataFrame(columns).astype({"x0": "category"}),
    "polars": lambda columns: pl.DataFrame(columns, strict=False),
    "arrow": arrow_of,
    "arrow, dictionary": lambda columns: arrow_of(columns).set_column(
        0, "x0", pa.array(columns["x0"]).dictionary_encode()
    ),
    "array": array_of,
}

# Files.


def upper_csv(columns: Columns) -> str:
    """A CSV file as spreadsheets write it: TRUE and FALSE, a header in quotes."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([str(v).upper() if isinstance(v, bool) else "" if v is None else v for v in row])
    return text.getvalue()


def write_npz(path: Path, columns: Columns) -> None:
    X = np.array([columns["x0"], columns["x1"]], dtype=float).T
    arrays: dict[str, Any] = {"X": X, "y": np.array(columns["y"])} if "y" in columns else {"X": X}
    np.savez(path, **arrays)


FILES: dict[str, Callable[[Path, Columns], Any]] = {
    "csv of pandas": lambda path, columns: pandas_of(columns).to_csv(path, index=False),
    "csv of polars": lambda path, columns: pl.DataFrame(columns, strict=False).write_csv(path),
    "csv of a spreadsheet": lambda path, columns: path.write_text(upper_csv(columns)),
    "parquet": lambda path, columns: parquet.write_table(arrow_of(columns), path),
    "npz": write_npz,
}


def file_of(folder: Path, source: str, columns: Columns) -> Path:
    path = folder / f"data.{source.partition(' ')[0]}"
    FILES[source](path, columns)
    return path


# Training.


def example(kind: str) -> tuple[Columns, Columns]:
    """The training columns, with the label y, and one row of each value to predict."""
    values = KINDS[kind]
    x1 = np.random.default_rng(0).normal(size=ROWS).round(3).tolist()
    x0 = [values[i % len(values)] for i in range(ROWS)]
    y = ["yes" if i % len(values) == 0 else "no" for i in range(ROWS)]
    return {"x0": x0, "x1": x1, "y": y}, {"x0": values, "x1": [0.5] * len(values)}


@cache
def train(kind: str, source: str, folder: Path) -> tinyrs.Predictor:
    columns, _ = example(kind)
    if source in FILES:
        path, model = file_of(folder, source, columns), folder / "model"
        arguments = ["train", str(path), "--target", "y", "-o", str(model), "--epochs", "3", "--hidden", "8"]
        assert main([*arguments, *(["--categorical", "x0"] if is_category(kind) else [])]) == 0
        return load_predictor(model)
    y = columns.pop("y")
    X = IN_MEMORY[source](columns)
    categorical: Any = [0] if is_category(kind) else "auto"
    model = TinyClassifier(
        (8,),
        n_ensemble=1,
        max_iter=3,
        early_stopping=False,
        random_state=0,
        categorical_features=categorical,
    )
    predictor: tinyrs.Predictor = model.fit(X, y).predictor()
    if source == "array":
        return tinyrs.Predictor(
            predictor.network, predictor.preprocessor, predictor.classes_, feature_names=["x0", "x1"]
        )
    return predictor


# Prediction.


def predict_file(predictor: tinyrs.Predictor, path: Path) -> npt.NDArray[Any]:
    table = open_table(str(path))
    table_predictor = TablePredictor(predictor, table)
    return np.concatenate([table_predictor.predict_proba(*chunk) for chunk in table.numbered_chunks()])


def predict_dicts(predictor: tinyrs.Predictor, rows: list[dict[str, Any]]) -> npt.NDArray[Any]:
    return np.array([list(predictor.predict_proba_one(row).values()) for row in rows])


def predict(predictor: tinyrs.Predictor, source: str, columns: Columns, folder: Path) -> npt.NDArray[Any]:
    if source in FILES:
        return predict_file(predictor, file_of(folder, source, columns))
    if source == "dicts":
        return predict_dicts(predictor, pl.DataFrame(columns, strict=False).to_dicts())
    if source == "dicts of text":
        text = io.StringIO(pandas_of(columns).to_csv(index=False))
        return predict_dicts(predictor, list(csv.DictReader(text)))
    if source == "lists":
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        one = [list(predictor.predict_proba_one(row).values()) for row in rows]
        np.testing.assert_allclose(predictor.predict_proba(rows), one, rtol=1e-6)
        return np.array(one)
    return predictor.predict_proba(IN_MEMORY[source](columns))


def makes_no_sense(kind: str, source: str) -> bool:
    """Whether a source cannot hold a kind of column."""
    if source == "npz":
        return not isinstance(KINDS[kind][0], (bool, int, float))
    if source == "csv of polars" and kind == "duration":
        return True
    if source in ("pandas, category", "arrow, dictionary"):
        return not (is_category(kind) or kind.startswith("text"))
    return False


PREDICT = [*IN_MEMORY, *FILES, "dicts", "dicts of text", "lists"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize("training", [*IN_MEMORY, *FILES])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_values_give_the_same_answer(kind: str, training: str, folder: Path) -> None:
    if makes_no_sense(kind, training):
        return
    predictor = train(kind, training, folder)
    _, columns = example(kind)
    want = predict(predictor, training, columns, folder)
    # Each value is recognised: its answer is its own.
    assert len(np.unique(want.round(8), axis=0)) == len(KINDS[kind])
    for source in PREDICT:
        if makes_no_sense(kind, source):
            continue
        got = predict(predictor, source, columns, folder)
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=source)
        if source in IN_MEMORY:
            # A larger table is read column by column.
            times = FEW_ROWS // len(got) + 1
            repeated = {name: values * times for name, values in columns.items()}
            many = predict(predictor, source, repeated, folder)
            np.testing.assert_array_equal(many, np.tile(got, (times, 1)), err_msg=source)


# What a column of each kind does not take, and the one message about it.
WRONG: list[tuple[str, Any, str]] = [
    ("number", "three", "expected a number, got 'three'"),
    ("number", dt.datetime(2024, 1, 31), "expected a number, got "),
    ("number", dt.timedelta(1), "expected a number, got "),
    ("whole number", "2024-01-31", "expected a number, got "),
    ("boolean", 2, "expected true or false, got 2"),
    ("boolean", "maybe", "expected true or false, got 'maybe'"),
    ("date", 20240131, "expected a date such as 2024-01-31 or 2024-01-31 23:59, got 20240131"),
    ("date", "31.1.2024", "expected a date such as 2024-01-31 or 2024-01-31 23:59, got '31.1.2024'"),
    ("date", dt.timedelta(1), "expected a date such as "),
    ("datetime", 1.5, "expected a date such as 2024-01-31 or 2024-01-31 23:59, got 1.5"),
    ("time", "25:00", "expected a time such as 23:59 or 23:59:59, got '25:00'"),
    ("duration", 90061, "expected a duration such as 1 days 02:03:04, got 90061"),
]


@pytest.mark.parametrize(
    "source", ["pandas", "pandas, objects", "polars", "arrow", "array", "dicts", "parquet"]
)
@pytest.mark.parametrize(("kind", "value", "message"), WRONG, ids=str)
def test_values_of_another_kind_are_refused_by_name(
    kind: str, value: Any, message: str, source: str, folder: Path
) -> None:
    predictor = train(kind, "pandas", folder)
    with pytest.raises((ValueError, CliError)) as raised:
        predict(predictor, source, {"x0": [value], "x1": [0.5]}, folder)
    text = str(raised.value)
    assert message in text.replace('"', "'") or (isinstance(value, int) and message in text.replace(".0", ""))
    assert "column 'x0'" in text or 'column "x0"' in text or source == "array"


def test_text_in_a_file_is_refused_by_name(folder: Path) -> None:
    for kind, value, message in WRONG:
        predictor = train(kind, "csv of pandas", folder)
        path = folder / "wrong.csv"
        path.write_text(f'x0,x1\n"{KINDS[kind][0]}",0.5\n"{value}",0.5\n')
        with pytest.raises(CliError, match=re.escape(message.partition(", got")[0])) as raised:
            predict_file(predictor, path)
        assert 'wrong.csv: row 3, column "x0": ' in str(raised.value)
