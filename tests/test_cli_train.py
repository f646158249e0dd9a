"""`tinyrs train` on tables: column types, output, held-out rows, and errors."""

from __future__ import annotations

import datetime
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tinyrs
from conftest import Run, csv_text, flowers
from pyarrow import parquet
from tinyrs.cli import fitting
from tinyrs.cli import train as cli_train
from tinyrs.cli.labelled_rows import LabelledRows
from tinyrs.cli.training_data import Part, hold_out
from tinyrs.cli.training_results import TrainingResults
from tinyrs.predictor import Predictor

QUICK = ["--hidden", "8", "--epochs", "4"]


def load(path: str | Path) -> Predictor:
    model = tinyrs.load(path)
    assert isinstance(model, Predictor)
    return model


def train(run: Run, text: str, *args: str) -> Any:
    Path("data.csv").write_text(text)
    return run("train", "data.csv", "-o", "model.safetensors", *QUICK, *args)


def test_the_output_describes_columns_classes_and_metrics(tinyrs_cli: Run) -> None:
    done = train(tinyrs_cli, csv_text(flowers(300)), "--target", "kind", "--drop", "id")
    assert (done.status, done.err) == (0, "")
    assert re.search(r"^data.csv: 300 rows, 3 columns$", done.out, re.M)
    assert re.search(r"^  length +numbers from -?[\d.]+ to [\d.]+; \d+ missing$", done.out, re.M)
    assert re.search(r"^  colour +3 categories: ", done.out, re.M)
    assert re.search(r"^target kind: 9 \d+, 10 \d+, 11 \d+$", done.out, re.M)
    assert re.search(r"^training on 2[67]\d rows, 3 classes$", done.out, re.M)
    assert re.search(
        r"^on \d\d rows that were not used for training \(one in 10, stratified by class\):$", done.out, re.M
    )
    assert re.search(r"^  accuracy +[\d.]+%", done.out, re.M)
    assert re.search(r"^  true / predicted +9 +10 +11$", done.out, re.M)
    # A command to copy.
    assert "\n  tinyrs predict model.safetensors NEW.csv -o predictions.csv\n" in done.out


def test_held_out_rows_are_not_used_for_training(tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[float]] = {}

    def fit(part: Part, *args: Any, **others: Any) -> Any:
        seen["trained"] = part.X["id"].to_pylist()
        return fitting.fit(part, *args, **others)

    def measure(rows: LabelledRows, **others: Any) -> TrainingResults:
        assert isinstance(rows.raw, pa.Table)
        seen["measured"] = rows.raw["id"].to_pylist()
        # The row numbers are those of the file, whose header is row 1.
        assert (rows.numbers - 2).tolist() == seen["measured"]
        return TrainingResults(rows=rows, **others)

    monkeypatch.setattr(cli_train, "fit", fit)
    monkeypatch.setattr(cli_train, "TrainingResults", measure)
    assert train(tinyrs_cli, csv_text(flowers(200)), "--target", "kind", "--no-refit").status == 0
    assert sorted(seen["trained"] + seen["measured"]) == list(range(200))
    assert len(seen["measured"]) == pytest.approx(20, abs=2)


def test_train_measures_on_the_file_given_with_valid(tinyrs_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "valid.csv").write_text(csv_text(flowers(200, seed=5)))
    report = ["--report", "report.html"]
    done = train(
        tinyrs_cli, csv_text(flowers(300)), "--target", "kind", "--valid", "valid.csv", "--json", *report
    )
    assert done.json["rows"] == 300
    assert done.json["held_out"]["origin"] == "valid.csv"
    again = tinyrs_cli("evaluate", "model.safetensors", "valid.csv", "--json").json
    held_out = {**done.json["held_out"], "unlabelled": 0, "warnings": []}
    assert {name: held_out.get(name) for name in again} == again
    assert "valid.csv" in Path("report.html").read_text()


def test_the_seed_alone_decides_the_bytes_of_the_model_file(tinyrs_cli: Run) -> None:
    def bytes_of(*args: str) -> bytes:
        assert train(tinyrs_cli, csv_text(flowers(200)), "--target", "kind", *args).status == 0
        return Path("model.safetensors").read_bytes()

    first = bytes_of("--seed", "7", "--threads", "1")
    assert bytes_of("--seed", "7", "--threads", "2") == first
    assert bytes_of("--seed", "8") != first


