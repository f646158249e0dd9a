"""The parts of a predictor that are exported, in a form that ONNX and C share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.tabular.preprocessor import CategoryColumn, Preprocessor
from tinyrs.tabular.times import PARTS
from tinyrs.tabular.values import MISSING, READERS, CellError

# The value of a category in the input of an exported model: a string or a number; None for a missing value.
Key = str | float | None
# The kinds of columns whose categories may be numbers in an export.
NUMERIC = ("number", "boolean")


@dataclass(frozen=True, eq=False)
class Layer:
    """activation(W x + b) * scale.

    Attributes
    ----------
    weight : array of shape (outputs, inputs)
        int8 in the formats "int8" and "int8_weights", else numbers of the network's precision.
    bias : array of shape (outputs,)
    activation : str
    scale : float
    format : str
        How the weights are stored; see `Network.layer_weights`.
    weight_scale : array of shape (outputs,) or None
        What the integers of each output are multiplied by.
    """

    weight: npt.NDArray[Any]
    bias: npt.NDArray[Any]
    activation: str
    scale: float
    format: str
    weight_scale: npt.NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class Embedding:
    """Appends W2 cos(2 pi (W1 x + b1)) + b2 to the features, for each x of the first n of them.

    Attributes
    ----------
    w1, b1 : array of shape (n, 16)
    w2 : array of shape (n, 3, 16)
    b2 : array of shape (n, 3)
    """

    w1: npt.NDArray[Any]
    b1: npt.NDArray[Any]
    w2: npt.NDArray[Any]
    b2: npt.NDArray[Any]

    @property
    def n_inputs(self) -> int:
        """The number of embedded features."""
        return len(self.w1)

    @property
    def n_added(self) -> int:
        """The number of values that are appended to the features."""
        return int(self.b2.size)


@dataclass(frozen=True, eq=False)
class Member:
    """One of the networks whose outputs are averaged: its embedding, if it has one, and its dense layers."""

    embedding: Embedding | None
    layers: list[Layer]

    @property
    def n_inputs(self) -> int:
        """The number of inputs of the first dense layer."""
        return int(self.layers[0].weight.shape[1])

    @property
    def n_features(self) -> int:
        """The number of features, without what the embedding appends."""
        return self.n_inputs - (0 if self.embedding is None else self.embedding.n_added)


@dataclass(frozen=True)
class Model:
    """The parts of a `Predictor`; see there for their meaning.

    Raises
    ------
    ValueError
        If the network clips exponents or squares within the range of ordinary numbers: exported models do
        not clip.
    """

    network: Network
    preprocessor: Preprocessor | None
    classes: npt.NDArray[Any]
    multilabel: bool
    feature_names: tuple[str, ...] | None

    def __post_init__(self) -> None:
        options, largest = self.network.options, float(np.finfo(self.dtype).max)
        for name, limit in (("epsilon_exp", 1.0), ("epsilon_square", largest**0.5 / 2)):
            if options[name] > limit:
                raise ValueError(f"{name}: expected at most {limit:.6g} in an export, got {options[name]}")

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """The dtype of the network."""
        return np.dtype(np.float32 if self.network.precision == "f32" else np.float64)

    @property
    def n_columns(self) -> int:
        """The number of inputs: the columns of the table, and the parts of its dates."""
        return self.network.layer_sizes[0] if self.preprocessor is None else self.preprocessor.n_encoded

    @property
    def categories(self) -> tuple[CategoryColumn, ...]:
        return () if self.preprocessor is None else self.preprocessor.categories

    def column_name(self, column: int) -> str:
        if self.preprocessor is not None and column >= self.preprocessor.n_columns:
            of, part = self.preprocessor.parts[column - self.preprocessor.n_columns]
            return f"{self.column_name(of)}.{part}"
        return f"column_{column}" if self.feature_names is None else self.feature_names[column]

    def times(self) -> dict[int, str]:
        """What the numbers of the columns of dates, times and durations are."""
        if self.preprocessor is None:
            return {}
        seconds = {
            "date": "seconds since 1970-01-01 00:00 UTC",
            "time": "seconds since midnight",
            "duration": "seconds",
        }
        found = {n.column: seconds[n.kind] for n in self.preprocessor.numbers if n.kind in seconds}
        for i, (column, part) in enumerate(self.preprocessor.parts, self.preprocessor.n_columns):
            found[i] = f"{PARTS[part]}, of column {column}"
        return found

    def error(self, column: int, message: str) -> ValueError:
        """The error about a column."""
        return ValueError(f"column {self.column_name(column)!r}: {message}")

    def members(self) -> list[Member]:
        """The parameters of each network whose outputs are averaged."""
        return [Member(_embedding(network), list(self._layers(network))) for network in self.network.members]

    def _layers(self, network: Network) -> Iterator[Layer]:
        """The dense layers of a network, from the first to the last."""
        scale = float(network.options["activation_scale"])
        first = 0 if network.numeric_embedding is None else 2
        layers = network.parameters()[first:]
        names = network.activation
        hidden = [names] * (len(layers) - 1) if isinstance(names, str) else list(names)
        last, last_scale = network.output_activation, 1.0
        if last == "same":
            last, last_scale = names if isinstance(names, str) else names[-1], scale
        scales = [scale] * len(hidden) + [last_scale]
        formats = network.layer_weights
        stored = network._stored()[first:] if any(name.startswith("int8") for name in formats) else ()
        for i, (weight, bias) in enumerate(layers):
            weight_scale = None
            if formats[i].startswith("int8"):
                weight, weight_scale = np.asarray(stored[i]["W"]), np.asarray(stored[i]["scale"])
            yield Layer(weight, bias, [*hidden, last][i], scales[i], formats[i], weight_scale)

    def labels(self) -> list[str] | list[int] | list[float]:
        """The class labels as strings, or as numbers, with 1 for True.

        Raises
        ------
        ValueError
            If there are both strings and numbers, or labels of another type.
        """
        values = self.classes.tolist()
        if all(isinstance(value, str) for value in values):
            return [str(value) for value in values]
        if all(isinstance(value, Integral | np.bool_) for value in values):
            return [int(value) for value in values]
        if all(isinstance(value, Real) for value in values):
            return [float(value) for value in values]
        kinds = ", ".join(sorted({type(value).__name__ for value in values}))
        raise ValueError(f"classes: expected only strings or only numbers in an export, got {kinds}")

    def keys(self, category: CategoryColumn) -> list[Key]:
        """The input value of each category of a column: numbers for a column of numbers or booleans, if they
        are different ones as float64, else strings. None for the category of missing values."""
        known = [name for name in category.names if name != MISSING]
        # The hash of a rare category is that of its string.
        numbers = None if category.buckets else _numbers(category.kind, known)
        keys: Iterator[Key] = iter(known if numbers is None else numbers)
        return [None if name == MISSING else next(keys) for name in category.names]

    def is_text(self, category: CategoryColumn) -> bool:
        """Whether the input values of the column are strings."""
        keys = self.keys(category)
        if not keys:
            return category.kind not in NUMERIC
        return not any(isinstance(key, float) for key in keys)


def _embedding(network: Network) -> Embedding | None:
    if network.numeric_embedding is None:
        return None
    (w1, b1), (w2, b2), *_ = network.parameters()
    n = len(w2) // 3
    return Embedding(w1.reshape(n, -1), b1.reshape(n, -1), w2.reshape(n, 3, -1), b2.reshape(n, 3))


def _numbers(kind: str, names: list[str]) -> list[float] | None:
    """The names of categories of this kind as numbers; None if they are not distinct numbers."""
    if kind not in NUMERIC:
        return None
    try:
        exact = [READERS[kind](name) for name in names]
        numbers = [float(number) for number in exact]
    except (CellError, OverflowError):
        return None
    return numbers if exact == numbers and len(set(numbers)) == len(numbers) else None
