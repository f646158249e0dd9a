"""Import from ONNX: predictions are the same, or an error names the node that cannot be imported.

PyTorch and Keras are too large to install for the tests: `onnx_graphs` builds graphs as their exporters write
them. `make interop` tests with the exporters themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_graphs import ACTIVATIONS, RNG, Array, Builder, X, answer, layer
from tinyrs import Network, Predictor, TinyClassifier, oracle
from tinyrs.convert.onnx import from_onnx
from tinyrs.oracle import activate, softmax


@pytest.mark.parametrize("form", ACTIVATIONS)
@pytest.mark.parametrize("style", ["PyTorch", "Keras"])
def test_a_graph(tmp_path: Path, style: str, form: str) -> None:
    """Dense layers as Gemm with transB, or as MatMul and Add; compared with onnxruntime."""
    g, x = Builder(), "x"
    name, build = ACTIVATIONS[form]
    want: Array = X.astype(np.float64)
    for i, (weight, bias) in enumerate([layer(4, 7), layer(7, 5), layer(5, 3)]):
        if style == "PyTorch":
            x = g.gemm(x, weight, bias)
        else:
            x = g.op("Add", g.op("MatMul", x, g.constant(weight.T)), g.constant(bias))
        want = want @ weight.T + bias
        if i < 2:
            x = build(g, x)
            want = activate(want, name)
    path = g.save(tmp_path / "model.onnx", g.op("Softmax", x, axis=1 if style == "PyTorch" else -1), opset=20)
    predictor = from_onnx(path)
    assert predictor.network.activation == [name, name] if name != "identity" else True
    np.testing.assert_allclose(predictor.predict_proba(X), softmax(want), rtol=0, atol=1e-5)
    np.testing.assert_allclose(predictor.predict_proba(X), answer(path, X)[0], rtol=0, atol=1e-5)
    assert predictor.classes_.tolist() == [0, 1, 2]


def test_output_activations(tmp_path: Path) -> None:
    """Graphs that end in logits, a single sigmoid or several; class labels as an argument."""
    path, (weight, bias) = tmp_path / "model.onnx", layer(4, 3)
    sums = X @ weight.T + bias
    g = Builder()
    g.save(path, g.gemm(g.op("Flatten", "x", axis=1), weight, bias))
    with pytest.raises(
        ValueError, match=r"logits: expected 'softmax' \(one class per row\) or .* \(output 'v1'\)"
    ):
        from_onnx(path)
    with pytest.raises(ValueError, match="logits: expected 'softmax', 'sigmoid' or None, got 'x'"):
        from_onnx(path, logits="x")
    predictor = from_onnx(path, logits="softmax", classes=["a", "b", "c"])
    np.testing.assert_allclose(predictor.predict_proba(X), softmax(sums), rtol=0, atol=1e-6)
    assert set(predictor.predict(X)) == {"a", "b", "c"}
    with pytest.raises(ValueError, match="classes: expected 3 different ones, got"):
        from_onnx(path, logits="softmax", classes=["a", "b"])
    assert from_onnx(path, logits="sigmoid").multilabel

    g = Builder()
    g.save(path, g.op("Sigmoid", g.gemm("x", weight, bias)))
    predictor = from_onnx(path)
    assert predictor.multilabel
    np.testing.assert_allclose(predictor.predict_proba(X), 1 / (1 + np.exp(-sums)), rtol=0, atol=1e-6)
    with pytest.raises(
        ValueError, match="logits: expected None for a network that ends in sigmoid, got 'softmax'"
    ):
        from_onnx(path, logits="softmax")

    g = Builder()  # as Keras exports a dense layer of one unit
    x = g.op("MatMul", "x", g.constant(weight[:1].T))
    g.save(path, g.op("Sigmoid", g.op("Add", x, g.constant(bias[:1]))))
    predictor = from_onnx(path)
    assert not predictor.multilabel
    np.testing.assert_allclose(
        predictor.predict_proba(X)[:, 1], 1 / (1 + np.exp(-sums[:, 0])), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(predictor.predict(X), answer(path, X)[0][:, 0] > 0.5)


def test_a_scaler_before_the_first_layer(tmp_path: Path) -> None:
    """Scalers of various operators, with one constant for all columns or one per column."""
    weight, bias = layer(4, 3)
    centre, scale = np.array([1e4, 2, 3, 4], np.float32), np.array([1, 2, 3, 4], np.float32)
    data = X * scale + centre
    for form in ("sub, div", "mul, add", "image", "reverse"):
        g = Builder()
        if form == "sub, div":
            x = g.op("Div", g.op("Sub", "x", g.constant(centre[None])), g.constant(scale))
        elif form == "mul, add":
            x = g.op("Add", g.op("Mul", g.constant(1 / scale), "x"), g.constant(-centre / scale))
        elif form == "image":
            x = g.op("Div", g.op("Sub", "x", g.constant(3)), g.constant([255]))
        else:
            x = g.op(
                "Mul",
                g.op("Sub", g.constant(centre), g.op("Cast", "x", to=TensorProto.FLOAT)),
                g.constant(-1 / scale),
            )
        hidden = g.op("Relu", g.gemm(x, weight, bias))
        # Also a dropout and a multiplication between layers.
        hidden = g.op("Mul", g.op("Dropout", hidden), g.constant(scale[:3]))
        g.save(tmp_path / "model.onnx", g.op("Softmax", g.gemm(hidden, *layer(3, 2)), axis=-1))
        predictor = from_onnx(tmp_path / "model.onnx")
        assert predictor.network.precision == "f64"
        got = predictor.predict_proba(data)
        np.testing.assert_allclose(
            got, answer(tmp_path / "model.onnx", data)[0], rtol=0, atol=1e-5 if form != "mul, add" else 1e-2
        )


def test_images_are_flattened(tmp_path: Path) -> None:
    data = RNG.normal(size=(20, 1, 3, 2)).astype(np.float32)
    for flatten in ("Flatten", "Reshape", "wrong", "nothing"):
        g, x = Builder(), "x"
        if flatten == "Flatten":
            x = g.op("Flatten", "x", axis=1)
        elif flatten != "nothing":
            x = g.op("Reshape", "x", g.constant([-1, 6 if flatten == "Reshape" else 3], np.int64))
        path = g.save(
            tmp_path / "model.onnx", g.op("Softmax", g.gemm(x, *layer(6, 3)), axis=-1), shape=("n", 1, 3, 2)
        )
        if flatten == "nothing":
            with pytest.raises(
                ValueError, match=r"node '/0/Gemm' \(Gemm\): expected values of shape \(rows, col"
            ):
                from_onnx(path)
        elif flatten == "wrong":
            with pytest.raises(ValueError, match=r"node '/0/Reshape' \(Reshape\): expected 6 columns, got 3"):
                from_onnx(path)
        else:
            got = from_onnx(path).predict_proba(data.reshape(20, 6))
            np.testing.assert_allclose(got, answer(path, data)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
def test_our_own_exports_without_preprocessing(tmp_path: Path, activation: str, precision: str) -> None:
    for output, multilabel in (("softmax", False), ("sigmoid", True)):
        network = Network(
            [4, 9, 3], activation=activation, output_activation=output, precision=precision, seed=1
        )
        classes = np.arange(3) if multilabel else np.array(["a", "b", "c"])
        predictor = Predictor(network, None, classes, multilabel=multilabel)
        predictor.to_onnx(tmp_path / "model.onnx")
        back = from_onnx(tmp_path / "model.onnx")
        np.testing.assert_array_equal(back.predict_proba(X), predictor.predict_proba(X))
        np.testing.assert_array_equal(back.predict(X), predictor.predict(X))
    clf = TinyClassifier(n_layers=1, width=4, max_iter=1).fit(X, X[:, 0] > 0)
    clf.to_onnx(tmp_path / "model.onnx")
    with pytest.raises(
        ValueError, match=r"node 'isnan.IsNaN' \(IsNaN\): expected an operator of a network of dense layers"
    ):
        from_onnx(tmp_path / "model.onnx")


def test_other_graphs_raise_with_the_node(tmp_path: Path) -> None:
    def raises(message: str, build: Any, **options: Any) -> None:
        g = Builder()
        path = g.save(tmp_path / "model.onnx", build(g), **options)
        with pytest.raises(ValueError, match=message):
            from_onnx(path)

    weight, bias = layer(4, 3)
    cube = RNG.normal(size=(2, 4, 3))

    def after(kind: str, *constants: Any, **attributes: Any) -> Any:
        """Builds a graph with this operator after a layer."""
        return lambda g: g.gemm(
            g.op(kind, g.gemm("x", weight, bias), *map(g.constant, constants), **attributes), *layer(3, 2)
        )

    raises(
        r"node '/0/Conv' \(Conv\): expected an operator of a network of dense layers",
        lambda g: g.op("Conv", "x", g.constant(cube)),
    )
    raises(r"node '/1/Elu' \(Elu\): expected an operator of a network", after("Elu"))
    raises(r"node '/1/Gelu' \(Gelu\): expected an activation that tinyrs has", after("Gelu"))
    raises(r"node '/1/LeakyRelu' \(LeakyRelu\): expected an activation that", after("LeakyRelu", alpha=0.2))
    raises(r"node '/1/Min' \(Min\): expected an activation that", after("Min", 6.0))
    raises(r"node '/1/Relu' \(Relu\): .*unexpected keyword argument", after("Relu", axis=1))
    raises(r"node '/1/Relu' \(Relu\): .*positional argument", after("Relu", 6.0))
    raises(r"node '/1/Add' \(Add\): expected 3 numbers, one per column, got 2", after("Add", [1, 2]))
    raises(r"node '/1/Add' \(Add\): expected one number per column, got", after("Add", [[1, 2], [3, 4]]))
    for shape in ([-1, -1], [3, -1], [3], [-1, 3, 1]):
        raises(
            r"node '/0/Reshape' \(Reshape\): expected the shape \(rows, columns\), got",
            lambda g, shape=shape: g.op("Reshape", "x", g.constant(shape, np.int64)),
        )
    raises(r"node '/1/Softmax' \(Softmax\): expected axis=-1, got 0", after("Softmax", axis=0))
    raises(
        r"node '/2/Gemm' \(Gemm\): expected the output of a layer, got Probabilities",
        after("Softmax", axis=-1),
    )
    raises(
        r"node '/0/Cast' \(Cast\): expected a cast to float32 or float64, got int64",
        lambda g: g.op("Cast", "x", to=TensorProto.INT64),
    )
    raises(r"node '/0/Cast' \(Cast\)", lambda g: g.op("Cast", "x"))
    raises(r"node '/0/Gemm' \(Gemm\): list index out of range", lambda g: g.op("Gemm", "x"))
    raises(
        r"node '/0/Gemm' \(Gemm\): expected transA=0, got 1",
        lambda g: g.op("Gemm", "x", g.constant(weight), transA=1),
    )
    raises(
        r"node '/0/MatMul' \(MatMul\): expected a constant as weights, got PartialNetwork",
        lambda g: g.op("MatMul", "x", "x"),
    )
    raises(
        r"node '/0/MatMul' \(MatMul\): expected weights \(outputs, inputs\)",
        lambda g: g.op("MatMul", "x", g.constant(cube)),
    )
    raises(
        r"node '/0/Gemm' \(Gemm\): expected weights for 4 inputs, got the shape",
        lambda g: g.gemm("x", weight.T, bias),
    )
    raises(
        r"node '/0/Relu' \(Relu\): expected inputs that earlier nodes computed, got 'y'",
        lambda g: g.op("Relu", "y"),
    )
    raises(
        r"node '/1/Tanh' \(Tanh\): expected softmax or sigmoid at the end, got tanh",
        lambda g: g.op("Tanh", g.gemm("x", weight, bias)),
    )
    raises("expected a linear layer at the end", lambda g: g.op("Softmax", "x"))
    raises("input 'x': expected", lambda g: g.gemm("x", weight, bias), shape=(4,))

    def two_layers(g: Builder) -> str:
        return g.op("Add", g.gemm("x", weight, bias), g.gemm("x", weight, bias))

    raises(r"node '/2/Add' \(Add\): expected the output of one layer, got those of two", two_layers)
    g = Builder()
    first, second = g.gemm("x", weight, bias), g.gemm("x", weight, bias)
    with pytest.raises(ValueError, match=r"expected one output of probabilities, got \['v0', 'v1'\]"):
        from_onnx(g.save(tmp_path / "model.onnx", first, second), logits="softmax")


def test_external_data(tmp_path: Path) -> None:
    """Weights in another file, as PyTorch writes them by default, are only read from the model's folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    path, (weight, bias), g = folder / "model.onnx", layer(4, 3), Builder()
    g.save(path, g.op("Softmax", g.gemm("x", weight, bias)))
    want = from_onnx(path).predict_proba(X)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    np.testing.assert_array_equal(from_onnx(path).predict_proba(X), want)
    np.testing.assert_array_equal(answer(path, X)[0].shape, want.shape)
    good = onnx.load(path, load_external_data=False)
    os.link(folder / "model.onnx.data", tmp_path / "secret")
    (folder / "link").symlink_to(tmp_path / "secret")

    def raises(message: str, **entries: str) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        for entry in model.graph.initializer[0].external_data:
            entry.value = entries.get(entry.key, entry.value)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=f"initializer 'c0': expected a tensor, got {message}"):
            from_onnx(path)

    for location in ("../secret", str(tmp_path / "secret"), "link", "/etc/passwd"):
        raises("external data at .*, outside the folder of the model", location=location)
    raises("external data that cannot be read", location="absent")
    raises("external data that cannot be read|.*too few", location=".")
    raises("60 bytes in 'model.onnx.data', too few for external data up to 9048", offset="9000")
    raises(r"48 bytes at -4 as external data of shape \(3, 4\)", offset="-4")
    raises("47 bytes at", length="47")
    raises("invalid literal for int", offset="x")


