"""Trains one classifier for `tinyrs train`: within a time limit; Ctrl-C can keep the best epoch so far."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import numpy as np

from tinyrs.classifier import TinyClassifier, default_epochs
from tinyrs.cli.output import warn
from tinyrs.cli.training_data import Part, cell_error
from tinyrs.history import Record
from tinyrs.predictor import Predictor
from tinyrs.tabular.column_notes import ColumnWarning
from tinyrs.tabular.row_source import RowSource
from tinyrs.tabular.values import CellError

# What the values of --numeric-embedding are for TinyClassifier.
EMBEDDINGS = {"auto": "auto", "pbld": "pbld", "none": None}


class Model(Protocol):
    """What `FittedModel` needs of a TinyClassifier."""

    def predictor(self, *, quantize: str | None = None) -> Predictor: ...


@dataclass(frozen=True)
class FittedModel:
    """A trained classifier, and how it was trained."""

    model: Model
    history: list[Record]  # one record an epoch; empty with --budget
    metric_curve: Sequence[float]  # the metric of --metric on validation rows after each epoch, if any
    seconds: float
    interrupted: bool  # whether Ctrl-C ended the training early


class FirstInterrupt:
    """Whether Ctrl-C was pressed. Pressed twice, it ends the program."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal."""
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True
        warn("interrupted: keeps the best epoch so far; press Ctrl-C again to stop without a model")


@contextmanager
def first_interrupt(active: bool) -> Iterator[FirstInterrupt]:
    """Within the context, the first Ctrl-C only sets `seen`, if `active`; else it interrupts as always."""
    first = FirstInterrupt()
    before = signal.signal(signal.SIGINT, first) if active else None
    try:
        yield first
    finally:
        if active:
            signal.signal(signal.SIGINT, before)


def can_keep(options: argparse.Namespace) -> bool:
    """Whether a model whose training is interrupted may be kept: after a question, or with --keep."""
    return bool(options.keep) or (sys.stdin.isatty() and sys.stderr.isatty())


def asked_to_keep(options: argparse.Namespace) -> bool:
    """Whether the interrupted model is to be written; asks without --keep. Only if `can_keep`."""
    if options.keep:
        return True
    print(f"tinyrs: write this model to {options.output}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def fit(
    part: Part, options: argparse.Namespace, *, time_limit: float | None = None, keep: bool = False
) -> FittedModel:
    """Trains a classifier within `time_limit` seconds, if there is a limit.

    With `keep`, the first Ctrl-C ends the training after the present epoch. TinyClassifier then trains on all
    rows up to the best epoch so far, as after any training.
    """
    start, history, times = time.perf_counter(), list[Record](), list[float]()
    epochs = options.epochs or default_epochs(part.n_rows)
    with first_interrupt(keep) as interrupt, warnings.catch_warnings():
        # They are in the list of columns already.
        warnings.simplefilter("ignore", ColumnWarning)

        def after_epoch(record: Record) -> bool:
            """Returns True to stop training."""
            history.append(record)
            times.append(time.perf_counter() - start)
            return interrupt.seen or (time_limit is not None and times[-1] > time_limit)

        defaults = TinyClassifier()
        model = TinyClassifier(
            hidden_layer_sizes=options.hidden or defaults.hidden_layer_sizes,
            n_ensemble=options.ensemble or defaults.n_ensemble,
            numeric_embedding=EMBEDDINGS[options.numeric_embedding or "auto"],
            max_iter=epochs,
            class_weight=options.class_weight,
            callbacks=[after_epoch],
            categorical_features=options.categorical or "auto",
            n_threads=options.threads,
            random_state=options.seed,
        )
        if time_limit is not None and epochs > 2:
            # The learning rate schedule needs the number of epochs in advance. Two trial epochs estimate it.
            model.set_params(max_iter=2, refit=False)
            _fit(model, part, options)
            trial = time.perf_counter() - start
            epoch = times[-1] - times[0] if len(times) > 1 else time_limit
            # Preparing the data takes as long again as in the trial, which was all but its two epochs.
            remaining = time_limit - trial - (trial - 2 * epoch)
            if model.n_ensemble == 1:
                # Each epoch runs twice: on the training part, then on all rows.
                epoch *= 1 + 1 / (1 - model.validation_fraction)
            model.set_params(max_iter=int(np.clip(remaining / max(epoch, 1e-9), 1, epochs)), refit=True)
            history.clear()
        _fit(model.set_params(verbose=int(sys.stderr.isatty())), part, options)
        curve = model.evals_result_["valid_0"][options.metric] if model.evals_result_ else []
        return FittedModel(model, history, curve, time.perf_counter() - start, interrupt.seen)


def _fit(model: TinyClassifier, part: Part, options: argparse.Namespace) -> None:
    """Fits the model. CliError with the file, column and row of a value that does not fit its column."""
    try:
        model.fit(part.X, part.y, eval_metric=options.metric, max_memory=options.max_memory)
    except CellError as error:
        raise cell_error(error, part.X, part.file) if isinstance(part.X, RowSource) else error from None
