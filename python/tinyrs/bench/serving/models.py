"""A model as a worker calls it, and how a worker loads it.

Other libraries are measured in the same way: a module of theirs returns a `Loaded`, as `load_tinyrs` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyrs
from tinyrs.bench.serving.rows import Rows
from tinyrs.bench.serving.settings import ModelFile

# The outputs of a model file may differ on another machine by the rounding of f32.
_ALLOWED = 1e-3


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Attributes
    ----------
    name : str
    loader : str
        The function that loads it in a worker and returns a `Loaded`, as "module:function".
    arguments : tuple
        The arguments of `loader`: JSON values.
    size : int or None
        The bytes of the model file.
    training_s : float or None
        How long its training took.
    labelled : bool
        Whether its rows have labels.
    """

    name: str
    loader: str
    arguments: tuple[object, ...]
    size: int | None = None
    training_s: float | None = None
    labelled: bool = False


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to predict.

    Attributes
    ----------
    one : callable
        Predicts one of `rows`, as a request handler would.
    many : callable
        The probabilities (rows, classes) of what `table` returns, with at most so many threads (None: all).
    table : callable
        Several rows as `many` takes them.
    rows : list
    targets : list of int or None
        The class of each row.
    """

    one: Callable[[Any], object]
    many: Callable[[Any, int | None], npt.NDArray[Any]]
    table: Callable[[Sequence[Any]], Any]
    rows: Sequence[Any]
    targets: Sequence[int] | None = None


class WrongModelError(Exception):
    """A model that does not predict what it predicted on the machine that saved it."""


def load_tinyrs(path: str, rows_path: str) -> Loaded:
    """The model in a file of tinyrs, after its self-test. Raises WrongModelError."""
    warnings.simplefilter("ignore", tinyrs.DataShiftWarning)
    model, rows = tinyrs.load(path), Rows.read(rows_path)
    if isinstance(model, tinyrs.Network):
        dtype = np.float64 if model.options["precision"] == "f64" else np.float32
        return Loaded(
            model.forward_one,
            lambda X, n_threads: model.forward(X, n_threads=n_threads),
            lambda chosen: np.array(chosen, dtype),
            rows.values,
        )
    difference = model.verify()
    if not difference < _ALLOWED:
        raise WrongModelError(
            f"{path}: wrong answer: the outputs differ by {difference:.2g} from those stored in the file"
        )
    return Loaded(
        model.predict_one,
        lambda X, n_threads: model.predict_proba(X, n_threads=n_threads),
        _table_of(model),
        rows.values,
        rows.targets,
    )


def _table_of(model: tinyrs.Predictor) -> Callable[[Sequence[Any]], Any]:
    """How rows become a table: an array if all columns are numbers, else a table of pyarrow, or lists."""
    if model.preprocessor is None or model.preprocessor.numbers_only:
        return lambda rows: np.array(rows, np.float64)
    names = model.feature_names_in_
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return list
    if names is None:
        return list
    return lambda rows: pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def tinyrs_subject(name: str, model: ModelFile, rows_path: Path, *, labelled: bool) -> Subject:
    """A model file of tinyrs, and the file with its rows."""
    return Subject(
        name,
        f"{__name__}:{load_tinyrs.__name__}",
        (str(model.path), str(rows_path)),
        model.path.stat().st_size,
        model.training_s,
        labelled,
    )