def test_batch_normalisation(tmp_path: Path) -> None:
    """Before the first layer, after a layer and after an activation; with LogSoftmax at the end."""
    g, want, x = Builder(), X.astype(np.float64), "x"
    for i, (weight, bias) in enumerate([layer(4, 7), layer(7, 5), layer(5, 3)]):
        for place in range(2):
            n = want.shape[1]
            scale, shift, mean, variance = RNG.normal(size=(4, n)) ** 2 + 0.1
            names = [g.constant(values) for values in (scale, shift, mean, variance)]
            x = g.op("BatchNormalization", x, *names, epsilon=1e-3)
            want = (want - mean) / np.sqrt(variance + 1e-3) * scale + shift
            if place == 0:
                x, want = g.gemm(x, weight, bias), want @ weight.T + bias
        if i < 2:
            x, want = g.op("Tanh", x), np.tanh(want)
    path = g.save(tmp_path / "model.onnx", g.op("LogSoftmax", x, axis=1))
    predictor = from_onnx(path)
    np.testing.assert_allclose(predictor.predict_proba(X), softmax(want), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.exp(answer(path, X)[0]), softmax(want), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("absent", "name", "extra"), [("onnx", "from_onnx", "onnx"), ("sklearn", "from_sklearn", "sklearn")]
)
def test_missing_packages_are_named(absent: str, name: str, extra: str) -> None:
    code = f"import sys; sys.modules[{absent!r}] = None; import tinyrs; tinyrs.from_torch; tinyrs.{name}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"pip install 'tinyrs[{extra}]'" in result.stderr
