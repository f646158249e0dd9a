"""CSV as people have it: encodings, compression, delimiters, decimal commas, missing values, no header."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tinyrs
from conftest import Run, csv_text
from tinyrs.cli import text_stream
from tinyrs.predictor import Predictor

QUICK = ["--hidden", "8", "--epochs", "3"]


def table(rows: int = 120) -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    return {
        "size": np.round(1500 * y + rng.normal(2000, 900, rows), 2).tolist(),
        "town": np.array(["Zürich", "Genève"])[(y + (rng.random(rows) < 0.2)) % 2].tolist(),
        "kind": np.array(["größer", "kleiner"])[y].tolist(),
    }


def spelled(value: float, *, decimal: str = ".", thousands: str = "", unit: str = "") -> str:
    text = f"{value:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands)
    return f"{text} {unit}".strip()


def columns(model: str | Path) -> tuple[Any, ...]:
    """What the preprocessing learnt, which is equal for equal tables."""
    predictor = tinyrs.load(model)
    assert isinstance(predictor, Predictor)
    assert predictor.preprocessor is not None
    return predictor.preprocessor.numbers, predictor.preprocessor.categories, predictor.classes_.tolist()


@pytest.fixture
def expected(tinyrs_cli: Run) -> tuple[Any, ...]:
    """The columns of a model that was trained on `table()` as plain CSV."""
    Path("plain.csv").write_text(csv_text(table()), encoding="utf-8")
    done = tinyrs_cli("train", "plain.csv", "--target", "kind", "-o", "plain", *QUICK)
    assert (done.status, done.err) == (0, "")
    return columns("plain")


def same_everywhere(run: Run, expected: tuple[Any, ...], name: str, *options: str) -> str:
    """Trains on a file and evaluates on it without the options; returns what `train` printed about it."""
    done = run("train", name, "--target", "kind", "-o", "m", *QUICK, *options)
    assert done.status == 0, done.err
    assert columns("m") == expected
    again = run("evaluate", "m", name, "--json")
    assert again.status == 0, again.err
    assert again.json["rows"] == 120
    return f"{done.err}{done.out}"


# Bytes


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_detected_and_named(
    tinyrs_cli: Run, expected: tuple[Any, ...], encoding: str, message: str
) -> None:
    Path("data.csv").write_text(csv_text(table()), encoding=encoding)
    printed = same_everywhere(tinyrs_cli, expected, "data.csv")
    warning = f"data.csv: read as {message}, because it is not UTF-8; for another encoding, use --encoding\n"
    assert printed.startswith(f"tinyrs: {warning}" if message else "data.csv: 120 rows")


def test_an_encoding_can_be_given_and_is_kept_in_the_model(tinyrs_cli: Run) -> None:
    greek = {**table(), "town": ["Αθήνα", "Σπάρτα"] * 60}
    Path("data.csv").write_text(csv_text({**greek, "kind": ["a", "b"] * 60}), encoding="cp1253")
    args = ["--target", "kind", "-o", "m", *QUICK]
    assert tinyrs_cli("train", "data.csv", *args, "--encoding", "windows-1253").status == 0
    assert sorted(tinyrs_cli("info", "m", "--json").json["columns"][1]["categories"]) == ["Αθήνα", "Σπάρτα"]
    out = tinyrs_cli("predict", "m", "data.csv").out
    assert "Αθήνα" in out
    done = tinyrs_cli("predict", "m", "data.csv", "--encoding", "ascii")
    assert done.status == 1
    assert "expected text in the encoding ascii, got the byte 0x" in done.err
    assert "expected an encoding such as" in tinyrs_cli("train", "data.csv", *args, "--encoding", "x").err


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/data.csv", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("gz", gzip.compress),
        ("gz", lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:])),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
        ("zip", zipped),
        ("csv", gzip.compress),  # by its first bytes
    ],
)
def test_compressed_files(
    tinyrs_cli: Run, expected: tuple[Any, ...], suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(csv_text(table()).encode())
    Path(f"data.{suffix}").write_bytes(data)
    assert same_everywhere(tinyrs_cli, expected, f"data.{suffix}").startswith(f"data.{suffix}: 120 rows")
    # A damaged file is one line.
    Path(f"data.{suffix}").write_bytes(data[: len(data) // 2])
    done = tinyrs_cli("predict", "m", f"data.{suffix}", "-o", "out.csv")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert f"data.{suffix}: " in done.err
    assert not Path("out.csv").exists()


def test_text_is_decoded_across_blocks(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, expected: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(text_stream, "HEAD", 101)
    for encoding in ("utf-16", "cp1252"):
        Path("data.csv.gz").write_bytes(gzip.compress(csv_text(table()).encode(encoding)))
        same_everywhere(tinyrs_cli, expected, "data.csv.gz", "--encoding", encoding)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)) * 4, "expected a table as text (CSV), got binary data"),
        (bytes(range(1, 256)) * 4, "got binary data or an unknown encoding: if it is text, use --encoding"),
        (b"PAR1\0\0", "got a Parquet file: rename it to .parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "got an Excel workbook: save it as CSV"),
        (b"SQLite format 3\0", "got an SQLite database"),
        (b"a,kind\n1,x\0\n2,y\n", "got binary data"),
        (b'a,kind\n1,"x\n2,y\n3,x\n', "got"),
        (b"a,kind\n" + b"1" * 3_000_000 + b",x\n", "a row is longer than 1 MiB"),
        (b"a,a,kind\n1,2,x\n", 'column names must be unique, but "a" occurs more than once'),
        (b"a, a,kind\n1,2,x\n", 'column names must be unique, but "a" occurs more than once'),
        (b"a,kind\n1,x\n2\n3,y\n", "row 3: expected 2 columns as in the header, got 1"),
        (b"\n\n \n", "expected a header and rows, got an empty file"),
    ],
)
def test_files_that_are_not_tables_give_one_line(tinyrs_cli: Run, content: bytes, message: str) -> None:
    Path("data.csv").write_bytes(content)
    done = tinyrs_cli("train", "data.csv", "--target", "kind", "-o", "m", *QUICK)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert done.err.startswith("tinyrs: data.csv: ")
    assert message in done.err


def test_an_archive_must_hold_one_table(tinyrs_cli: Run) -> None:
    for names, message in [
        ([], "expected one file in the zip archive, got none"),
        (["a.csv", "b.csv"], "expected one file in the zip archive, got 2"),
        (["[Content_Types].xml", "xl/workbook.xml"], "got an Excel workbook: save it as CSV"),
    ]:
        with zipfile.ZipFile("data.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "a,b\n1,2\n")
        done = tinyrs_cli("train", "data.zip", "--target", "a", "-o", "m")
        assert (done.status, done.err.count("\n")) == (1, 1)
        assert message in done.err


def test_nothing_is_printed_about_ignored_exceptions(tmp_path: Path) -> None:
    """At the end of the process too, when readers that were not read to their end are destroyed."""
    (tmp_path / "bits").write_bytes(b"a,kind\n" + b"1,x\n" * 400_000 + b"\xff\n" + b"1,x\n" * 400_000)
    (tmp_path / "gz").write_bytes(gzip.compress((tmp_path / "bits").read_bytes())[:-2000])
    code = (
        "import sys; from tinyrs.cli.main import main;"
        "sys.exit(sum(main(['train', name, '--target', 'kind', '-o', 'm']) for name in sys.argv[1:]))"
    )
    command = [sys.executable, "-X", "dev", "-c", code, "bits", "gz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"(tinyrs: (bits|gz): .*\n){2}", done.stderr), done.stderr


# Values


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(tinyrs_cli: Run, expected: tuple[Any, ...], delimiter: str) -> None:
    Path("data.csv").write_text(csv_text(table(), delimiter))
    same_everywhere(tinyrs_cli, expected, "data.csv")
    # The output has the delimiter of the input.
    out = tinyrs_cli("predict", "m", "data.csv").out
    assert out.startswith(delimiter.join(["size", "town", "kind", "label", "probability"]) + "\n")


def test_text_with_other_delimiters_does_not_confuse_the_detection(tinyrs_cli: Run) -> None:
    Path("data.csv").write_text("name;a,n,kind\n" + '"x;y\nz",1,a\n"u;v",2,b\n' * 20)
    done = tinyrs_cli("train", "data.csv", "--target", "kind", "-o", "m", *QUICK)
    assert done.status == 0, done.err
    assert "data.csv: 40 rows, 2 columns\n  name;a  2 categories: " in done.out


@pytest.mark.parametrize(
    ("spelling", "options", "hint"),
    [
        ({"decimal": ","}, ["--decimal", ","], "numbers with a decimal comma: --decimal ,"),
        (
            {"decimal": ",", "thousands": "."},
            ["--decimal", ",", "--thousands", "."],
            "numbers with a decimal comma and dots between thousands: --decimal , --thousands .",
        ),
        ({"thousands": ","}, ["--thousands", ","], "numbers with commas between thousands: --thousands ,"),
        ({"thousands": "'"}, ["--thousands", "'"], ""),
        ({"thousands": "\u202f", "decimal": ","}, ["--decimal", ",", "--thousands", " "], ""),
        ({"unit": "€"}, ["--strip", "€"], "numbers with a unit: --strip '%$€£¥'"),
        (
            {"thousands": ",", "unit": "%"},
            ["--strip", "%", "--thousands", ","],
            "numbers with a unit and commas between thousands: --strip '%$€£¥' --thousands ,",
        ),
    ],
)
def test_numbers_of_other_countries(
    tinyrs_cli: Run, expected: tuple[Any, ...], spelling: dict[str, str], options: list[str], hint: str
) -> None:
    changed = {**table(), "size": [spelled(value, **spelling) for value in table()["size"]]}
    Path("data.csv").write_text(csv_text(changed, ";"))
    assert " numbers from " in same_everywhere(tinyrs_cli, expected, "data.csv", *options)
    # `predict` writes the numbers as they were, and the format can be overridden.
    out = list(csv.DictReader(io.StringIO(tinyrs_cli("predict", "m", "data.csv").out), delimiter=";"))
    assert [row["size"] for row in out] == changed["size"]
    plain = ["--decimal", ".", "--thousands", "", "--strip", "", "--delimiter", ","]
    assert tinyrs_cli("evaluate", "m", "plain.csv", *plain).status == 0
    # Without the options there is a hint.
    done = tinyrs_cli("train", "data.csv", "--target", "kind", "-o", "m", *QUICK)
    assert hint in done.out


def test_a_decimal_point_where_a_comma_is_expected_is_an_error(tinyrs_cli: Run) -> None:
    Path("data.csv").write_text("a;kind\n" + "1,5;x\n2,5;y\n" * 30)
    args = ["train", "data.csv", "--target", "kind", "-o", "m", "--decimal", ",", *QUICK]
    assert tinyrs_cli(*args).status == 0
    Path("new.csv").write_text("a;kind\n1,5;x\n1.500;y\n")
    done = tinyrs_cli("predict", "m", "new.csv")
    assert done.status == 1
    assert (
        "new.csv: row 3, column \"a\": expected a number with --decimal ','; if it separates thousands: "
        "--thousands '.', got '1.500'\n"
    ) in done.err


def test_missing_values(tinyrs_cli: Run) -> None:
    changed = table()
    for i in range(0, 120, 3):
        changed["size"][i], changed["town"][i] = "-", "unknown"
    Path("data.csv").write_text(csv_text(changed))
    args = ["train", "data.csv", "--target", "kind", "-o", "m", *QUICK]
    assert "numbers except '-' in 40 rows: --missing -\n" in tinyrs_cli(*args).out
    done = tinyrs_cli(*args, "--missing", "unknown,-", "--json")
    assert [(c["kind"], c["missing"]) for c in done.json["columns"]] == [("numbers", 40), ("categories", 40)]
    assert tinyrs_cli("info", "m", "--json").json["training"]["csv"] == {"missing": ["unknown", "-"]}
    out = tinyrs_cli("predict", "m", "data.csv").out
    assert "\n-,unknown," in out
    assert tinyrs_cli("predict", "m", "data.csv", "--missing", "").status == 1
    # In a target, they are rows without a label.
    changed["kind"][:30] = ["-"] * 30
    Path("data.csv").write_text(csv_text(changed))
    assert "30 rows without a value in kind skipped" in tinyrs_cli(*args, "--missing", "-,unknown").err + (
        tinyrs_cli(*args, "--missing=-,unknown").out
    )


def test_a_file_without_a_header(tinyrs_cli: Run) -> None:
    changed = {"kind": table()["kind"], **table()}
    text = csv_text(changed).partition("\n")[2]
    Path("data.csv").write_text(text)
    args = ["train", "data.csv", "-o", "m", "--no-header", *QUICK]
    assert "expected --target COLUMN, one of x0, x1, x2" in tinyrs_cli(*args).err
    done = tinyrs_cli(*args, "--target", "x0")
    assert done.status == 0, done.err
    assert "data.csv: 120 rows, 2 columns" in done.out
    assert tinyrs_cli("evaluate", "m", "data.csv", "--json").json["rows"] == 120
    out = tinyrs_cli("predict", "m", "data.csv").out.splitlines()
    # The output has no header either.
    assert len(out) == 120
    assert out[0].startswith(text.partition("\n")[0] + ",")
    # New rows have no target: their columns are matched by position.
    rest = "\n".join(line.partition(",")[2] for line in text.splitlines())
    without = tinyrs_cli("predict", "m", "-", stdin=rest.encode()).out.splitlines()
    assert [line.split(",")[-2:] for line in without] == [line.split(",")[-2:] for line in out]


def test_spaces_around_column_names_are_removed(tinyrs_cli: Run, expected: tuple[Any, ...]) -> None:
    spaced = {f" {name} ": values for name, values in table().items()}
    Path("data.csv").write_text(csv_text(spaced))
    same_everywhere(tinyrs_cli, expected, "data.csv")


def test_the_format_in_a_model_file_is_checked(tinyrs_cli: Run, expected: tuple[Any, ...]) -> None:
    predictor = tinyrs.load("plain")
    assert isinstance(predictor, Predictor)
    for record in [{"delimiter": 5}, {"x": 1}, {"missing": [1]}, {"header": "no"}, [1], {"encoding": "hex"}]:
        predictor.training["csv"] = record
        predictor.save("m")
        done = tinyrs_cli("predict", "m", "plain.csv")
        assert done.status == 1
        assert done.err == "tinyrs: m: the model file describes CSV files in an unknown way\n"


# Damage by chance


@pytest.mark.parametrize("seed", range(25))
def test_damaged_files_never_give_a_traceback(tinyrs_cli: Run, flower_model: Path, seed: int) -> None:
    """Bytes are changed, removed and repeated. Every outcome is success, or one line for the user."""
    rng = random.Random(seed)
    kind = rng.choice(["csv", "gz", "zip", "xz", "parquet", "npz"])
    text = csv_text({"length": [1, 2] * 20, "width": [3, None] * 20, "colour": ["red", "é"] * 20})
    data = bytearray(make(kind, text))
    for _ in range(rng.randint(1, 6)):
        at, size = rng.randrange(len(data)), rng.randint(1, 9)
        data[at : at + size] = rng.choice(
            [b"", b"\0", b'"', b"\xff\xfe", b"\n,;\t", rng.randbytes(size), bytes(data[at : at + 40])]
        )
    Path(f"data.{kind}").write_bytes(data)
    done = tinyrs_cli("predict", flower_model, f"data.{kind}", "-o", "out.csv")
    assert done.status in (0, 1)
    lines = done.err.splitlines()
    assert all(line.startswith("tinyrs: ") for line in lines)
    assert len(lines) <= 8
    assert (done.status == 0) == Path("out.csv").exists()
    assert "bug" not in done.err


def make(kind: str, text: str) -> bytes:
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    data, stream = text.encode(), io.BytesIO()
    if kind == "parquet":
        parquet.write_table(arrow_csv.read_csv(io.BytesIO(data)), stream)
    elif kind == "npz":
        np.savez(stream, X=np.arange(60.0).reshape(20, 3), y=np.arange(20))
    else:
        compress: dict[str, Callable[[bytes], bytes]] = {
            "gz": gzip.compress,
            "zip": zipped,
            "xz": lzma.compress,
            "csv": bytes,
        }
        return compress[kind](data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((4, 2)), "y": np.ones(4) * 1j}, "y: expected labels, such as integers or text"),
        ({"X": np.ones((4, 2)) * 1j}, "X: expected numbers of shape (rows, columns), got complex128"),
        ({"X": np.array([[{}]])}, "not an NPZ file with arrays that can be read"),
        ({"X": np.ones((4, 2)), "y": np.array([None] * 4)}, "not an NPZ file with arrays that can be read"),
        ({"X": np.ones(())}, "X: expected numbers of shape"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "expected rows, got none"),
        ({"X": np.ones((4, 2)), "y": np.zeros(4, [("a", int)])}, "labels"),
        ({"X": np.ones((4, 0)), "y": np.arange(4)}, "expected columns besides the target"),
        ({"z": np.ones(3)}, "expected an array X, got z"),
    ],
)
def test_npz_files_with_wrong_arrays_give_one_line(
    tinyrs_cli: Run, arrays: dict[str, Any], message: str
) -> None:
    np.savez("data.npz", **arrays)
    done = tinyrs_cli("train", "data.npz", "-o", "m", *QUICK)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert message in done.err
