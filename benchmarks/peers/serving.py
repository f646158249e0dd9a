"""Trained classifiers of several libraries, as `tinyrs.bench.serving` measures them.

A classifier is trained here, written to a file, and loaded in the process of a worker. Rows are lists of
numbers. One row is predicted with one thread, by the fastest way that the library documents.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tinyrs
from tinyrs.bench.serving.models import Loaded, Subject, load_tinyrs
from tinyrs.bench.serving.rows import Rows

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Library:
    """How a library trains and predicts.

    `fit` trains on X (rows, columns) and y (rows,), class indices. `save` writes the result to a path. `load`
    returns what predicts, from that path and the path of the rows.
    """

    fit: Callable[[Floats, npt.NDArray[np.int64]], Any]
    save: Callable[[Any, Path], None]
    load: Callable[[str, str], Loaded]


def train(
    name: str, X: Floats, y: npt.NDArray[np.int64], folder: Path, rows_path: Path
) -> tuple[Subject, Any]:
    """Trains with library `name`; returns what is measured, and the model. Raises ImportError."""
    library = LIBRARIES[name]
    start = time.perf_counter()
    model = library.fit(X, y)
    seconds = time.perf_counter() - start
    return stored(name, library.save, model, folder, rows_path, seconds), model


def stored(
    name: str, save: Callable[[Any, Path], None], model: Any, folder: Path, rows_path: Path, seconds: float
) -> Subject:
    """Writes a model to a file for the workers."""
    path = folder / f"{name}.model"
    save(model, path)
    arguments = (name, str(path), str(rows_path))
    return Subject(name, f"{__name__}:load", arguments, path.stat().st_size, seconds, labelled=True)


def load(name: str, path: str, rows_path: str) -> Loaded:
    """The model in a file of `train`, in a worker."""
    return LIBRARIES[name].load(path, rows_path)


def _loaded(
    rows_path: str,
    one: Callable[[Any], object],
    many: Callable[[Any, int | None], npt.NDArray[Any]],
    dtype: type[np.floating[Any]] = np.float64,
) -> Loaded:
    rows = Rows.read(rows_path)
    return Loaded(one, many, lambda chosen: np.array(chosen, dtype), rows.values, rows.targets)


def _pickle(model: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(model))


def _fit_tinyrs(X: Floats, y: npt.NDArray[np.int64]) -> Any:
    return tinyrs.TinyClassifier(random_state=0).fit(X, y)


def _fit_student(X: Floats, y: npt.NDArray[np.int64]) -> Any:
    return tinyrs.fit_to_budget(X, y, max_us=2, time_limit=120).predictor


def _fit_lightgbm(X: Floats, y: npt.NDArray[np.int64]) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=0, verbose=-1).fit(X, y)


def _load_lightgbm(path: str, rows_path: str) -> Loaded:
    from lightgbm import Booster

    booster = Booster(model_file=path)

    def many(X: Any, n_threads: int | None) -> npt.NDArray[Any]:
        return np.asarray(booster.predict(X, num_threads=n_threads or tinyrs.get_num_threads()))

    return _loaded(rows_path, lambda row: booster.predict(np.array([row]), num_threads=1), many)


def _fit_catboost(X: Floats, y: npt.NDArray[np.int64]) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(random_seed=0, verbose=0, allow_writing_files=False).fit(X, y)


def _load_catboost(path: str, rows_path: str) -> Loaded:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier().load_model(path)
    return _loaded(
        rows_path,
        lambda row: model.predict_proba(row, thread_count=1),
        lambda X, n_threads: np.asarray(model.predict_proba(X, thread_count=n_threads or -1)),
    )


def _fit_mlp(X: Floats, y: npt.NDArray[np.int64]) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), MLPClassifier(random_state=0)).fit(X, y)


def _load_mlp(path: str, rows_path: str) -> Loaded:
    model = pickle.loads(Path(path).read_bytes())  # noqa: S301 written by this program
    return _loaded(
        rows_path,
        lambda row: model.predict_proba(np.array([row])),
        lambda X, n_threads: np.asarray(model.predict_proba(X)),
    )


def _load_onnxruntime(path: str, rows_path: str) -> Loaded:
    import onnxruntime

    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    single, all_threads = session(1), session(tinyrs.get_num_threads())
    (given,) = single.get_inputs()
    dtype = np.float64 if given.type == "tensor(double)" else np.float32
    # The label comes first.
    outputs = [single.get_outputs()[-1].name]
    return _loaded(
        rows_path,
        lambda row: single.run(outputs, {given.name: np.array([row], dtype)}),
        lambda X, n_threads: np.asarray(all_threads.run(outputs, {given.name: X})[0]),
        dtype,
    )


def _save_onnx_of_mlp(model: Any, path: Path) -> None:
    from skl2onnx import to_onnx

    options = {id(model): {"zipmap": False}}
    n_columns = model.n_features_in_
    path.write_bytes(
        to_onnx(model, np.zeros((1, n_columns), np.float32), options=options).SerializeToString()
    )


def _save_onnx_of_lightgbm(model: Any, path: Path) -> None:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    inputs = [("input", FloatTensorType([None, model.n_features_in_]))]
    path.write_bytes(convert_lightgbm(model, initial_types=inputs, zipmap=False).SerializeToString())


def _save_onnx_of_catboost(model: Any, path: Path) -> None:
    import onnx

    model.save_model(str(path), format="onnx")
    exported = onnx.load(path)
    # The last node makes a dict of each row, which takes longer than the trees.
    zip_map = exported.graph.node.pop()
    exported.graph.output.pop()
    exported.graph.output.append(
        onnx.helper.make_tensor_value_info(zip_map.input[0], onnx.TensorProto.FLOAT, None)
    )
    onnx.save(exported, path)


LIBRARIES = {
    "tinyrs": Library(_fit_tinyrs, lambda model, path: model.save(path), load_tinyrs),
    # The most accurate of at most 2 us for a row.
    "tinyrs, fit_to_budget": Library(_fit_student, lambda model, path: model.save(path), load_tinyrs),
    "LightGBM": Library(
        _fit_lightgbm, lambda model, path: model.booster_.save_model(str(path)), _load_lightgbm
    ),
    "CatBoost": Library(_fit_catboost, lambda model, path: model.save_model(str(path)), _load_catboost),
    "MLPClassifier": Library(_fit_mlp, _pickle, _load_mlp),
    # The same models in ONNX Runtime.
    "tinyrs in ONNX Runtime": Library(
        _fit_tinyrs, lambda model, path: model.predictor().to_onnx(path), _load_onnxruntime
    ),
    "LightGBM in ONNX Runtime": Library(_fit_lightgbm, _save_onnx_of_lightgbm, _load_onnxruntime),
    "CatBoost in ONNX Runtime": Library(_fit_catboost, _save_onnx_of_catboost, _load_onnxruntime),
    "MLPClassifier in ONNX Runtime": Library(_fit_mlp, _save_onnx_of_mlp, _load_onnxruntime),
}
# Which model each exported one is.
EXPORTED = {f"{name} in ONNX Runtime": name for name in ("tinyrs", "LightGBM", "CatBoost", "MLPClassifier")}
