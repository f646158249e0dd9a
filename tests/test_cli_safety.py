"""What the program must not do: lose its inputs, leave files behind, or pass control characters on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tinyrs
from conftest import Run, csv_text, flowers
from tinyrs.cli.output import printable
from tinyrs.cli.paths import check_files

# Outputs that are inputs


@pytest.fixture
def files(tinyrs_cli: Run, flower_model: Path) -> dict[str, bytes]:
    """A table, a model and a plan in the present folder, and links to the table."""
    Path("data.csv").write_text(csv_text(flowers(60)))
    Path("model").write_bytes(flower_model.read_bytes())
    Path("plan.yaml").write_text(
        "version: 2\nbenchmark:\n  nepochs: 1\n  shape: {layers: 1, dimension: 8}\n"
        "  math: {precision: f32, activation: sigmoid}\n  output: {json: ./plan.yaml}\n"
    )
    os.symlink("data.csv", "symbolic")
    os.link("data.csv", "hard")
    os.mkdir("folder")
    return {name: Path(name).read_bytes() for name in ("data.csv", "model", "plan.yaml")}


@pytest.mark.parametrize(
    "command",
    [
        "train data.csv --target kind -o data.csv",
        "train data.csv --target kind -o ./data.csv",
        "train data.csv --target kind -o folder/../data.csv",
        "train data.csv --target kind -o symbolic",
        "train symbolic --target kind -o hard",
        "train data.csv --target kind --valid model -o model",
        "train data.csv --target kind -o m --report data.csv",
        "train data.csv --target kind -o m --report ./m",
        "train data.csv --target kind -o model --report model",
        "predict model data.csv -o model",
        "predict model data.csv -o hard",
        "export model --to c -o model",
        "export model --to onnx -o ./model",
        "bench plan.yaml",
    ],
)
def test_an_output_that_is_an_input_is_refused(
    tinyrs_cli: Run, files: dict[str, bytes], command: str
) -> None:
    before = set(os.listdir())
    done = tinyrs_cli(*command.split())
    assert done.status == 2
    assert re.fullmatch(
        r"tinyrs: \S+: expected another output file, because \S+ is (read from|written to) it\n", done.err
    )
    assert {name: Path(name).read_bytes() for name in files} == files
    assert set(os.listdir()) == before


def test_standard_input_and_output_are_compared_too(files: dict[str, bytes]) -> None:
    for args in (["-", "-o", "data.csv"], ["data.csv"]):
        with open("data.csv", "rb") as stdin, open("data.csv", "ab") as append:
            done = subprocess.run(
                [sys.executable, "-m", "tinyrs", "predict", "model", *args],
                stdin=stdin,
                stdout=append if len(args) == 1 else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert (done.returncode, done.stderr.count("expected another output file")) == (2, 1)
    assert Path("data.csv").read_bytes() == files["data.csv"]


def test_one_device_may_be_named_twice() -> None:
    check_files([os.devnull, None], [os.devnull, os.devnull])


# Signals


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for another process")
@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGTERM, 143, b"tinyrs: terminated\n"),
        (signal.SIGHUP, 129, b"tinyrs: terminated\n"),
        (signal.SIGINT, 130, b"tinyrs: interrupted\n"),
    ],
)
def test_a_signal_leaves_no_file(
    tmp_path: Path, flower_model: Path, number: signal.Signals, status: int, message: bytes
) -> None:
    command = [sys.executable, "-m", "tinyrs", "predict", str(flower_model), "-", "-o", "out.csv"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        # nohup, for one, starts its children with SIGHUP ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(csv_text(flowers(100_000)).encode())
        process.stdin.flush()
        # Wait until it has created its temporary file; it then waits for more input.
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(30) == status
        assert process.stderr.read() == message
    assert list(tmp_path.iterdir()) == []


# Characters


HOSTILE = "\x1b]0;title\x07\x1b[31mred\u202e\nline"
ESCAPED = r"\x1b]0;title\x07\x1b[31mred\u202e\nline"


def test_control_characters_are_escaped() -> None:
    assert printable(HOSTILE) == ESCAPED
    assert printable("Grün, 東京, naïve €") == "Grün, 東京, naïve €"
    assert printable("\ud800\x00\x9b") == r"\ud800\x00\x9b"


def test_names_from_files_do_not_reach_the_terminal_raw(tinyrs_cli: Run) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({HOSTILE: X[:, 0], "colour": np.where(X[:, 0] > 0, HOSTILE, "b")})
    frame["kind"] = np.where(X[:, 0] > 0, HOSTILE, "a")
    frame.to_csv("data.csv", index=False)
    quick = ["--hidden", "4", "--epochs", "2"]
    outputs = [
        tinyrs_cli("train", "data.csv", "--target", "kind", "-o", "m", *quick),
        tinyrs_cli("info", "m"),
        tinyrs_cli("evaluate", "m", "data.csv"),
        tinyrs_cli("train", "data.csv", "--target", "kin", "-o", "m", *quick),
        tinyrs_cli("train", "data.csv", "--target", HOSTILE + "x", "-o", "m", *quick),
        tinyrs_cli("train", "data.csv", "-o", "m", *quick),
        tinyrs_cli("train", "data.csv", "-o", "m", HOSTILE),
    ]
    tinyrs.TinyClassifier((4,), max_iter=2).fit(frame[[HOSTILE]], frame["kind"]).save("m")
    Path("other.csv").write_text("a,b\n1,2\n")
    outputs += [tinyrs_cli("predict", "m", "other.csv"), tinyrs_cli("predict", "m", "m\x1b[2J")]
    assert [done.status for done in outputs] == [0, 0, 0, 1, 1, 2, 2, 1, 1]
    for done in outputs:
        assert re.search(r"[^\n\x20-\x7e]", done.out + done.err) is None
    for done in outputs[:3]:
        assert ESCAPED[:12] in done.out


def test_escape_formulas_makes_text_safe_for_spreadsheets(tinyrs_cli: Run) -> None:
    labels = ["=1+2", "@x"]
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    table = {"x": (y + 0.3 * rng.normal(size=100) - 0.5).round(2).tolist(), "y": [labels[i] for i in y]}
    Path("data.csv").write_text(csv_text(table))
    done = tinyrs_cli("train", "data.csv", "--target", "y", "-o", "m", "--hidden", "4", "--epochs", "9")
    assert done.status == 0, done.err
    text = "x,note\n-1.5,-cmd\n+2e0,=A1\n1,\n"
    plain = tinyrs_cli("predict", "m", "-", "--proba", stdin=text.encode()).out.splitlines()
    assert plain[0] == "x,note,label,probability,probability_=1+2,probability_@x"
    assert plain[1].startswith("-1.5,-cmd,=1+2,")
    safe = tinyrs_cli("predict", "m", "-", "--escape-formulas", stdin=text.encode()).out.splitlines()
    assert safe[1].startswith("-1.5,'-cmd,'=1+2,")
    assert safe[2].startswith("+2e0,'=A1,'@x,")
    assert safe[3].startswith("1,,'@x,")
