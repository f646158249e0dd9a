"""Import from PyTorch: predictions are the same, or an error names the layer that cannot be imported.

PyTorch is too large to install for the tests: classes with the same names and attributes stand in for its
modules. `make interop` tests with PyTorch itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tinyrs
from tinyrs.convert.torch import from_torch
from tinyrs.oracle import activate, softmax

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)


class Tensor:
    def __init__(self, array: Array) -> None:
        self.array = array

    def detach(self) -> Tensor:
        return self

    cpu = detach

    def numpy(self) -> Array:
        return self.array


def module(name: str, **attributes: Any) -> Any:
    return type(name, (), attributes)()


class Sequential(list[Any]):
    pass


def linear(n_in: int, n_out: int, dtype: Any = np.float32, bias: bool = True) -> Any:
    weight, b = RNG.normal(size=(n_out, n_in)).astype(dtype), RNG.normal(size=n_out).astype(dtype)
    return module("Linear", weight=Tensor(weight), bias=Tensor(b) if bias else None)


TORCH = {
    "relu": module("ReLU", inplace=True),
    "tanh": module("Tanh"),
    "sigmoid": module("Sigmoid"),
    "leaky_relu": module("LeakyReLU", negative_slope=0.01),
    "selu": module("SELU"),
    "gelu": module("GELU", approximate="tanh"),
    "silu": module("SiLU"),
    "identity": module("Identity"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", TORCH)
def test_from_torch(activation: str, dtype: Any) -> None:
    first, second, third = linear(4, 8, dtype), linear(8, 6, dtype, bias=False), linear(6, 3, dtype)
    inner = Sequential([second, TORCH[activation], module("Dropout", p=0.5)])
    flatten = module("Flatten", start_dim=1, end_dim=-1)
    model = Sequential([flatten, first, TORCH[activation], inner, third, module("Softmax", dim=1)])
    predictor = tinyrs.from_torch(model, classes=["a", "b", "c"])
    assert predictor.network.precision == ("f32" if dtype == np.float32 else "f64")
    z = X.astype(dtype) @ first.weight.array.T + first.bias.array
    z = activate(activate(z, activation) @ second.weight.array.T, activation)
    want = softmax(z @ third.weight.array.T + third.bias.array)
    np.testing.assert_allclose(predictor.predict_proba(X), want, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert set(predictor.predict(X)) <= {"a", "b", "c"}


def test_output_activations() -> None:
    layers = linear(4, 3)
    sums = X @ layers.weight.array.T + layers.bias.array
    with pytest.raises(ValueError, match="logits: expected 'softmax'"):
        from_torch(Sequential([layers]))
    got = from_torch(Sequential([layers]), logits="softmax").predict_proba(X)
    np.testing.assert_allclose(got, softmax(sums), rtol=0, atol=1e-6)
    assert from_torch(Sequential([layers, TORCH["sigmoid"]])).multilabel
    one = linear(4, 1)
    z = X @ one.weight.array.T + one.bias.array
    for predictor in (
        from_torch(Sequential([one]), logits="sigmoid"),
        from_torch(Sequential([one, TORCH["sigmoid"]])),
    ):
        np.testing.assert_allclose(
            predictor.predict_proba(X)[:, [1]], 1 / (1 + np.exp(-z)), rtol=0, atol=1e-6
        )
        assert not predictor.multilabel


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_folded_into_a_layer(affine: bool) -> None:
    def norm(n: int) -> Any:
        mean, variance, scale, shift = (Tensor(row) for row in RNG.normal(size=(4, n)) ** 2 + 0.1)
        given = {"weight": scale, "bias": shift} if affine else {"weight": None, "bias": None}
        statistics = {"running_mean": mean, "running_var": variance, "track_running_stats": True}
        return module("BatchNorm1d", eps=1e-3, **statistics, **given)

    def normalised(x: Array, of: Any) -> Array:
        z = (x - of.running_mean.array) / np.sqrt(of.running_var.array + 1e-3)
        return np.asarray(z * of.weight.array + of.bias.array if affine else z)

    first, second, norms = linear(4, 8), linear(8, 3), [norm(4), norm(8), norm(8), norm(3)]
    layers = [
        norms[0],
        first,
        norms[1],
        TORCH["tanh"],
        norms[2],
        second,
        norms[3],
        module("LogSoftmax", dim=1),
    ]
    z = normalised(X, norms[0]) @ first.weight.array.T + first.bias.array
    z = normalised(np.tanh(normalised(z, norms[1])), norms[2]) @ second.weight.array.T + second.bias.array
    got = from_torch(Sequential(layers)).predict_proba(X)
    np.testing.assert_allclose(got, softmax(normalised(z, norms[3])), rtol=0, atol=1e-6)


def test_other_modules_raise_with_their_name() -> None:
    def raises(message: str, *layers: Any) -> None:
        with pytest.raises(ValueError, match=message):
            from_torch(Sequential(layers), logits="softmax")

    first = linear(4, 3)
    raises(r"layer 1 \(Conv1d\): expected Linear, BatchNorm1d, ReLU", first, module("Conv1d"), linear(3, 2))
    raises(
        r"layer 1 \(BatchNorm1d\): expected track_running_stats=True, got False",
        first,
        module("BatchNorm1d", track_running_stats=False),
    )
    raises(
        r"layer 1 \(GELU\): expected approximate='tanh', got 'none'",
        first,
        module("GELU", approximate="none"),
    )
    raises(
        r"layer 1.0 \(LeakyReLU\): expected negative_slope=0.01, got 0.2",
        first,
        Sequential([module("LeakyReLU", negative_slope=0.2)]),
    )
    raises(r"layer 1 \(Softmax\): expected dim=1, got None", first, module("Softmax", dim=None))
    raises(
        r"layer 1 \(Softmax\): expected Linear, BatchNorm1d", first, module("Softmax", dim=1), linear(3, 2)
    )
    raises(r"layer 1 \(Linear\): expected weights for 3 inputs, got the shape \(2, 5\)", first, linear(5, 2))
    raises(r"layer 0 \(ReLU\): expected a linear layer before relu", TORCH["relu"], first)
    raises("expected a linear layer at the end", first, TORCH["relu"])
    raises("expected a linear layer at the end")
    with pytest.raises(TypeError, match=r"model: expected an nn\.Sequential, got Linear"):
        from_torch(first)
