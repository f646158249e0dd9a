"""`tinyrs train --budget`: the limits, and the search for the best model within them."""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tinyrs.budget import BudgetSearch, fit_to_budget
from tinyrs.budget.latencies import FORMATS
from tinyrs.classifier import TinyClassifier
from tinyrs.cli.arguments import BYTES
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.fitting import FittedModel
from tinyrs.cli.output import say
from tinyrs.cli.table_reader import is_table_folder
from tinyrs.predictor import Predictor

_MICROSECONDS = {"us": 1.0, "ms": 1e3}
# Options of `train` that the search decides itself.
_DECIDED = ("cv", "hidden", "ensemble", "epochs", "numeric_embedding")


def limit(text: str) -> tuple[str, float]:
    """The type of an option: a latency such as 2us or 0.5ms, or a size such as 50KB."""
    match = re.fullmatch(r"([0-9.]+)\s*([a-zA-Z]+)", text)
    try:
        number, unit = float(match[1]) if match else 0.0, match[2] if match else ""
    except ValueError:
        number, unit = 0.0, ""
    if number > 0 and unit in _MICROSECONDS:
        return "max_us", number * _MICROSECONDS[unit]
    if number > 0 and unit.upper() in BYTES:
        return "max_bytes", number * BYTES[unit.upper()]
    raise argparse.ArgumentTypeError(f"expected a latency such as 2us, or a size such as 50KB, got {text!r}")


def check_options(options: argparse.Namespace) -> None:
    """Raises UsageError if other options are given that the search decides."""
    given = [name for name in _DECIDED if getattr(options, name) is not None]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"train: --budget chooses the model itself, so it excludes {names}")
    if Path(options.data).is_dir() and not is_table_folder(options.data):
        raise UsageError("train: --budget needs a table, got a folder")
    kinds = [kind for kind, _ in options.budget]
    if len(set(kinds)) < len(kinds):
        raise UsageError("train: --budget: expected at most one latency and one size")


@dataclass(frozen=True)
class Found:
    """The result of a search, as `FittedModel.model`."""

    search: BudgetSearch

    def predictor(self, *, quantize: str | None = None) -> Predictor:
        """The model, whose weights have the format that the search chose."""
        return self.search.predictor


def fit(X: Any, y: npt.NDArray[Any], options: argparse.Namespace) -> FittedModel:
    """Searches for the best model within `options.budget`, and prints what was tried."""
    start = time.perf_counter()
    limits = dict(options.budget)
    teacher = TinyClassifier(
        class_weight=options.class_weight, categorical_features=options.categorical or "auto"
    )
    found = fit_to_budget(
        X,
        y,
        max_us=limits.get("max_us"),
        max_bytes=None if "max_bytes" not in limits else int(limits["max_bytes"]),
        max_drop=options.max_drop,
        formats=[options.quantize] if options.quantize else FORMATS,
        teacher=teacher,
        time_limit=options.time_limit,
        progress=sys.stderr.isatty(),
        n_threads=options.threads,
        random_state=options.seed,
    )
    say(f"\n{found}", quiet=options.json)
    if found.best is None:
        raise CliError(f"train: {found.verdict()}")
    return FittedModel(Found(found), [], [], time.perf_counter() - start, False)
