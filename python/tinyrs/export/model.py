"""What an export writes: the parts of a predictor, and what of them can leave tinyrs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.tabular.preprocessor import MISSING, CategoryColumn, Preprocessor

Layer = tuple[npt.NDArray[Any], npt.NDArray[Any], str, float]
# What a category is given as: a text or a number; None for a missing one.
Key = str | float | None


@dataclass(frozen=True)
class Model:
    """The parts of a `Predictor`; see there."""

    network: Network
    preprocessor: Preprocessor | None
    classes: npt.NDArray[Any]
    multilabel: bool
    feature_names: tuple[str, ...] | None

    def __post_init__(self) -> None:
        """Refuses bounds of exp and squares that change more than what would overflow: an export has none."""
        options, largest = self.network.options, float(np.finfo(self.dtype).max)
        for name, limit in (("epsilon_exp", 1.0), ("epsilon_square", largest**0.5 / 2)):
            if options[name] > limit:
                raise ValueError(f"{name}: expected at most {limit:.6g} in an export, got {options[name]}")

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Of the network."""
        return np.dtype(np.float32 if self.network.precision == "f32" else np.float64)

    @property
    def n_columns(self) -> int:
        return self.network.layer_sizes[0] if self.preprocessor is None else self.preprocessor.n_columns

    @property
    def categories(self) -> tuple[CategoryColumn, ...]:
        return () if self.preprocessor is None else self.preprocessor.categories

    def column_name(self, column: int) -> str:
        return f"column_{column}" if self.feature_names is None else self.feature_names[column]

    def error(self, column: int, message: str) -> ValueError:
        """What is wrong with a column."""
        return ValueError(f"column {self.column_name(column)!r}: {message}")

    def layers(self) -> Iterator[Layer]:
        """Weights (outputs, inputs), biases, activation, and what its values are multiplied with."""
        network, scale = self.network, float(self.network.options["activation_scale"])
        layers = network.parameters()
        names = network.activation
        hidden = [names] * (len(layers) - 1) if isinstance(names, str) else list(names)
        last, last_scale = network.output_activation, 1.0
        if last == "same":
            last, last_scale = names if isinstance(names, str) else names[-1], scale
        scales = [scale] * len(hidden) + [last_scale]
        for (weight, bias), name, factor in zip(layers, [*hidden, last], scales, strict=True):
            yield weight, bias, name, factor

    def labels(self) -> list[str] | list[int] | list[float]:
        """The classes as strings or as numbers; True is 1."""
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
        """What each name of a category is given as outside: a number, if all of them are numbers of a kind,
        else a text, as str() writes the value. None for the missing one.

        Raises
        ------
        ValueError
            If two categories have the same text.
        """
        known = [name for name in category.names if name != MISSING]
        texts = [name[2:] for name in known]
        # Names are a type's first letter, a colon, and the text; see tinyrs.tabular.preprocessor.
        kinds = sorted({name[:2] for name in known})
        if len(set(texts)) < len(texts) or any(kind[1:] != ":" for kind in kinds):
            raise self.error(category.column, "expected categories that str() tells apart in an export")
        # Rare categories are told apart by their texts.
        numbers = _numbers(kinds[0], texts) if len(kinds) == 1 and not category.buckets else None
        keys: Iterator[Key] = iter(texts if numbers is None else numbers)
        return [None if name == MISSING else next(keys) for name in category.names]

    def is_text(self, category: CategoryColumn) -> bool:
        """Whether its values are given as texts."""
        return not any(isinstance(key, float) for key in self.keys(category))


def _numbers(kind: str, texts: list[str]) -> list[float] | None:
    """The texts of floats, integers or booleans as numbers, if they are different ones."""
    try:
        if kind == "f:":
            numbers = [float(text) for text in texts]
        elif kind == "i:":
            whole = [int(text) for text in texts]
            numbers = [float(value) for value in whole]
            if whole != numbers:
                return None
        elif kind == "b:":
            numbers = [{"True": 1.0, "False": 0.0}[text] for text in texts]
        else:
            return None
    except (ValueError, KeyError, OverflowError):  # a type of the same letter
        return None
    return numbers if len(set(numbers)) == len(numbers) else None
