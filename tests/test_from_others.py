"""Networks of scikit-learn and from ONNX files: the predictor answers as they do, or an error says why not.

PyTorch and Keras are not installed: their graphs are built here as their exporters write them.
`make interop` asks the real ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import skl2onnx
import tinyrs
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from tinyrs import Network, Predictor, TinyClassifier, oracle
from tinyrs.foreign.onnx import from_onnx
from tinyrs.foreign.sklearn import from_sklearn
from tinyrs.oracle import activate, softmax

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
THREE = np.array(["a", "b", "c"])[np.argmax(X[:, :3], axis=1)]
TWO, SEVERAL = (X[:, 0] > 0).astype(np.int64), (X[:, :3] > 0).astype(int)


def fitted(y: Any, data: Array = X, scalers: Any = (), **options: Any) -> Any:
    clf = MLPClassifier((8, 6), max_iter=20, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(*scalers, clf).fit(data, y)


# scikit-learn.


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("y", [THREE, TWO, SEVERAL, X[:, 0] > 0], ids=["three", "two", "several", "bool"])
def test_from_sklearn(y: Any, activation: str) -> None:
    data = X.astype(np.float64)
    model = fitted(y, data, activation=activation)
    for source in (model, model[-1]):
        predictor = tinyrs.from_sklearn(source)
        got = predictor.predict_proba(data)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, model.predict_proba(data), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(predictor.predict(data), model.predict(data))
        np.testing.assert_array_equal(predictor.classes_, model.classes_)
    assert predictor.multilabel == (y is SEVERAL)


@pytest.mark.parametrize(
    "scalers",
    [
        [StandardScaler()],
        [StandardScaler(with_mean=False), MinMaxScaler((-1, 3))],
        [StandardScaler(with_std=False), "passthrough", MaxAbsScaler()],
        [RobustScaler(), RobustScaler(with_centering=False), RobustScaler(with_scaling=False)],
    ],
)
def test_scalers_become_part_of_the_first_layer(scalers: Any) -> None:
    data, y = load_breast_cancer(return_X_y=True, as_frame=True)
    data.iloc[:, 0] += 1e6
    model = fitted(y, data, scalers)
    predictor = from_sklearn(model)
    np.testing.assert_allclose(predictor.predict_proba(data), model.predict_proba(data), rtol=0, atol=1e-8)
    np.testing.assert_array_equal(predictor.predict(data), model.predict(data))
    assert predictor.preprocessor is None
    assert predictor.feature_names_in_ == tuple(data)


def test_float32_stays_float32_unless_there_is_a_scaler() -> None:
    assert from_sklearn(fitted(TWO)).network.precision == "f32"
    model = fitted(TWO, X + np.float32(1000), [StandardScaler()])
    predictor = from_sklearn(model)
    assert predictor.network.precision == "f64"
    want = model.predict_proba(X + np.float32(1000))
    np.testing.assert_allclose(predictor.predict_proba(X + np.float32(1000)), want, rtol=0, atol=1e-4)


def test_other_models_are_refused() -> None:
    with pytest.raises(
        TypeError, match="model: expected an MLPClassifier at the end, got LogisticRegression"
    ):
        from_sklearn(LogisticRegression())
    with pytest.raises(NotFittedError):
        from_sklearn(MLPClassifier())
    with pytest.raises(ValueError, match="MinMaxScaler: expected clip=False, got True"):
        from_sklearn(fitted(TWO, X, [MinMaxScaler(clip=True)]))
    with pytest.raises(TypeError, match="expected scalers before the MLPClassifier, got Normalizer"):
        from_sklearn(fitted(TWO, X, [Normalizer()]))


# skl2onnx.


def answer(path: Path, data: Array) -> list[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: data}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("y", [THREE, TWO, SEVERAL], ids=["three", "two", "several"])
def test_skl2onnx(tmp_path: Path, y: Any, activation: str, zipmap: bool, dtype: Any) -> None:
    data = X.astype(dtype)
    scalers = [StandardScaler(), MinMaxScaler()]
    model = fitted(y, data, scalers, activation=activation)
    (tmp_path / "model.onnx").write_bytes(
        skl2onnx.to_onnx(model, data[:1], options={id(model): {"zipmap": zipmap}}).SerializeToString()
    )
    predictor = tinyrs.from_onnx(tmp_path / "model.onnx")
    # Not with onnxruntime: it has no ZipMap and Binarizer of float64.
    atol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(predictor.predict_proba(data), model.predict_proba(data), rtol=0, atol=atol)
    np.testing.assert_array_equal(predictor.predict(data), model.predict(data))
    np.testing.assert_array_equal(predictor.classes_, model.classes_)


# Graphs as others write them.


def layer(n_in: int, n_out: int, dtype: Any = np.float32) -> tuple[Array, Array]:
    """PyTorch's way round: weights (outputs, inputs)."""
    return RNG.normal(size=(n_out, n_in)).astype(dtype), RNG.normal(size=n_out).astype(dtype)


