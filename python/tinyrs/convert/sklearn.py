"""Imports scikit-learn's MLPClassifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrs.convert.partial_network import PartialNetwork, to_predictor
from tinyrs.predictor import Predictor

try:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
    from sklearn.utils.validation import check_is_fitted
except ModuleNotFoundError as missing:
    raise ImportError(
        f"from_sklearn needs scikit-learn ({missing}): pip install 'tinyrs[sklearn]'"
    ) from missing

ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


def from_sklearn(model: Any) -> Predictor:
    """Imports an MLPClassifier as a predictor with the same probabilities, in the precision of its weights.

    Parameters
    ----------
    model : MLPClassifier or Pipeline
        A fitted model. A pipeline may have scalers (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
        before an MLPClassifier; they are folded into the first layer.

    Raises
    ------
    ValueError
        If the model is not fitted, or a MinMaxScaler clips.
    TypeError
        For any other model.
    ImportError
        If scikit-learn is not installed.
    """
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    *scalers, last = [step for step in steps if step is not None and step != "passthrough"] or [None]
    if not isinstance(last, MLPClassifier):
        raise TypeError(f"model: expected an MLPClassifier at the end, got {type(last).__name__}")
    check_is_fitted(last)
    network = PartialNetwork(last.n_features_in_)
    for scaler in scalers:
        network = _scaled(network, scaler)
    for i, (weight, bias) in enumerate(zip(last.coefs_, last.intercepts_, strict=True)):
        network = network.linear(weight.T, bias)
        if i < len(last.coefs_) - 1:
            network = network.activation(ACTIVATIONS[last.activation])
    return to_predictor(
        network,
        ACTIVATIONS.get(last.out_activation_, last.out_activation_),
        last.classes_,
        precision="f32" if last.coefs_[0].dtype == np.float32 else "f64",
        multilabel=last._label_binarizer.y_type_ == "multilabel-indicator",
        feature_names=getattr(steps[0], "feature_names_in_", None),
    )


def _scaled(network: PartialNetwork, scaler: Any) -> PartialNetwork:
    """Adds a scaler to the network."""
    check_is_fitted(scaler)
    if isinstance(scaler, MinMaxScaler):
        if scaler.clip:
            raise ValueError("MinMaxScaler: expected clip=False, got True, which a layer cannot do")
        return network.affine(scaler.scale_, scaler.min_)
    if isinstance(scaler, StandardScaler):
        centre, scale = scaler.mean_ if scaler.with_mean else None, scaler.scale_
    elif isinstance(scaler, RobustScaler):
        centre, scale = scaler.center_, scaler.scale_
    elif isinstance(scaler, MaxAbsScaler):
        centre, scale = None, scaler.scale_
    else:
        raise TypeError(f"model: expected scalers before the MLPClassifier, got {type(scaler).__name__}")
    factor = 1.0 if scale is None else 1 / scale
    return network.affine(factor, 0.0 if centre is None else -centre * factor)
