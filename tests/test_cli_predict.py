"""`tinyrs predict`: writes its input unchanged plus the predictions, in constant memory."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
import tinyrs
from conftest import Run, csv_text, flowers
from pyarrow import parquet
from tinyrs.cli import csv_reader, text_stream
from tinyrs.predictor import Predictor

TABLE = flowers(400, seed=2)
FEATURES = ("length", "width", "colour")


def expected(model: Path, table: dict[str, list[Any]] = TABLE) -> npt.NDArray[Any]:
    """The probabilities that Predictor.predict_proba gives in Python."""
    predictor = tinyrs.load(model)
    assert isinstance(predictor, Predictor)
    return predictor.predict_proba(np.array([table[name] for name in FEATURES], dtype=object).T)


def check(rows: list[dict[str, str]], p: npt.NDArray[Any], prefix: str = "") -> None:
    assert [int(row[f"{prefix}label"]) for row in rows] == (p.argmax(axis=1) + 9).tolist()
    assert np.array([float(row[f"{prefix}probability"]) for row in rows]) == pytest.approx(
        p.max(axis=1), rel=1e-5
    )


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_input_columns_are_written_unchanged(tinyrs_cli: Run, tmp_path: Path, flower_model: Path) -> None:
    text = csv_text(TABLE)
    (tmp_path / "new.csv").write_text(text)
    done = tinyrs_cli("predict", flower_model, "new.csv", "-o", "out.csv")
    assert (done.status, done.out, done.err) == (0, "400 rows written to out.csv\n", "")
    rows = read(Path("out.csv").read_text())
    check(rows, expected(flower_model))
    for row, before in zip(rows, read(text), strict=True):
        assert {name: row[name] for name in before} == before
    assert rows[7]["id"] == "0007"


def test_values_are_quoted_only_if_necessary(tinyrs_cli: Run, tmp_path: Path, flower_model: Path) -> None:
    header = "id,note,length,width,colour,when"
    lines = ["007,,1.50,+2e0,red,2026-01-31", '008,"",NA, 3 ,,N/A']
    (tmp_path / "new.csv").write_text("\n".join([header, *lines]) + "\n")
    done = tinyrs_cli("predict", flower_model, "new.csv")
    assert done.status == 0, done.err
    out = done.out.splitlines()
    assert out[0] == header + ",label,probability"
    assert out[1].startswith(lines[0] + ",")
    assert out[2].startswith("008,,NA, 3 ,,N/A,")


def test_standard_input_and_output_with_the_probability_of_each_class(
    tinyrs_cli: Run, flower_model: Path
) -> None:
    done = tinyrs_cli("predict", flower_model, "-", "--proba", stdin=csv_text(TABLE).encode())
    assert done.status == 0, done.err
    rows, p = read(done.out), expected(flower_model)
    check(rows, p)
    found = [[float(row[f"probability_{name}"]) for name in (9, 10, 11)] for row in rows]
    assert np.array(found) == pytest.approx(p, rel=1e-5)


@pytest.mark.parametrize("block", [300, 1000, 1 << 20])
def test_rows_keep_their_order_for_any_block_size(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, flower_model: Path, block: int
) -> None:
    monkeypatch.setattr(csv_reader, "CSV_BLOCK", block)
    monkeypatch.setattr(text_stream, "HEAD", block)
    table = {
        **TABLE,
        "colour": [f"{c}\nof two lines" if i % 7 == 0 else c for i, c in enumerate(TABLE["colour"])],
    }
    text = csv_text(table)
    done = tinyrs_cli("predict", flower_model, "-", "--threads", "3", stdin=text.encode())
    assert done.status == 0, done.err
    check(read(done.out), expected(flower_model, table))
    assert [row["colour"] for row in read(done.out)] == table["colour"]


def test_other_delimiters(tinyrs_cli: Run, tmp_path: Path, flower_model: Path) -> None:
    (tmp_path / "new.tsv").write_text(csv_text(TABLE, "\t"))
    done = tinyrs_cli("predict", flower_model, "new.tsv", "-o", "out.csv")
    assert done.status == 0, done.err
    assert Path("out.csv").read_text().startswith("id\tlength\t")
    done = tinyrs_cli("predict", flower_model, "-", "--delimiter", ";", stdin=csv_text(TABLE, ";").encode())
    check(list(csv.DictReader(io.StringIO(done.out), delimiter=";")), expected(flower_model))


def test_parquet_columns_keep_their_types(tinyrs_cli: Run, flower_model: Path) -> None:
    extra = {
        "when": pd.date_range("2026-01-01", periods=400),
        "many": [[1, 2]] * 400,
        "ok": [True, None] * 200,
    }
    table = pa.table({**TABLE, **extra})
    table = table.set_column(3, "colour", table["colour"].dictionary_encode())
    parquet.write_table(table, "new.parquet")
    done = tinyrs_cli("predict", flower_model, "new.parquet", "-o", "out.parquet")
    assert done.status == 0, done.err
    out = parquet.read_table("out.parquet")
    assert out.drop_columns(["label", "probability"]).equals(table)
    assert out["probability"].to_numpy() == pytest.approx(expected(flower_model).max(axis=1), rel=1e-5)
    # CSV cannot store a list.
    done = tinyrs_cli("predict", flower_model, "new.parquet", "-o", "out.csv")
    assert done.status == 1
    assert 'CSV cannot store the nested columns "many" (list<' in done.err
    parquet.write_table(table.drop_columns(["many"]), "new.parquet")
    done = tinyrs_cli("predict", flower_model, "new.parquet", "-o", "out.csv")
    assert done.status == 0, done.err
    check(read(Path("out.csv").read_text()), expected(flower_model))


def test_a_table_without_rows_gives_a_header(tinyrs_cli: Run, flower_model: Path) -> None:
    done = tinyrs_cli("predict", flower_model, "-", stdin=b"length,width,colour\n")
    assert (done.status, done.out) == (0, "length,width,colour,label,probability\n")


def test_a_column_named_like_an_added_one_is_an_error_without_prefix(
    tinyrs_cli: Run, flower_model: Path
) -> None:
    text = csv_text({**TABLE, "label": list(range(400))}).encode()
    done = tinyrs_cli("predict", flower_model, "-", stdin=text)
    assert done.status == 1
    assert 'the table already has a column "label"' in done.err
    done = tinyrs_cli("predict", flower_model, "-", "--prefix", "our_", stdin=text)
    check(read(done.out), expected(flower_model), "our_")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "standard input: expected a header and rows, got an empty file"),
        ("length,width\n1,2\n", "missing columns: \"colour\": expected one of 'length', 'width'"),
        ("length,width,color\n1,2,red\n", "missing columns: \"colour\": did you mean 'color'?"),
        ("length,width,colour\n1,2,red\n1,x,red\n", "row 3, column \"width\": expected a number, got 'x'"),
        (
            "length,width,colour\n1,2,red\n1,inf,red\n",
            "row 3, column \"width\": expected a finite number, got 'inf'",
        ),
        ("length,width,colour\n1,2,red\n1,2\n", "row 3: expected 3 columns as in the header, got 2"),
        ("length,width,width\n1,2,3\n", 'column names must be unique, but "width" occurs more than once'),
    ],
)
def test_errors_contain_row_and_column(
    tinyrs_cli: Run, tmp_path: Path, flower_model: Path, text: str, message: str
) -> None:
    done = tinyrs_cli("predict", flower_model, "-", "-o", "out.csv", stdin=text.encode())
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_not_utf_8_after_the_first_megabyte_are_an_error(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, flower_model: Path
) -> None:
    monkeypatch.setattr(text_stream, "HEAD", 24)
    done = tinyrs_cli("predict", flower_model, "-", stdin=b"length,width,colour\n1,2,r\xf6d\n")
    assert done.status == 1
    assert 'column "colour": expected UTF-8 text, got other bytes: use --encoding' in done.err


def test_the_row_number_in_an_error_counts_all_blocks(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, flower_model: Path
) -> None:
    monkeypatch.setattr(csv_reader, "CSV_BLOCK", 500)
    lines = csv_text(TABLE).splitlines()
    lines[299] = "0299,abc,1,red,9"
    done = tinyrs_cli("predict", flower_model, "-", stdin="\n".join(lines).encode())
    assert done.err.endswith("row 300, column \"length\": expected a number, got 'abc'\n")


def test_json_needs_an_output_file(tinyrs_cli: Run, flower_model: Path) -> None:
    done = tinyrs_cli("predict", flower_model, "-", "--json", stdin=csv_text(TABLE).encode())
    assert done.status == 2
    done = tinyrs_cli("predict", flower_model, "-", "--json", "-o", "out.csv", stdin=csv_text(TABLE).encode())
    assert done.json == {"rows": 400, "output": "out.csv", "skipped": [], "warnings": []}


@pytest.mark.filterwarnings("ignore:.*consider dropping:UserWarning")
@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3, 7, 11], ["3", "7", "11"]),
        ([1.0, 2.5, 4.0], ["1", "2.50", "4.0"]),
        ([True, False, None], ["true", "False", ""]),
        (["a", "b", None], ["a", "b", ""]),
        ([f"n{i}" for i in range(400)], [f"n{i}" for i in range(400)]),
    ],
)
def test_text_matches_the_categories_of_any_python_type(
    tinyrs_cli: Run, values: list[Any], texts: list[str]
) -> None:
    """A model trained in Python on integers, floats or booleans predicts a CSV file of their text."""
    rng = np.random.default_rng(0)
    places = np.arange(400) if len(values) == 400 else rng.integers(0, len(values), 400)
    column = np.array(values, dtype=object)[places]
    y = np.where(places % len(values) == 0, "yes", "no")
    y[1] = "yes"
    X = pd.DataFrame({"c": pd.Series(column, dtype=object), "n": rng.normal(size=400)})
    model = tinyrs.TinyClassifier((8,), max_iter=5, categorical_features=["c"], random_state=0).fit(X, y)
    model.save("m")
    table = {"c": [texts[i] for i in places], "n": X["n"].tolist()}
    done = tinyrs_cli("predict", "m", "-", stdin=csv_text(table).encode())
    assert done.status == 0, done.err
    p = np.array([float(row["probability"]) for row in read(done.out)])
    assert p == pytest.approx(model.predict_proba(X).max(axis=1), rel=1e-5)


def test_a_model_trained_on_an_array_matches_columns_by_position(tinyrs_cli: Run) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    model = tinyrs.TinyClassifier((8,), max_iter=3, random_state=0).fit(X, X[:, 0] > 0)
    model.save("m")
    np.savez("new.npz", X=X, y=X[:, 0] > 0)
    done = tinyrs_cli("predict", "m", "new.npz")
    assert done.status == 0, done.err
    assert np.array([row["label"] for row in read(done.out)]).tolist() == [
        str(v).lower() for v in model.predict(X)
    ]
    accuracy = tinyrs_cli("evaluate", "m", "new.npz", "--target", "y", "--json").json["accuracy"]
    assert accuracy == pytest.approx(model.score(X, X[:, 0] > 0))
    done = tinyrs_cli("predict", "m", "-", stdin=b"a,b\n1,2\n")
    assert "the model expects 3 columns, got 2" in done.err


# As a separate process


BOUNDED = """
import resource, sys
from tinyrs.cli.main import main