class Builder:
    """A graph of one input `x` (rows, 4)."""

    def __init__(self, dtype: Any = np.float32) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.dtype = np.dtype(dtype)

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value, dtype=dtype or self.dtype), name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        name = f"/{len(self.nodes)}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, domain=domain, **attributes))
        return output

    def gemm(self, x: str, weight: Array, bias: Array) -> str:
        return self.op("Gemm", x, self.constant(weight), self.constant(bias), alpha=1.0, beta=1.0, transB=1)

    def save(self, path: Path, *outputs: str, shape: Any = ("batch", 4), opset: int = 18) -> Path:
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "main_graph",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(output, kind, ["batch", "n"]) for output in outputs],
            self.tensors,
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
        return path


def gelu_of_torchscript(g: Builder, x: str) -> str:
    """torch.onnx before opset 20: half * (x * (one + tanh(beta * (x + kappa * x^3))))."""
    cube = g.op("Mul", x, g.op("Mul", x, x))
    inner = g.op("Add", x, g.op("Mul", g.constant(0.044715), cube))
    tanh = g.op("Tanh", g.op("Mul", g.constant(0.7978845608028654), inner))
    return g.op("Mul", g.constant(0.5), g.op("Mul", x, g.op("Add", g.constant(1), tanh)))


def gelu_of_dynamo(g: Builder, x: str) -> str:
    """torch.onnx with dynamo before opset 20: the constants are computed in the graph."""
    inner = g.op("Add", x, g.op("Mul", g.constant(0.044715), g.op("Pow", x, g.constant(3))))
    two_over_pi = g.op("CastLike", g.op("Div", g.constant(2), g.constant(np.pi)), x)
    tanh = g.op("Tanh", g.op("Mul", g.op("Sqrt", two_over_pi), inner))
    return g.op("Mul", x, g.op("Mul", g.constant(0.5), g.op("Add", tanh, g.constant(1))))


def gelu_of_keras(g: Builder, x: str) -> str:
    """0.5 * x * (1 + tanh(...)), from the left."""
    cube = g.op("Mul", g.constant(0.044715), g.op("Pow", x, g.constant(3)))
    tanh = g.op("Tanh", g.op("Mul", g.constant(0.7978845834732056), g.op("Add", x, cube)))
    return g.op("Mul", g.op("Mul", x, g.constant(0.5)), g.op("Add", g.constant(1), tanh))


