"""Models of tinyrs in MLflow: saving, logging, loading, and the records of training as metrics.

Needs `mlflow` or the smaller `mlflow-skinny`, and narwhals for tables: `pip install mlflow-skinny
'tinyrs[sklearn]'`. Any tool that takes MLflow's "python_function" models can run a saved model, for example
`mlflow.pyfunc.spark_udf`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import tinyrs
from tinyrs.history import Record
from tinyrs.predictor import Predictor, load

try:
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema
except ModuleNotFoundError as error:
    raise ImportError("tinyrs.mlflow needs MLflow: pip install mlflow-skinny") from error

FLAVOR = "tinyrs"
_FILE = "model.safetensors"
# The kinds of columns that MLflow has a type for. It has none for numbers of any type: a column of integers
# is not one of doubles.
_TYPES = {"text": DataType.string, "boolean": DataType.boolean, "date": DataType.datetime}


def signature(model: Predictor) -> ModelSignature:
    """The columns of a model as the inputs of an MLflow model, any of which may have missing values.

    The parameter `method` of the signature is "predict", for labels, or "predict_proba".
    """
    names = model.feature_names_in_ or [None] * model.n_features_in_
    kinds = ["number"] * model.n_features_in_
    if model.preprocessor is not None:
        for number in model.preprocessor.numbers:
            if number.column < model.n_features_in_:  # not a part of a date
                kinds[number.column] = number.kind
        for category in model.preprocessor.categories:
            kinds[category.column] = category.kind
    inputs = [
        ColSpec(_TYPES.get(kind, AnyType()), name, required=True)
        for name, kind in zip(names, kinds, strict=True)
    ]
    outputs = Schema([ColSpec(AnyType())])
    return ModelSignature(
        Schema(inputs), outputs, ParamSchema([ParamSpec("method", DataType.string, "predict")])
    )


def save_model(
    model: Predictor,
    path: str | os.PathLike[str],
    *,
    mlflow_model: Model | None = None,
    **options: Any,
) -> None:
    """Saves a model as a folder in MLflow's format.

    Parameters
    ----------
    model : Predictor
        That of a `TinyClassifier` is `classifier.predictor()`.
    path : path
        A folder, which must not exist or be empty.
    mlflow_model : mlflow.models.Model, optional
        The description to add the model to.
    **options
        As in `mlflow.pyfunc.save_model`, for example `signature` (by default that of the function
        `signature`), `input_example`, `metadata` and `pip_requirements`.

    Raises
    ------
    TypeError
        If `model` is not a Predictor.
    MlflowException
        If MLflow refuses the folder or an option.
    """
    given: object = model
    if not isinstance(given, Predictor):
        hint = "; pass model.predictor()" if hasattr(given, "predictor") else ""
        raise TypeError(f"model: expected a Predictor, got a {type(given).__name__}{hint}")
    mlflow_model = Model() if mlflow_model is None else mlflow_model
    mlflow_model.add_flavor(FLAVOR, tinyrs_version=tinyrs.__version__, data=f"data/{_FILE}")
    options.setdefault("signature", signature(model))
    if options.get("conda_env") is None:
        options.setdefault("pip_requirements", [f"tinyrs[sklearn]=={tinyrs.__version__}", "mlflow-skinny"])
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, _FILE))
        mlflow.pyfunc.save_model(
            os.fspath(path),
            loader_module=__name__,
            data_path=os.path.join(folder, _FILE),
            mlflow_model=mlflow_model,
            **options,
        )


def log_model(
    model: Predictor, name: str, *, registered_model_name: str | None = None, **options: Any
) -> Any:
    """Logs a model to the active run, or to a new one.

    Parameters
    ----------
    model : Predictor
    name : str
    registered_model_name : str, optional
        The name to register a version of the model under.
    **options
        As in `save_model` and `mlflow.pyfunc.log_model`.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Its `model_uri` is what `load_model` takes.
    """
    return Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        model=model,
        registered_model_name=registered_model_name,
        **options,
    )


def load_model(model_uri: str, dst_path: str | None = None) -> Predictor:
    """Loads a saved or logged model.

    Parameters
    ----------
    model_uri : str
        A folder, or for example ``runs:/RUN/NAME`` or ``models:/NAME/VERSION``.
    dst_path : str, optional
        The folder to download to.

    Raises
    ------
    ValueError
        If it is not a model of tinyrs, or its file is damaged.
    """
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=str(model_uri), dst_path=dst_path))
    flavors = Model.load(str(folder)).flavors
    if FLAVOR not in flavors:
        raise ValueError(f"model_uri: expected a model of tinyrs, got one of {', '.join(sorted(flavors))}")
    return _predictor(folder / flavors[FLAVOR]["data"])


def log_record(record: Record) -> None:
    """Logs the record of an epoch to the active run: each number but the epoch, which is its step.

    A callback: pass it as ``TinyClassifier(callbacks=[tinyrs.mlflow.log_record])``, or as
    ``Network.fit(callback=tinyrs.mlflow.log_record)``.
    """
    numbers: dict[str, Any] = dict(record)
    mlflow.log_metrics(numbers, step=numbers.pop("epoch"))


class _PyFunc:
    """What `mlflow.pyfunc.load_model` calls."""

    def __init__(self, model: Predictor) -> None:
        self.model = model

    def get_raw_model(self) -> Predictor:
        return self.model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        method = (params or {}).get("method", "predict")
        if method not in ("predict", "predict_proba"):
            raise ValueError(f'method: expected "predict" or "predict_proba", got {method!r}')
        return getattr(self.model, method)(model_input)


def _load_pyfunc(path: str) -> _PyFunc:
    """The loader that a saved model names."""
    return _PyFunc(_predictor(Path(path)))


def _predictor(path: Path) -> Predictor:
    model = load(path)
    if not isinstance(model, Predictor):
        raise ValueError(f"{path}: expected a classifier, got a {type(model).__name__}")
    return model
