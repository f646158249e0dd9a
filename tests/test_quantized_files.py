"""Model files of quantized networks and predictors: they load again, other files raise ValueError."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
from model_files import classifier, put, rewritten, table
from tinyrs import Network, Predictor
from tinyrs.files import model_file
from tinyrs.predictor import loads

KINDS: list[Any] = ["f16", "bf16", "int8", "int8_weights", ["int8", "f32", "f16"]]
DTYPES = {"f16": "F16", "bf16": "BF16", "int8": "I8", "int8_weights": "I8"}


def network(kind: Any) -> Any:
    full = Network([5, 33, 16, 3], activation="relu", output_activation="softmax", precision="f32", seed=1)
    return full.quantize(kind)


def header(data: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return read


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_saved_network_loads_again(tmp_path: Path, kind: Any) -> None:
    made = network(kind)
    made.save(tmp_path / "network")
    X = np.random.default_rng(0).normal(size=(9, 5))
    for back in (tinyrs.load(tmp_path / "network"), pickle.loads(pickle.dumps(made))):
        assert isinstance(back, Network)
        assert repr(back) == repr(made)
        assert back.options == made.options
        assert back.layer_weights == made.layer_weights
        assert back.nbytes == made.nbytes
        np.testing.assert_array_equal(back.forward(X), made.forward(X))
    assert model_file.network_to_bytes(made) == (tmp_path / "network").read_bytes()


@pytest.mark.parametrize("kind", KINDS[:4])
def test_the_file_is_as_small_as_the_weights(kind: str) -> None:
    # The more inputs, the less scales and biases count, which are f32.
    for width, half, quarter in ((128, 0.507, 0.269), (256, 0.503, 0.26)):
        full = Network([width] * 5, precision="f32", seed=0)
        made = full.quantize(kind)
        data = model_file.network_to_bytes(made)
        assert header(data)["layers.0.weight"]["dtype"] == DTYPES[kind]
        assert made.nbytes < len(data) < made.nbytes + 1500
        share = quarter if DTYPES[kind] == "I8" else half
        assert made.nbytes < share * full.nbytes
        assert len(data) < share * len(model_file.network_to_bytes(full))


def test_only_files_with_narrow_tensors_have_the_newest_format() -> None:
    full = Network([3, 4, 2], precision="f32", seed=0)
    for made, version in ((full, 2), (full.quantize("int8"), 3), (full.quantize(["f32", "f16"]), 3)):
        description = json.loads(header(model_file.network_to_bytes(made))["__metadata__"]["tinyrs"])
        assert description["format"] == version
        assert ("weights" in description["model"]) == (version == 3)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_a_saved_predictor_loads_again(tmp_path: Path, kind: str) -> None:
    X, y = table()
    made = classifier(precision="f32").predictor().quantize(kind, X=X, y=y)
    made.save(tmp_path / "model")
    for back in (tinyrs.load(tmp_path / "model"), pickle.loads(pickle.dumps(made))):
        assert isinstance(back, Predictor)
        np.testing.assert_array_equal(back.predict_proba(X), made.predict_proba(X))
        assert back.quantization == made.quantization
        assert back.quantization is not None
        assert back.quantization["rows"] == 300
        assert back.network.weights == kind
        assert back.verify() == 0
        assert back.to_bytes() == made.to_bytes()
        assert repr(back) == repr(made)
        assert kind in repr(back)


def put_weights(value: Any) -> Any:
    return put("model", "weights", value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put_weights(["int8"]), r"model.weights: expected 3 of f32, f16, bf16, int8, int8_weights, got"),
        (put_weights(["int8", "int8", "i4"]), r"model.weights: expected 3 of f32, f16, "),
        (put_weights("int8"), r"model.weights: expected a list of strings, got 'int8'"),
        (put_weights(["int8", "f16", "int8"]), r"layers.1.weight: expected float16 of shape"),
        (put_weights(["int8", "bf16", "int8"]), r"layers.1.weight: expected bfloat16 of shape"),
        (put_weights(["f32", "int8", "int8"]), r"layers.0.weight: expected float32 of shape"),
        (put_weights(KeyError), r"layers.0.weight: expected float32 of shape"),
        (put("model", "precision", "f64"), r'precision: expected "f32" for a quantized network, got'),
        (put("model", "precision", "f16"), r'precision: expected "f32"'),
        (put("model", "n_layers", 10**6), r"n_layers: expected a whole number from 1 to"),
    ],
)  # fmt: skip
def test_an_invalid_description_raises(change: Any, message: str) -> None:
    data = rewritten(model_file.network_to_bytes(network("int8")), change)
    with pytest.raises(ValueError, match=rf"^model file: .*{message}"):
        loads(data)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layers.0.weight", np.full((33, 5), -128, np.int8), "-127 to 127, got -128"),
        ("layers.0.weight", np.ones((33, 6), np.int8), None),
        ("layers.1.weight", np.ones((16, 32), np.int8), "layer"),
        ("layers.0.scale", np.full(33, np.nan, np.float32), "scale"),
        ("layers.0.scale", np.full(33, -1, np.float32), "scale"),
        ("layers.0.scale", np.ones(32, np.float32), r"layers.0.scale: expected float32 of shape \(33\)"),
        ("layers.0.bias", np.full(33, np.inf, np.float32), "finite"),
        ("layers.0.bias", np.ones(33), r"layers.0.bias: expected float32 of shape \(33\), got float64"),
    ],
)  # fmt: skip
def test_invalid_tensors_raise(name: str, value: Any, message: str | None) -> None:
    data = model_file.network_to_bytes(network("int8"))
    data = rewritten(data, lambda _: None, lambda arrays: arrays.update({name: value}))
    if message is None:
        assert loads(data).layer_sizes == (6, 33, 16, 3)  # type: ignore[union-attr]
        return
    with pytest.raises(ValueError, match=f"^model file: .*{message}"):
        loads(data)


def test_weights_of_f16_that_are_not_finite_raise() -> None:
    data = model_file.network_to_bytes(network("f16"))
    half = np.full((33, 5), np.inf, np.float16)
    data = rewritten(data, lambda _: None, lambda arrays: arrays.update({"layers.0.weight": half}))
    with pytest.raises(ValueError, match=r"^model file: .*finite"):
        loads(data)


@pytest.mark.parametrize("value", [None, 3, ["a"]])
def test_an_invalid_quantization_raises(value: Any) -> None:
    data = classifier(precision="f32").predictor().quantize("int8").to_bytes()
    with pytest.raises(ValueError, match=r"^model file: model\.quantization: expected an object, got"):
        loads(rewritten(data, put("model", "quantization", value)))
