"""The values that the parameters of `TinyClassifier` may have."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from tinyrs._tinyrs import get_num_threads

DTYPES: dict[str, type[np.float32] | type[np.float64]] = {"f32": np.float32, "f64": np.float64}

# In the format of scikit-learn's `_validate_params`.
CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like"],
    "n_ensemble": [Interval(Integral, 1, None, closed="left")],
    "n_layers": [Interval(Integral, 0, None, closed="left"), None],
    "width": [Interval(Integral, 1, None, closed="left"), None],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left"), None],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "refit": ["boolean"],
    "max_time": [Interval(Real, 0, None, closed="neither"), None],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
    "class_weight": [StrOptions({"balanced"}), dict, None],
    "calibrate": ["boolean"],
    "categorical_features": [StrOptions({"auto"}), "array-like"],
    "numeric_embedding": [StrOptions({"auto", "pbld"}), None],
    "precision": [StrOptions({"auto", *DTYPES})],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
    "callbacks": ["array-like", None],
    "importance": ["boolean"],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
}


def hidden_sizes(hidden_layer_sizes: npt.ArrayLike, n_layers: int | None, width: int | None) -> list[int]:
    """The sizes of the hidden layers; `n_layers` and `width` override `hidden_layer_sizes`.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    sizes = [int(size) for size in np.atleast_1d(np.asarray(hidden_layer_sizes, dtype=int))]
    if width is not None or n_layers is not None:
        count = len(sizes) if n_layers is None else n_layers
        sizes = [width if width is not None else sizes[0]] * count
    if any(size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes: expected sizes of at least 1, got {hidden_layer_sizes!r}")
    return sizes


def largest_threads(n_threads: int | None, n_jobs: int | None) -> int | None:
    """The largest number of threads that `n_threads` and its alias `n_jobs` allow; None for the default.

    Raises
    ------
    ValueError
        If both are given and differ, or `n_jobs` is 0.
    """
    if n_jobs is None or n_jobs == n_threads:
        return n_threads
    if n_threads is not None:
        raise ValueError(
            f"n_jobs: expected None or the value of n_threads, of which it is an alias, got n_jobs={n_jobs} "
            f"and n_threads={n_threads}"
        )
    if n_jobs == 0:
        raise ValueError("n_jobs: expected a number of threads, -1 for all, or None, got 0")
    return n_jobs if n_jobs > 0 else max(get_num_threads() + 1 + n_jobs, 1)


def categorical_indices(
    categorical_features: Sequence[int | str] | str, feature_names: Sequence[str], n_features: int
) -> list[int]:
    """The column indices of `categorical_features`, which is "auto" or a list of column names and indices.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    if isinstance(categorical_features, str):
        return []
    indices = []
    for feature in categorical_features:
        if isinstance(feature, str) and feature in feature_names:
            index: int | str = list(feature_names).index(feature)
        else:
            index = feature
        if isinstance(index, str) or not 0 <= int(index) < n_features:
            raise ValueError(f"categorical_features: expected column names or indices, got {feature!r}")
        indices.append(int(index))
    return indices
