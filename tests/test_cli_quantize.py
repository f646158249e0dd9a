"""`tinyrs quantize` and `tinyrs train --quantize`; what `tinyrs info` says about a quantized model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tinyrs
from conftest import Run, csv_text, flowers
from tinyrs.predictor import Predictor


def load(path: str) -> Predictor:
    model = tinyrs.load(path)
    assert isinstance(model, Predictor)
    return model


@pytest.fixture
def table() -> str:
    Path("held.csv").write_text(csv_text(flowers(150, seed=1)))
    return "held.csv"


def test_quantize_measures_and_writes(tinyrs_cli: Run, flower_model: Path, table: str) -> None:
    args = ["quantize", flower_model, "--to", "int8", "--data", table]
    done = tinyrs_cli(*args, "-o", "small.safetensors")
    assert done.status == 0, done.err
    record = load("small.safetensors").quantization
    assert record is not None
    assert record["weights"] == "int8"
    assert record["rows"] == 150
    for line in (
        "weights: int8",
        "on 150 rows, compared with the model before:",
        f"largest difference of probabilities {record['largest_difference']:.2g}",
        f"labels changed {record['labels_changed']:.3%}",
        f"accuracy {record['accuracy']:.2%}, before {record['accuracy_before']:.2%}",
        f"log loss {record['log_loss']:.4f}, before {record['log_loss_before']:.4f}",
        f"wrote small.safetensors: {Path('small.safetensors').stat().st_size:,} bytes, before",
    ):
        assert line in re.sub(" +", " ", done.out)
    found = tinyrs_cli(*args, "-o", "again.safetensors", "--json").json
    sizes = {"output": "again.safetensors", "bytes": Path("again.safetensors").stat().st_size}
    assert found == {**record, **sizes, "bytes_before": flower_model.stat().st_size}
    # The same as in Python.
    *columns, y = list(flowers(150, seed=1).values())[1:]
    rows = [list(row) for row in zip(*columns, strict=True)]
    assert load(str(flower_model)).quantize("int8", X=rows, y=y).quantization == record


def test_without_data_nothing_is_measured(tinyrs_cli: Run, flower_model: Path) -> None:
    done = tinyrs_cli("quantize", flower_model, "--to", "f16", "-o", "small")
    assert done.status == 0, done.err
    assert "not measured: there were no rows to measure on" in done.out
    assert load("small").quantization == {"weights": "f16", "layers": ["f16"] * 2}


def test_a_loss_of_accuracy_that_is_too_large(
    tinyrs_cli: Run, flower_model: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("quantize: expected the accuracy to fall by at most 0, but on 9 rows it falls by 1")

    monkeypatch.setattr(Predictor, "_quantize_encoded", refuse)
    args = ["--to", "int8", "--data", table, "--max-drop", "0", "-o", "small"]
    done = tinyrs_cli("quantize", flower_model, *args)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "expected the accuracy to fall by at most 0" in done.err
    assert not Path("small").exists()


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--to", "int8", "--max-drop", "0.1", "-o", "small"], 2, "--max-drop needs --data"),
        (["--to", "int8", "--max-drop", "2", "-o", "small"], 2, "expected a number from 0 to 1, got '2'"),
        (["--to", "int4", "-o", "small"], 2, "invalid choice: 'int4'"),
        (["--to", "int8", "--data", "held.csv", "-o", "held.csv"], 2, "expected another output file"),
        (
            ["--to", "int8", "--data", "held.csv", "--target", "nothing", "-o", "small"],
            1,
            'no column "nothing"',
        ),
    ],
)
def test_errors_are_one_line(
    tinyrs_cli: Run, flower_model: Path, table: str, args: list[str], status: int, message: str
) -> None:
    done = tinyrs_cli("quantize", flower_model, *args)
    assert (done.status, done.err.count("\n")) == (status, 1)
    assert message in done.err


def test_a_quantized_model_is_not_quantized_again(tinyrs_cli: Run, flower_model: Path) -> None:
    assert tinyrs_cli("quantize", flower_model, "--to", "bf16", "-o", "small").status == 0
    done = tinyrs_cli("quantize", "small", "--to", "int8", "-o", "smaller")
    assert done.status == 1
    assert "expected a network with f32 or f64 weights, got one with bf16 weights" in done.err


def test_info_and_the_other_commands_take_it(tinyrs_cli: Run, flower_model: Path, table: str) -> None:
    assert tinyrs_cli("quantize", flower_model, "--to", "int8", "--data", table, "-o", "small").status == 0
    found = tinyrs_cli("info", "small", "--json").json
    assert found["network"]["weights"] == "int8"
    assert found["quantization"] == load("small").quantization
    assert tinyrs_cli("info", flower_model, "--json").json["quantization"] is None
    done = tinyrs_cli("info", "small")
    assert ", int8, " in done.out
    assert "  weights: int8\n    on 150 rows, compared with the model before:\n" in done.out
    assert tinyrs_cli("evaluate", "small", table).status == 0
    assert tinyrs_cli("predict", "small", table, "-o", "out.csv").status == 0


def test_train_quantizes(tinyrs_cli: Run, table: str) -> None:
    args = ["train", table, "--target", "kind", "--hidden", "8", "--epochs", "4", "-o", "model"]
    done = tinyrs_cli(*args, "--quantize", "int8_weights")
    assert done.status == 0, done.err
    record = load("model").quantization
    assert record is not None
    assert record["weights"] == "int8_weights"
    assert record["rows"] > 20
    assert "weights: int8_weights\n  on " in done.out
    assert tinyrs_cli(*args, "--quantize", "int8_weights", "--json").json["quantization"] == record
    assert tinyrs_cli(*args, "--json").json["quantization"] is None