def predict(data):
    return main(["predict", sys.argv[1], data, "-o", "out.csv", "--json", "--threads", "2"])

# Load libraries, start threads and let the allocators reserve memory before the limit is set.
assert predict("small.csv") == 0
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, now + ROOM))
"""
ROOM = 64 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_memory_does_not_grow_with_the_table(tmp_path: Path, flower_model: Path) -> None:
    """With 64 MiB more memory than for a small table, it predicts a table that would need more than that."""
    header, _, body = csv_text(flowers(20_000, seed=3)).partition("\n")
    for name, times in (("small.csv", 5), ("large.csv", 150)):
        with (tmp_path / name).open("w") as file:
            file.write(header + "\n")
            for _ in range(times):
                file.write(body)

    def run(then: str) -> subprocess.CompletedProcess[str]:
        code = BOUNDED.replace("ROOM", str(ROOM)) + then
        command = [sys.executable, "-c", code, str(flower_model)]
        # pyarrow's default pool reserves a gigabyte of address space in advance.
        env = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)

    done = run("raise SystemExit(predict('large.csv'))")
    assert done.returncode == 0, done.stderr
    assert '"rows": 3000000' in done.stdout
    # The limit is low enough: reading the whole table fails.
    done = run("from tinyrs.cli.table_reader import open_table; open_table('large.csv').read_all()")
    assert done.returncode != 0


def test_a_closed_output_pipe_is_not_an_error(tmp_path: Path, flower_model: Path) -> None:
    (tmp_path / "new.csv").write_text(csv_text(flowers(50_000)))
    command = [sys.executable, "-m", "tinyrs", "predict", str(flower_model), "new.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def shifted_lines() -> tuple[list[str], str]:
    """`TABLE` with the same new colour, whose name has an escape character, in each row; and the warning."""
    header, *lines = csv_text(TABLE).splitlines()
    column = header.split(",").index("colour")
    changed = [header]
    for row in csv.reader(lines):
        row[column] = "n\x1b[31mew"
        changed.append(",".join(row))
    return changed, "column 'colour': 400 of 400 values were not seen in training"


@pytest.mark.parametrize("block", [500, 1 << 20])
def test_columns_unlike_those_of_training_are_named(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, flower_model: Path, block: int
) -> None:
    """Once for all blocks of the file together."""
    monkeypatch.setattr(csv_reader, "CSV_BLOCK", block)
    lines, message = shifted_lines()
    data = "\n".join(lines).encode()
    done = tinyrs_cli("predict", flower_model, "-", "-o", "out.csv", stdin=data)
    assert done.err.count(message) == done.err.count("\n") == 1
    done = tinyrs_cli("predict", flower_model, "-", "-o", "out.csv", "--json", stdin=data)
    assert done.json["warnings"] == [message]
    done = tinyrs_cli("evaluate", flower_model, "-", stdin=data)
    assert done.status == 0
    assert done.err.count(message) == done.err.count("\n") == 1
    done = tinyrs_cli("evaluate", flower_model, "-", "--json", stdin=data)
    assert done.json["warnings"] == [message]
    done = tinyrs_cli("evaluate", flower_model, "-", "--json", stdin=csv_text(TABLE).encode())
    assert done.json["warnings"] == []
    assert done.err == ""
