"""The program `tinyrs`: help, errors and exit statuses; the commands evaluate, info, export and bench."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
from conftest import Run, csv_text, flowers
from tinyrs.cli.main import COMMANDS
from tinyrs.cli.output import open_output
from tinyrs.predictor import Predictor


def one_line(err: str) -> bool:
    return err.startswith("tinyrs: ") and err.count("\n") == 1


# The program as a whole


def test_help_lists_the_commands_without_importing_their_dependencies() -> None:
    code = (
        "import sys; from tinyrs.cli.main import main; status = main(['--help']);"
        "heavy = {'pyarrow', 'sklearn', 'PIL', 'tqdm', 'narwhals'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


def test_python_m_tinyrs_runs_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "tinyrs", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"tinyrs {tinyrs.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(tinyrs_cli: Run, command: str) -> None:
    done = tinyrs_cli(*command.split(), "--help")
    assert done.status == 0
    assert f"examples:\n  tinyrs {command} " in done.out
    assert "--json" in done.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "expected a command: train, predict"),
        (["trian"], "unknown command 'trian': did you mean 'train'?"),
        (["train"], "tinyrs train: error: the following arguments are required: data, -o/--output"),
        (["train", "x.csv", "-o", "m", "--epochs", "0"], "expected an integer of at least 1, got '0'"),
        (
            ["train", "x.csv", "-o", "m", "--time-limit", "nan"],
            "expected a number of seconds above 0, got 'nan'",
        ),
        (["predict", "m", "x.csv", "--delimiter", "ab"], "expected one ASCII character or `tab`, got 'ab'"),
        (["export", "m", "--to", "pickle", "-o", "f"], "invalid choice: 'pickle'"),
    ],
)
def test_wrong_usage_gives_exit_status_2(tinyrs_cli: Run, args: list[str], message: str) -> None:
    done = tinyrs_cli(*args)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["info", "predict", "evaluate", "export"])
@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_missing_or_invalid_model_file_is_an_error(
    tinyrs_cli: Run, tmp_path: Path, command: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "m").write_bytes(content)
    more = {"info": [], "export": ["--to", "c", "-o", "f"]}.get(command, ["x.csv"])
    done = tinyrs_cli(command, "m", *more)
    assert done.status == 1
    assert one_line(done.err)
    assert done.err.startswith("tinyrs: m: " if content != b"" else "tinyrs: ")


def test_json_output_of_an_error(tinyrs_cli: Run) -> None:
    done = tinyrs_cli("info", "nowhere", "--json")
    assert done.status == 1
    assert done.json == {"error": "nowhere: No such file or directory"}


def test_a_missing_package_is_named_with_its_extra(tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tinyrs.cli.predict", raising=False)
    monkeypatch.delitem(sys.modules, "tinyrs.cli.table_reader", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = tinyrs_cli("predict", "m", "x.csv")
    assert done.status == 1
    assert "this command needs pyarrow: pip install 'tinyrs[cli]'" in done.err


def test_an_unexpected_exception_is_one_line_that_says_how_to_see_more(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise KeyError("k")

    monkeypatch.setattr(tinyrs, "load", fail)
    done = tinyrs_cli("info", "m")
    assert done.status == 1
    assert one_line(done.err)
    assert "unexpected KeyError: 'k' (a bug in tinyrs: TINYRS_TRACEBACK=1 shows where)" in done.err
    monkeypatch.setenv("TINYRS_TRACEBACK", "1")
    with pytest.raises(KeyError):
        tinyrs_cli("info", "m")


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), open_output(str(path)) as file:
        file.write(b"%d" % (1 // 0))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert path.read_bytes() == b"old"
    with open_output(str(path)) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


# evaluate


def test_evaluate_agrees_with_scikit_learn(tinyrs_cli: Run, tmp_path: Path, flower_model: Path) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

    table = flowers(500, seed=1)
    (tmp_path / "test.csv").write_text(csv_text(table))
    done = tinyrs_cli("evaluate", flower_model, "test.csv", "--target", "kind", "--json")
    assert done.status == 0, done.err
    model = tinyrs.load(flower_model)
    assert isinstance(model, Predictor)
    columns = [table[name] for name in ("length", "width", "colour")]
    p = model.predict_proba(np.array(columns, dtype=object).T)
    y = np.array(table["kind"])
    predicted = model.classes_[p.argmax(axis=1)]
    found = done.json
    assert found["rows"] == 500
    assert found["accuracy"] == accuracy_score(y, predicted) > 0.85
    assert found["log_loss"] == pytest.approx(log_loss(y, p / p.sum(axis=1, keepdims=True)), rel=1e-5)
    assert found["confusion"] == confusion_matrix(y, predicted).tolist()
    precision, recall, *_ = precision_recall_fscore_support(y, predicted)
    assert [c["precision"] for c in found["per_class"]] == pytest.approx(precision)
    assert [c["recall"] for c in found["per_class"]] == pytest.approx(recall)
    confidence, correct = p.max(axis=1), predicted == y
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [
        abs(confidence[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    assert found["calibration_error"] == pytest.approx(sum(gaps), rel=1e-4)


def test_evaluate_prints_a_confusion_matrix_and_finds_the_target_in_the_model_file(
    tinyrs_cli: Run, tmp_path: Path, flower_model: Path
) -> None:
    table = flowers(50, seed=1)
    table["kind"][7] = None
    (tmp_path / "test.csv").write_text(csv_text(table))
    done = tinyrs_cli("evaluate", flower_model, "test.csv")
    assert done.status == 0, done.err
    assert "49 rows of test.csv\n1 rows without a label skipped" in done.out
    assert re.search(r"true / predicted +9 +10 +11\n", done.out)
    assert "precision" in done.out


def test_evaluate_rejects_a_class_unknown_to_the_model(
    tinyrs_cli: Run, tmp_path: Path, flower_model: Path
) -> None:
    table = flowers(50)
    table["kind"][15] = "tulip"
    (tmp_path / "test.csv").write_text(csv_text(table))
    done = tinyrs_cli("evaluate", flower_model, "test.csv")
    assert done.status == 1
    assert done.err == (
        "tinyrs: test.csv: row 17, column \"kind\": expected a class of the model (9, 10, 11), got 'tulip'\n"
    )
    done = tinyrs_cli("evaluate", flower_model, "test.csv", "--target", "Kind")
    assert "no column \"Kind\": did you mean 'kind'?" in done.err


# info


def test_info(tinyrs_cli: Run, flower_model: Path) -> None:
    found = tinyrs_cli("info", flower_model, "--json").json
    assert found["kind"] == "predictor"
    assert found["classes"] == [9, 10, 11]
    assert [c["name"] for c in found["columns"]] == ["length", "width", "colour"]
    assert sorted(found["columns"][2]["categories"]) == sorted(["red", "blue, pale", 'the "white"'])
    assert found["training"]["target"] == "kind"
    assert found["training"]["held_out"]["rows"] == 60
    assert found["self_test_difference"] == 0
    done = tinyrs_cli("info", flower_model)
    assert "target: kind" in done.out
    assert "5-16-3" in done.out or "-16-3" in done.out


def test_info_of_a_bare_network(tinyrs_cli: Run, tmp_path: Path) -> None:
    tinyrs.Network([2, 3, 2], seed=0).save(tmp_path / "n")
    assert tinyrs_cli("info", "n", "--json").json["network"]["layer_sizes"] == [2, 3, 2]
    assert "a network" in tinyrs_cli("info", "n").out
    done = tinyrs_cli("predict", "n", "x.csv")
    assert done.status == 1
    assert "expected a classifier" in done.err


# export


@pytest.mark.parametrize(("to", "method"), [("onnx", "to_onnx"), ("c", "to_c")])
def test_export_calls_the_predictor(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, flower_model: Path, to: str, method: str
) -> None:
    def write(self: Predictor, path: Path) -> None:
        path.write_text(" ".join(map(str, self.classes_)))

    monkeypatch.setattr(Predictor, method, write, raising=False)
    done = tinyrs_cli("export", flower_model, "--to", to, "-o", "model.out", "--json")
    assert done.json == {"output": "model.out", "to": to, "bytes": 7}
    assert Path("model.out").read_text() == "9 10 11"
    assert tinyrs_cli("export", flower_model, "--to", to, "-o", "model.out").out == "model.out: 7 bytes\n"


def test_export_reports_unsupported_models_and_missing_folders(
    tinyrs_cli: Run, monkeypatch: pytest.MonkeyPatch, flower_model: Path
) -> None:
    def write(self: Predictor, path: Path) -> None:
        raise ValueError("classes: expected strings")

    monkeypatch.setattr(Predictor, "to_c", write, raising=False)
    done = tinyrs_cli("export", flower_model, "--to", "c", "-o", "model.h")
    assert (done.status, done.err) == (1, f"tinyrs: {flower_model}: classes: expected strings\n")
    done = tinyrs_cli("export", flower_model, "--to", "c", "-o", "no/where.h")
    assert (done.status, "the folder 'no' does not exist" in done.err) == (1, True)


# bench

PLAN = """
version: 2
benchmark:
  nepochs: 3
  warmup: 0
  shape: {layers: 2, dimension: 8}
  math: {precision: f32, activation: sigmoid}
"""


def test_bench(tinyrs_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    done = tinyrs_cli("bench", "plan.yaml", "--quiet")
    assert (done.status, done.out.startswith("Total time for 3 run(s) was ")) == (0, True)
    results: Any = tinyrs_cli("bench", "plan.yaml", "--json").json["results"]
    assert results[0]["dimension"] == 8
    (tmp_path / "plan.yaml").write_text(PLAN.replace("layers: 2", "layers: x"))
    done = tinyrs_cli("bench", "plan.yaml", "--json")
    assert done.status == 2
    assert "plan.yaml: benchmark.shape.layers" in json.loads(done.out)["error"]