def test_hold_out_is_stratified_and_keeps_a_row_of_each_class_for_training() -> None:
    codes = np.repeat([0, 1, 2, 3], [700, 250, 49, 1])
    rng = np.random.default_rng(0)
    rng.shuffle(codes)
    for seed in range(20):
        rows, held = hold_out(codes, seed)
        assert sorted([*rows, *held]) == list(range(1000))
        assert np.bincount(codes[held], minlength=4).tolist() == pytest.approx([70, 25, 5, 0], abs=1)
        assert set(codes[rows]) == {0, 1, 2, 3}


def test_parquet_and_csv_of_a_table_give_the_same_model(tinyrs_cli: Run) -> None:
    """With columns of every type. Each model also gives the same predictions for both files."""
    rng = np.random.default_rng(0)
    rows = 200
    day = datetime.date(2026, 1, 1)
    y = rng.integers(0, 2, rows)
    table = pa.table(
        {
            "whole": pa.array(rng.integers(0, 9, rows)),
            "price": pa.array([Decimal(int(v)) / 100 for v in rng.integers(0, 999, rows)]),
            "flag": pa.array((y == 1) ^ (rng.random(rows) < 0.1)),
            "day": pa.array([day + datetime.timedelta(int(v)) for v in rng.integers(0, 3, rows)]),
            "name": pa.array(rng.choice(["a", "b"], rows)).dictionary_encode(),
            "empty": pa.nulls(rows),
            "y": pa.array(np.where(y == 1, "yes", "no")),
        }
    )
    parquet.write_table(table, "data.parquet")
    columns = {name: table[name].cast(pa.string()).to_pylist() for name in table.column_names}
    Path("data.csv").write_text(csv_text(columns))
    outs = []
    for kind in ("csv", "parquet"):
        done = tinyrs_cli("train", f"data.{kind}", "--target", "y", "-o", "m", *QUICK)
        assert done.status == 0, done.err
        assert re.search(
            r"^  empty +numbers; 200 missing\n +all values are missing: consider --drop empty$",
            done.out,
            re.M,
        )
        assert re.search(r"^  flag +booleans$", done.out, re.M)
        outs.append(Path("m").read_bytes())
        for other in ("csv", "parquet"):
            out = f"{kind}-{other}.parquet"
            assert tinyrs_cli("predict", "m", f"data.{other}", "-o", out).status == 0
    assert outs[0] == outs[1]
    found = [
        parquet.read_table(f"{a}-{b}.parquet")["probability"]
        for a in ("csv", "parquet")
        for b in ("csv", "parquet")
    ]
    assert all(column.equals(found[0]) for column in found)


def test_dates_of_a_csv_file_are_recognised(tinyrs_cli: Run) -> None:
    table = flowers(200)
    table["seen"] = [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(200)]
    table["at"] = [None if i % 9 == 0 else f"{i % 24:02}:30" for i in range(200)]
    done = train(tinyrs_cli, csv_text(table), "--target", "kind", "--drop", "id")
    assert re.search(r"^  seen +dates from 2024-01-01 to 2024-12-28$", done.out, re.M)
    assert re.search(r"^  at +times from 00:30:00 to 23:30:00; 23 missing$", done.out, re.M)
    found = tinyrs_cli("info", "model.safetensors", "--json").json["columns"]
    assert [column["kind"] for column in found[-2:]] == ["dates", "times"]
    table["seen"][3] = "31.1.2024"
    Path("new.csv").write_text(csv_text(table))
    done = tinyrs_cli("predict", "model.safetensors", "new.csv")
    assert done.status == 1
    assert (
        "row 5, column \"seen\": expected a date such as 2024-01-31 or 2024-01-31 23:59, got '31.1.2024'"
        in done.err
    )