ACTIVATIONS: dict[str, tuple[str, Any]] = {
    "Relu": ("relu", lambda g, x: g.op("Relu", x)),
    "Tanh": ("tanh", lambda g, x: g.op("Tanh", x)),
    "Sigmoid": ("sigmoid", lambda g, x: g.op("Sigmoid", x)),
    "LeakyRelu": ("leaky_relu", lambda g, x: g.op("LeakyRelu", x, alpha=0.009999999776482582)),
    "Selu": (
        "selu",
        lambda g, x: g.op("Selu", x, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    ),
    "Selu by default": ("selu", lambda g, x: g.op("Selu", x)),
    "Gelu": ("gelu", lambda g, x: g.op("Gelu", x, approximate="tanh")),
    "gelu of TorchScript": ("gelu", gelu_of_torchscript),
    "gelu of dynamo": ("gelu", gelu_of_dynamo),
    "gelu of Keras": ("gelu", gelu_of_keras),
    "silu": ("silu", lambda g, x: g.op("Mul", x, g.op("Sigmoid", x))),
    "silu the other way round": ("silu", lambda g, x: g.op("Mul", g.op("Sigmoid", x), x)),
    "nothing": ("identity", lambda g, x: g.op("Identity", x)),
}


@pytest.mark.parametrize("form", ACTIVATIONS)
@pytest.mark.parametrize("style", ["PyTorch", "Keras"])
def test_a_graph(tmp_path: Path, style: str, form: str) -> None:
    """Gemm with transB, or MatMul and Add; onnxruntime agrees."""
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


def test_ends(tmp_path: Path) -> None:
    """Logits, one sigmoid, several; labels that are given."""
    path, (weight, bias) = tmp_path / "model.onnx", layer(4, 3)
    sums = X @ weight.T + bias
    g = Builder()
    g.save(path, g.gemm(g.op("Flatten", "x", axis=1), weight, bias))
    with pytest.raises(
        ValueError, match=r"logits: expected 'softmax' \(one class a row\) or .* \(output 'v1'\)"
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

    g = Builder()  # Keras: a dense layer of one unit
    x = g.op("MatMul", "x", g.constant(weight[:1].T))
    g.save(path, g.op("Sigmoid", g.op("Add", x, g.constant(bias[:1]))))
    predictor = from_onnx(path)
    assert not predictor.multilabel
    np.testing.assert_allclose(
        predictor.predict_proba(X)[:, 1], 1 / (1 + np.exp(-sums[:, 0])), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(predictor.predict(X), answer(path, X)[0][:, 0] > 0.5)


def test_a_scaler_in_front(tmp_path: Path) -> None:
    """Whatever it is made of; of all columns or of each."""
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
        # Dropout, and numbers on the way, too.
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
def test_what_we_write_without_preprocessing(tmp_path: Path, activation: str, precision: str) -> None:
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
    clf = TinyClassifier(n_layers=1, width=4, max_iter=1).fit(X, TWO)
    clf.to_onnx(tmp_path / "model.onnx")
    with pytest.raises(
        ValueError, match=r"node 'isnan.IsNaN' \(IsNaN\): expected what a network of dense layers is"
    ):
        from_onnx(tmp_path / "model.onnx")


def test_what_is_no_such_network_is_refused_by_name(tmp_path: Path) -> None:
    def refused(message: str, build: Any, **options: Any) -> None:
        g = Builder()
        path = g.save(tmp_path / "model.onnx", build(g), **options)
        with pytest.raises(ValueError, match=message):
            from_onnx(path)

    weight, bias = layer(4, 3)
    cube = RNG.normal(size=(2, 4, 3))

    def after(kind: str, *constants: Any, **attributes: Any) -> Any:
        """A graph with this operation after a layer."""
        return lambda g: g.gemm(
            g.op(kind, g.gemm("x", weight, bias), *map(g.constant, constants), **attributes), *layer(3, 2)
        )

    refused(
        r"node '/0/Conv' \(Conv\): expected what a network of dense layers",
        lambda g: g.op("Conv", "x", g.constant(cube)),
    )
    refused(r"node '/1/Elu' \(Elu\): expected what a network", after("Elu"))
    refused(r"node '/1/Gelu' \(Gelu\): expected an activation that tinyrs has", after("Gelu"))
    refused(r"node '/1/LeakyRelu' \(LeakyRelu\): expected an activation that", after("LeakyRelu", alpha=0.2))
    refused(r"node '/1/Min' \(Min\): expected an activation that", after("Min", 6.0))
    refused(r"node '/1/Relu' \(Relu\): .*unexpected keyword argument", after("Relu", axis=1))
    refused(r"node '/1/Relu' \(Relu\): .*positional argument", after("Relu", 6.0))
    refused(r"node '/1/Add' \(Add\): expected 3 numbers, one a column, got 2", after("Add", [1, 2]))
    refused(r"node '/1/Add' \(Add\): expected a number for each column, got", after("Add", [[1, 2], [3, 4]]))
    for shape in ([-1, -1], [3, -1], [3], [-1, 3, 1]):
        refused(
            r"node '/0/Reshape' \(Reshape\): expected the shape \(rows, columns\), got",
            lambda g, shape=shape: g.op("Reshape", "x", g.constant(shape, np.int64)),
        )
    refused(r"node '/1/Softmax' \(Softmax\): expected axis=-1, got 0", after("Softmax", axis=0))
    refused(r"node '/2/Gemm' \(Gemm\): expected values of a layer, got Output", after("Softmax", axis=-1))
    refused(
        r"node '/0/Cast' \(Cast\): expected a cast to float32 or float64, got int64",
        lambda g: g.op("Cast", "x", to=TensorProto.INT64),
    )
    refused(r"node '/0/Cast' \(Cast\)", lambda g: g.op("Cast", "x"))
    refused(r"node '/0/Gemm' \(Gemm\): list index out of range", lambda g: g.op("Gemm", "x"))
    refused(
        r"node '/0/Gemm' \(Gemm\): expected transA=0, got 1",
        lambda g: g.op("Gemm", "x", g.constant(weight), transA=1),
    )
    refused(
        r"node '/0/MatMul' \(MatMul\): expected a constant as weights, got Values",
        lambda g: g.op("MatMul", "x", "x"),
    )
    refused(
        r"node '/0/MatMul' \(MatMul\): expected weights \(outputs, inputs\)",
        lambda g: g.op("MatMul", "x", g.constant(cube)),
    )
    refused(
        r"node '/0/Gemm' \(Gemm\): expected weights for 4 inputs, got the shape",
        lambda g: g.gemm("x", weight.T, bias),
    )
    refused(
        r"node '/0/Relu' \(Relu\): expected inputs that were computed before, got 'y'",
        lambda g: g.op("Relu", "y"),
    )
    refused(
        r"node '/1/Tanh' \(Tanh\): expected softmax or sigmoid at the end, got tanh",
        lambda g: g.op("Tanh", g.gemm("x", weight, bias)),
    )
    refused("expected a layer of weights at the end", lambda g: g.op("Softmax", "x"))
    refused("input 'x': expected", lambda g: g.gemm("x", weight, bias), shape=(4,))

    def two_layers(g: Builder) -> str:
        return g.op("Add", g.gemm("x", weight, bias), g.gemm("x", weight, bias))

    refused(r"node '/2/Add' \(Add\): expected values of one layer, got values of two", two_layers)
    g = Builder()
    first, second = g.gemm("x", weight, bias), g.gemm("x", weight, bias)
    with pytest.raises(ValueError, match=r"expected one output of probabilities, got \['v0', 'v1'\]"):
        from_onnx(g.save(tmp_path / "model.onnx", first, second), logits="softmax")


def test_hostile_files(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for data in (b"", b"not a model", bytes(1000), Network([2, 2]).__repr__().encode()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="path: expected an ONNX model, got"):
            from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "absent.onnx")

    g = Builder()
    g.save(path, g.op("Softmax", g.gemm("x", *layer(4, 3))))
    good = onnx.load(path)

    def refused(message: str, change: Any) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        change(model.graph)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=message):
            from_onnx(path)

    refused("initializer 'c0': expected a tensor, got", lambda g: g.initializer[0].dims.append(10**12))
    refused("initializer 'c0': expected", lambda g: g.initializer[0].dims.__setitem__(0, -1))
    refused("initializer 'c0': expected a tensor", lambda g: setattr(g.initializer[0], "data_type", 99))
    refused("initializer 'c0'|finite|expected", lambda g: setattr(g.initializer[0], "raw_data", b"\xff" * 48))
    refused("expected no sparse initializers", lambda g: g.sparse_initializer.add())
    refused("expected one input, a matrix, got 2", lambda g: g.input.add(name="z"))
    refused(
        "output '?': expected probabilities or labels".replace("?", "z"),
        lambda g: setattr(g.output[0], "name", "z"),
    )


def test_data_beside_the_file(tmp_path: Path) -> None:
    """As PyTorch writes it by default; not from anywhere else."""
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

    def refused(message: str, **entries: str) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        for entry in model.graph.initializer[0].external_data:
            entry.value = entries.get(entry.key, entry.value)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=f"initializer 'c0': expected a tensor, got {message}"):
            from_onnx(path)

    for location in ("../secret", str(tmp_path / "secret"), "link", "/etc/passwd"):
        refused("external data at .*, outside the folder of the model", location=location)
    refused("external data that cannot be read", location="absent")
    refused("external data that cannot be read|.*too few", location=".")
    refused("60 bytes in 'model.onnx.data', too few for external data up to 9048", offset="9000")
    refused(r"48 bytes at -4 as external data of shape \(3, 4\)", offset="-4")
    refused("47 bytes at", length="47")
    refused("invalid literal for int", offset="x")


def test_batch_normalisation(tmp_path: Path) -> None:
    """In front, behind a layer and behind an activation; logarithms of probabilities at the end."""
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


def test_mutated_files(tmp_path: Path) -> None:
    """A model or a ValueError, never a crash: bytes changed, cut and doubled."""
    path = tmp_path / "model.onnx"
    model = fitted(THREE, X, [StandardScaler()])
    good = bytearray(skl2onnx.to_onnx(model, X[:1]).SerializeToString())
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(1000):
        data = good.copy()
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        if rng.random() < 0.2:
            del data[rng.integers(0, len(data)) :]
        path.write_bytes(data)
        try:
            with np.errstate(all="ignore"):
                from_onnx(path)
        except ValueError:
            refused += 1
    assert 200 < refused < 1000


@pytest.mark.parametrize(
    ("absent", "name", "extra"), [("onnx", "from_onnx", "onnx"), ("sklearn", "from_sklearn", "sklearn")]
)
def test_what_is_not_installed_is_named(absent: str, name: str, extra: str) -> None:
    code = f"import sys; sys.modules[{absent!r}] = None; import tinyrs; tinyrs.from_torch; tinyrs.{name}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"pip install 'tinyrs[{extra}]'" in result.stderr
