"""Import from scikit-learn, directly and from the files of skl2onnx: predictions are the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skl2onnx
import tinyrs
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from tinyrs.convert.onnx import from_onnx
from tinyrs.convert.sklearn import from_sklearn

Array = npt.NDArray[Any]
X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
THREE = np.array(["a", "b", "c"])[np.argmax(X[:, :3], axis=1)]
TWO, MULTILABEL = (X[:, 0] > 0).astype(np.int64), (X[:, :3] > 0).astype(int)


def fitted(y: Any, data: Array = X, scalers: Any = (), **options: Any) -> Any:
    clf = MLPClassifier((8, 6), max_iter=20, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(*scalers, clf).fit(data, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    "y", [THREE, TWO, MULTILABEL, X[:, 0] > 0], ids=["three", "two", "multilabel", "bool"]
)
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
    assert predictor.multilabel == (y is MULTILABEL)


@pytest.mark.parametrize(
    "scalers",
    [
        [StandardScaler()],
        [StandardScaler(with_mean=False), MinMaxScaler((-1, 3))],
        [StandardScaler(with_std=False), "passthrough", MaxAbsScaler()],
        [RobustScaler(), RobustScaler(with_centering=False), RobustScaler(with_scaling=False)],
    ],
)
def test_scalers_are_folded_into_the_first_layer(scalers: Any) -> None:
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


def test_other_models_raise() -> None:
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("y", [THREE, TWO, MULTILABEL], ids=["three", "two", "multilabel"])
def test_skl2onnx(tmp_path: Path, y: Any, activation: str, zipmap: bool, dtype: Any) -> None:
    data = X.astype(dtype)
    scalers = [StandardScaler(), MinMaxScaler()]
    model = fitted(y, data, scalers, activation=activation)
    (tmp_path / "model.onnx").write_bytes(
        skl2onnx.to_onnx(model, data[:1], options={id(model): {"zipmap": zipmap}}).SerializeToString()
    )
    predictor = tinyrs.from_onnx(tmp_path / "model.onnx")
    # Compared with scikit-learn, because onnxruntime has no ZipMap and Binarizer for float64.
    atol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(predictor.predict_proba(data), model.predict_proba(data), rtol=0, atol=atol)
    np.testing.assert_array_equal(predictor.predict(data), model.predict(data))
    np.testing.assert_array_equal(predictor.classes_, model.classes_)


def test_mutated_files(tmp_path: Path) -> None:
    """Files with changed bytes, or cut short, give a model or a ValueError, never another error."""
    path = tmp_path / "model.onnx"
    model = fitted(THREE, X, [StandardScaler()])
    good = bytearray(skl2onnx.to_onnx(model, X[:1]).SerializeToString())
    rng = np.random.default_rng(1)
    errors = 0
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
            errors += 1
    assert 200 < errors < 1000
