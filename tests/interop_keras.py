"""Import of models exported to ONNX by Keras with TensorFlow.

Run by `make interop`, not by `make test`, because TensorFlow takes gigabytes. It needs a process without
PyTorch, whose exporter aborts if TensorFlow is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import pytest
import tinyrs
from keras import layers

X = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 50)
KERAS = {
    "relu": lambda: [layers.Dense(32, "relu"), layers.Dense(3, "softmax")],
    "selu and gelu": lambda: [
        layers.Dense(32, "selu"),
        layers.Dense(20, lambda x: keras.activations.gelu(x, approximate=True)),
        layers.Dense(3),
        layers.Softmax(),
    ],
    "silu, leaky relu, dropout": lambda: [
        layers.Dense(32, "silu"),
        layers.Dropout(0.2),
        layers.Dense(20),
        layers.LeakyReLU(negative_slope=0.01),
        layers.Dense(3, "softmax"),
    ],
    "batch normalisation": lambda: [
        layers.BatchNormalization(),
        layers.Dense(32, use_bias=False),
        layers.BatchNormalization(),
        layers.Activation("tanh"),
        layers.Dense(3, "softmax"),
    ],
    "one sigmoid": lambda: [layers.Dense(32, "sigmoid"), layers.Dense(1, "sigmoid")],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KERAS)
def test_keras(tmp_path: Path, name: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((7,)), *KERAS[name]()])
    loss = "binary_crossentropy" if name == "one sigmoid" else "sparse_categorical_crossentropy"
    model.compile("adam", loss)
    model.fit(X, Y > 0 if name == "one sigmoid" else Y, epochs=3, verbose=0)
    model.export(str(tmp_path / "model.onnx"), format="onnx", verbose=False)
    want = model.predict(X, verbose=0)
    # One sigmoid is the probability of the second of two classes.
    want = np.hstack([1 - want, want]) if want.shape[1] == 1 else want
    got = tinyrs.from_onnx(tmp_path / "model.onnx").predict_proba(X)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
