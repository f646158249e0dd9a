"""The classifiers, each with its defaults and the table as its makers recommend it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler
from tinyrs import TinyClassifier, fit_to_budget

# The most categories that HistGradientBoostingClassifier takes in a column.
_MAX_CATEGORIES = 255


def _scaled(model: Any) -> Any:
    """A pipeline that imputes missing values, scales numbers and one-hot encodes categories, then `model`."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, model)


class Adapted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that gets its own form of the table and integer labels."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: npt.NDArray[Any]) -> Adapted:
        self.labels_ = LabelEncoder().fit(y)
        self.classes_ = self.labels_.classes_
        self.model_ = self.new_model(X).fit(self.table(X), self.labels_.transform(y))
        return self

    def predict_proba(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        return np.asarray(self.model_.predict_proba(self.table(X)), dtype=np.float64)

    def new_model(self, X: pd.DataFrame) -> Any:
        raise NotImplementedError

    def table(self, X: pd.DataFrame) -> pd.DataFrame:
        return X


class _HistGradientBoosting(Adapted):
    """Columns with more categories than it takes are given as codes."""

    def new_model(self, X: pd.DataFrame) -> Any:
        return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=self.seed)

    def table(self, X: pd.DataFrame) -> pd.DataFrame:
        many = [c for c in _categories(X) if len(X[c].cat.categories) > _MAX_CATEGORIES]
        return X.assign(**{column: X[column].cat.codes for column in many})


class _XGBoost(Adapted):
    def new_model(self, X: pd.DataFrame) -> Any:
        from xgboost import XGBClassifier

        return XGBClassifier(enable_categorical=True, random_state=self.seed)


class _CatBoost(Adapted):
    """Missing categories are a category of their own, because it takes only strings and integers."""

    def new_model(self, X: pd.DataFrame) -> Any:
        from catboost import CatBoostClassifier

        return CatBoostClassifier(
            cat_features=_categories(X), random_seed=self.seed, verbose=0, allow_writing_files=False
        )

    def table(self, X: pd.DataFrame) -> pd.DataFrame:
        texts = {c: X[c].astype(object).where(X[c].notna(), "missing").astype(str) for c in _categories(X)}
        return X.assign(**texts)


def _categories(X: pd.DataFrame) -> list[str]:
    return list(X.select_dtypes("category").columns)


_last: tuple[pd.DataFrame, npt.NDArray[Any], TinyClassifier] | None = None


def _default(X: pd.DataFrame, y: npt.NDArray[Any]) -> TinyClassifier:
    """The fitted default classifier, which is trained once for consecutive calls with the same table."""
    global _last
    if _last is None or not (X.equals(_last[0]) and np.array_equal(y, _last[1])):
        _last = X, y, TinyClassifier(random_state=0).fit(X, y)
    return _last[2]


class Student(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What `fit_to_budget` finds for an int8 network of `share` of the default network's parameters."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = share

    def fit(self, X: pd.DataFrame, y: npt.NDArray[Any]) -> Student:
        default = _default(X, y).predictor()
        # The record of the training would give a student more bytes for its weights.
        default.training.clear()
        description = len(default.to_bytes()) - default.network.nbytes
        limit = description + int(self.share * default.network.n_parameters)
        self.predictor_ = fit_to_budget(X, y, max_bytes=limit, formats=["int8"]).predictor
        self.classes_ = self.predictor_.classes_
        return self

    def predict_proba(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        return np.asarray(self.predictor_.predict_proba(X), dtype=np.float64)


class Quantized(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """TinyClassifier's predictor with weights of fewer bytes, or as it is if `kind` is None.

    All kinds share the network, which is trained once. `full_precision_` is its predictor.
    """

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind

    def fit(self, X: pd.DataFrame, y: npt.NDArray[Any]) -> Quantized:
        self.full_precision_ = _default(X, y).predictor()
        self.predictor_ = (
            self.full_precision_ if self.kind is None else self.full_precision_.quantize(self.kind)
        )
        self.classes_ = self.predictor_.classes_
        return self

    def predict_proba(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        return np.asarray(self.predictor_.predict_proba(X), dtype=np.float64)


def quantized_models() -> dict[str, Any]:
    """TinyClassifier in full precision, and in each format of `Network.quantize`."""
    formats = ("f16", "bf16", "int8", "int8_weights")
    return {"TinyClassifier": Quantized(), **{f"TinyClassifier {kind}": Quantized(kind) for kind in formats}}


def embedding_models() -> dict[str, Any]:
    """TinyClassifier with a numeric embedding in every second network, in all networks and in none."""
    return {
        "TinyClassifier": TinyClassifier(random_state=0),
        "TinyClassifier pbld": TinyClassifier(numeric_embedding="pbld", random_state=0),
        "TinyClassifier none": TinyClassifier(numeric_embedding=None, random_state=0),
    }


def students() -> dict[str, Any]:
    """The default classifier, which is also the teacher of `fit_to_budget`, and its student."""
    return {"TinyClassifier": Quantized(), "student": Student()}


def models() -> dict[str, Any]:
    """The classifiers by name.

    MLPClassifier comes twice: the larger one, with early stopping, is better on large data sets.
    """
    found: dict[str, Any] = {
        "TinyClassifier": TinyClassifier(random_state=0),
        "TinyClassifier, 8 networks": TinyClassifier(n_ensemble=8, random_state=0),
        "MLPClassifier": _scaled(MLPClassifier(random_state=0)),
        "MLPClassifier 256-256": _scaled(MLPClassifier((256, 256), early_stopping=True, random_state=0)),
        "LogisticRegression balanced": _scaled(LogisticRegression(class_weight="balanced", max_iter=1000)),
        "HistGradientBoosting": _HistGradientBoosting(),
    }
    try:
        from lightgbm import LGBMClassifier

        found["LightGBM"] = LGBMClassifier(random_state=0, verbose=-1)
    except ImportError:
        print("not installed: lightgbm", file=sys.stderr)
    for name, module, model in (("XGBoost", "xgboost", _XGBoost()), ("CatBoost", "catboost", _CatBoost())):
        try:
            __import__(module)
            found[name] = model
        except ImportError:
            print(f"not installed: {module}", file=sys.stderr)
    return found
