"""What the file of a `TinyClassifier` holds in addition to that of its predictor, so that it loads again.

The additional field `estimator` of the model and the additional tensor `estimator.scale` do not concern
`tinyrs.load`. They hold no labels or rows, and nothing executable.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyrs._tinyrs import Network
from tinyrs.files import model_file, predictor_file
from tinyrs.files.model_file import Fields, refuse, tensor
from tinyrs.tabular.max_abs_scaler import MaxAbsScaler
from tinyrs.tabular.preprocessor import Preprocessor

# Parameters that are not kept if they are not of these types: functions and random generators.
_KEPT = (str, int, float, bool, list, type(None))


def to_bytes(estimator: Any) -> bytes:
    """The bytes of the file of a fitted classifier: the same for the same classifier."""
    description = {
        "parameters": {
            name: _to_json(value) for name, value in sorted(estimator.get_params(deep=False).items())
        },
        "precision": estimator._precision,
        "evals_result": _finite_or_none(estimator.evals_result_),
    }
    if estimator._importances is not None:
        description["importances"] = estimator._importances.tolist()
    scaler = estimator.preprocessor_
    tensors = {"estimator.scale": scaler.scale} if isinstance(scaler, MaxAbsScaler) else {}
    return predictor_file.to_bytes(estimator.predictor()._state(), (description, tensors))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the fitted attributes in the file of a classifier.

    Raises
    ------
    ValueError
        If the file is damaged, or holds something else than a classifier that `TinyClassifier.save` wrote.
    OSError
        If the file cannot be read.
    """
    kind, model, tensors = model_file.from_bytes(model_file.read(path))
    if kind != "predictor" or "estimator" not in model.values:
        raise ValueError(
            f"{os.fspath(path)}: expected the file of a TinyClassifier, got a file without its parameters, "
            "as written by Predictor.save or an older version: load it with tinyrs.load"
        )
    state, fields = predictor_file.restore(model, tensors), model.fields("estimator")
    precision = fields.get("precision", str)
    network = state.network
    preprocessor: Preprocessor | MaxAbsScaler | None = state.preprocessor
    if preprocessor is None:
        scale = np.asarray(tensor(tensors, "estimator.scale", ["float64"], (state.n_columns,)))
        if not (np.isfinite(scale) & (scale >= 0)).all():
            refuse("estimator.scale", "finite numbers of at least 0", "others")
        network, preprocessor = _unfolded(network, scale, precision), MaxAbsScaler(scale)
    training = Fields("model.training", dict(state.training))
    fitted = {
        "network_": network,
        "preprocessor_": preprocessor,
        "classes_": state.classes.array(),
        "n_features_in_": state.n_columns,
        "n_iter_": training.whole("n_iter"),
        "best_iteration_": training.whole("best_iteration"),
        "temperature_": training.get("temperature", float),
        "loss_curve_": _numbers(training, "loss_curve"),
        "validation_scores_": None
        if training.values.get("validation_scores") is None
        else _numbers(training, "validation_scores"),
        "evals_result_": _curves(fields.fields("evals_result")),
        "_importances": _importances(fields, state.n_columns),
        # The predictions for the validation rows are not kept.
        "_held_out": None,
        "_multilabel": state.multilabel,
        "_precision": network.precision,
        # The moments are not kept: partial_fit starts with new ones.
        "_optimizers": None,
    }
    if state.feature_names is not None:
        fitted["feature_names_in_"] = np.array(state.feature_names, dtype=object)
    return _parameters(fields.fields("parameters")), fitted


def _unfolded(network: Network, scale: Any, precision: str) -> Network:
    """The network for scaled columns, from one for unscaled columns: the inverse of `fold_into`."""

    def unfolded(member: Network) -> Network:
        (weight, bias), *others = member.parameters()
        weight = np.divide(weight, scale, out=np.zeros(weight.shape), where=scale > 0)
        return Network.from_parameters([(weight, bias), *others], **member.options | {"precision": precision})

    try:
        return Network.ensemble(map(unfolded, network.members))
    except ValueError as error:
        raise ValueError(f"model file: model.estimator: {error}") from None


def _to_json(value: Any) -> Any:
    """A parameter as JSON: a dict as a list of pairs; None for what a file cannot hold."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {"pairs": [[_to_json(key), _to_json(weight)] for key, weight in value.items()]}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value] if not any(map(callable, value)) else None
    return value if isinstance(value, _KEPT) else None


def _parameters(fields: Fields) -> dict[str, Any]:
    """The constructor parameters that `_to_json` wrote; the estimator checks their names and values."""
    parameters = dict(fields.values)
    for name, value in parameters.items():
        items = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            pairs = fields.fields(name).get("pairs", list, "a list of pairs")
            if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                refuse(f"{fields.path}.{name}.pairs", "a list of pairs", pairs)
            items = [item for pair in pairs for item in pair]
        if any(isinstance(item, list | dict) for item in items):
            refuse(f"{fields.path}.{name}", "a value, a list or pairs of values", value)
        if isinstance(value, dict):
            parameters[name] = dict(value["pairs"])
        elif isinstance(value, list) and name == "hidden_layer_sizes":
            parameters[name] = tuple(value)
    return parameters


def _numbers(fields: Fields, name: str) -> list[float]:
    values = fields.get(name, list, "a list of numbers")
    if not all(type(value) in (int, float) for value in values):
        refuse(f"{fields.path}.{name}", "a list of numbers", values)
    return [float(value) for value in values]


def _importances(fields: Fields, n_columns: int) -> Any:
    """The importance of each column (columns,); None if it was not measured."""
    if fields.values.get("importances") is None:
        return None
    importances = np.array(_numbers(fields, "importances"))
    if importances.shape != (n_columns,) or not (np.isfinite(importances) & (importances >= 0)).all():
        refuse(f"{fields.path}.importances", f"{n_columns} finite numbers of at least 0", "others")
    return importances


def _finite_or_none(curves: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    return {
        name: {
            metric: [value if math.isfinite(value) else None for value in curve]
            for metric, curve in metrics.items()
        }
        for name, metrics in curves.items()
    }


def _curves(fields: Fields) -> dict[str, dict[str, list[float]]]:
    """`evals_result_`, with NaN for values that are not finite."""
    curves: dict[str, dict[str, list[float]]] = {}
    for name in fields.values:
        metrics = fields.fields(name)
        curves[name] = {}
        for metric in metrics.values:
            values = metrics.get(metric, list, "a list of numbers")
            if not all(value is None or type(value) in (int, float) for value in values):
                refuse(f"{metrics.path}.{metric}", "a list of numbers", values)
            curves[name][metric] = [math.nan if value is None else float(value) for value in values]
    return curves