def test_parquet_files_of_pandas_and_polars(tinyrs_cli: Run) -> None:
    """Large strings, integers above 2^53, pandas categories, and numbers stored as text."""
    import pandas as pd
    import polars as pl

    table = flowers(200)
    table["length"] = ["NA" if value is None else f" {value} " for value in table["length"]]
    table["big"] = [2**60 + 1 + i for i in range(200)]
    pl.DataFrame(table).write_parquet("data.parquet")
    done = tinyrs_cli("train", "data.parquet", "--target", "kind", "--drop", "id", "-o", "m", *QUICK)
    assert done.status == 0, done.err
    assert re.search(r"^  length +numbers from ", done.out, re.M)
    frame = pd.DataFrame(table).astype({"colour": "category", "kind": "category"})
    frame.to_parquet("frame.parquet")
    first, second = (
        tinyrs_cli("evaluate", "m", name, "--json") for name in ("data.parquet", "frame.parquet")
    )
    assert first.status == 0, first.err
    assert first.json == second.json


def test_npz(tinyrs_cli: Run) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2, 3)).astype(np.float32)
    np.savez("data.npz", X=X, y=np.where(X[:, 0, 0] > 0, "up", "down"))
    done = tinyrs_cli("train", "data.npz", "-o", "m", *QUICK)
    assert done.status == 0, done.err
    assert load("m").feature_names_in_ == ("x0", "x1", "x2", "x3", "x4", "x5")
    assert tinyrs_cli("predict", "m", "data.npz").out.startswith("x0,x1,x2,x3,x4,x5,y,label,probability\n")
    done = tinyrs_cli("train", "data.npz", "-o", "m", "--valid", "data.npz", "--json", *QUICK)
    assert (done.json["rows"], done.json["held_out"]["rows"]) == (200, 200)
    # NaN is a missing label, not a class.
    np.savez("data.npz", X=X, y=np.where(np.arange(200) % 10 == 0, np.nan, X[:, 0, 0] > 0))
    assert tinyrs_cli("train", "data.npz", "-o", "m", "--json", *QUICK).json["held_out"]["classes"] == [
        "0",
        "1",
    ]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([9, 10], [9, 10]),
        (["01", "1"], ["01", "1"]),
        (["1.0", "2.0"], [1, 2]),
        (["1.0", "1"], ["1", "1.0"]),
        ([2**70, 5], ["1180591620717411303424", "5"]),
        (["1.5", "2"], ["1.5", "2"]),
        (["a", "B"], ["B", "a"]),
        ([True, False], ["False", "True"]),
    ],
)
def test_classes_are_integers_or_text(tinyrs_cli: Run, labels: list[Any], classes: list[Any]) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 2, 100)
    table = {"x": (places + rng.normal(size=100)).tolist(), "y": [labels[i] for i in places]}
    assert train(tinyrs_cli, csv_text(table), "--target", "y").status == 0
    assert load("model.safetensors").classes_.tolist() == classes
    assert tinyrs_cli("evaluate", "model.safetensors", "data.csv").status == 0


def test_rows_without_a_label_are_skipped(tinyrs_cli: Run) -> None:
    table = flowers(300)
    table["kind"][::3] = [None] * 100
    done = train(tinyrs_cli, csv_text(table), "--target", "kind")
    assert "100 rows without a value in kind skipped" in done.out
    assert re.search(r"^training on 1[78]\d rows", done.out, re.M)


def test_the_option_categorical_makes_numbers_categories(tinyrs_cli: Run) -> None:
    table = flowers(200)
    table["zip"] = [f"0{i % 5}000" for i in range(200)]
    done = train(tinyrs_cli, csv_text(table), "--target", "kind", "--drop", "id", "--categorical", "zip")
    assert re.search(r"^  zip +5 categories: ", done.out, re.M)
    categories = tinyrs_cli("info", "model.safetensors", "--json").json["columns"][-1]["categories"]
    assert sorted(categories) == ["00000", "01000", "02000", "03000", "04000"]


def test_columns_without_information_are_pointed_out(tinyrs_cli: Run) -> None:
    table = {
        **flowers(100),
        "row": list(range(1, 101)),
        "same": [3] * 100,
        "name": [f"n{i}" for i in range(100)],
    }
    out = train(tinyrs_cli, csv_text(table), "--target", "kind").out
    assert "looks like a row number: consider --drop row" in out
    assert "constant: consider --drop same" in out
    assert "most values occur only once, so new rows have others: consider --drop name" in out


def test_a_time_limit(tinyrs_cli: Run) -> None:
    args = ["--target", "kind", "--drop", "id", "--time-limit", "1.5", "--epochs", "100000", "--json"]
    done = train(tinyrs_cli, csv_text(flowers(2000)), *args)
    assert 1 <= done.json["epochs"] < 100000
    # The limit is an estimate, and the machine may be busy.
    assert done.json["seconds"] < 4


@pytest.mark.parametrize(
    ("change", "args", "message"),
    [
        ({}, ["--target", "Kind"], "data.csv: no column \"Kind\": did you mean 'kind'?"),
        ({}, ["--target", "kind", "--drop", "ID"], "no column \"ID\": did you mean 'id'?"),
        (
            {"kind": [1] * 60},
            ["--target", "kind"],
            "column \"kind\": expected at least two classes, got only '1'",
        ),
        ({"kind": [""] * 60}, ["--target", "kind"], 'column "kind": expected at least two classes, got none'),
        (
            {"kind": [i / 7 for i in range(60)]},
            ["--target", "kind"],
            "got 60 different values in 60 rows; tinyrs does not predict continuous values",
        ),
        (
            {"width": [*range(15), "abc", *range(44)]},
            ["--target", "kind"],
            'row 17, column "width": expected a number, as in all but 1 row '
            "(correct it, or use --categorical width; if it means a missing value: --missing abc), got 'abc'",
        ),
        ({"width": [*range(59), "inf"]}, ["--target", "kind"], 'row 61, column "width": expected'),
    ],
)
def test_tables_with_wrong_values_are_rejected(
    tinyrs_cli: Run, change: dict[str, list[Any]], args: list[str], message: str
) -> None:
    done = train(tinyrs_cli, csv_text({**flowers(60), **change}), *args)
    assert done.status == 1
    assert message in done.err
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "args", "status", "message"),
    [
        ("", ["--target", "y"], 1, "data.csv: expected a header and rows, got an empty file"),
        ("x,y\n", ["--target", "y"], 1, "data.csv: expected rows, got only a header"),
        (
            "x,y\n1,a\n2,b\n",
            ["--target", "y"],
            1,
            "2 rows are too few to hold some out: measure with --valid FILE",
        ),
        ("y\na\nb\n", ["--target", "y"], 1, "expected columns besides the target, got none"),
        ("x,y\n1,a\n", [], 2, "expected --target COLUMN, one of x, y"),
        ("x,y\n1,a\n", ["--target", "y", "--drop", "y"], 2, "--drop y: the target cannot be dropped"),
        ("1,2\n3,4\n", ["--target", "y"], 1, "if it is not a header, use --no-header"),
    ],
)
def test_files_without_enough_rows_or_columns_are_rejected(
    tinyrs_cli: Run, text: str, args: list[str], status: int, message: str
) -> None:
    done = train(tinyrs_cli, text, *args)
    assert done.status == status
    assert message in done.err


def test_the_output_path_is_checked_before_training(tinyrs_cli: Run) -> None:
    Path("data.csv").write_text(csv_text(flowers(60)))
    os.mkdir("folder")
    for output, message in [
        ("folder", "expected a file to write to, got a folder"),
        ("no/m", "no' does not exist"),
    ]:
        done = tinyrs_cli("train", "data.csv", "--target", "kind", "-o", output)
        assert (done.status, message in done.err, done.out) == (1, True, "")


@pytest.mark.parametrize("name", ["data.parquet", "data.npz"])
def test_files_whose_content_does_not_match_their_suffix_are_rejected(tinyrs_cli: Run, name: str) -> None:
    Path(name).write_bytes(b"neither Parquet nor NPZ")
    done = tinyrs_cli("train", name, "--target", "y", "-o", "m")
    assert done.status == 1
    assert done.err.startswith(f"tinyrs: {name}: not a")
    assert (
        tinyrs_cli("train", "nowhere.csv", "--target", "y", "-o", "m").err
        == "tinyrs: nowhere.csv: no such file\n"
    )


def test_ctrl_c_keeps_the_old_model(tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    Path("model.safetensors").write_bytes(b"old")
    monkeypatch.setattr("tinyrs.classifier.TinyClassifier.fit", interrupt)
    done = train(tinyrs_cli, csv_text(flowers(60)), "--target", "kind")
    assert (done.status, done.err) == (130, "tinyrs: interrupted\n")
    assert Path("model.safetensors").read_bytes() == b"old"
