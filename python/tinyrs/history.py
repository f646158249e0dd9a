"""The result of `Network.fit`, and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt


class _Required(TypedDict):
    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    samples_per_second: float


class Record(_Required, total=False):
    """The results of one epoch. The fields about validation exist only with a validation set."""

    validation_loss: float
    validation_score: float


@dataclass(frozen=True)
class History:
    """The results of a call of `Network.fit`.

    ``history["loss"]`` is an array with the loss of each epoch, and so on for the other fields of `records`.
    ``len(history)`` is the number of finished epochs.

    Attributes
    ----------
    records : list of dict
        One dict per finished epoch:

        - epoch: the number of the epoch, from 0.
        - loss: the mean training loss without label smoothing, computed on each batch before its step.
        - validation_loss, validation_score (only with a validation set): the score is the accuracy for labels
          and distributions, the share of rows with every output right for "binary_cross_entropy", and R^2 for
          "squared_error".
        - learning_rate: that of the last step.
        - seconds: the duration of the epoch.
        - samples_per_second: the number of training rows per second.
    best_epoch : int
        The number of the best epoch according to `monitor`.
    stopped_by : {"finished", "patience", "callback"}
        Why training stopped.
    """

    records: list[Record] = field(repr=False)
    best_epoch: int
    stopped_by: str

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, name: str) -> npt.NDArray[np.float64]:
        """One field of all records, as an array of shape (epochs,).

        Raises
        ------
        KeyError
            If the records do not have this field.
        """
        return np.array([record[name] for record in self.records])  # type: ignore[literal-required]


@contextmanager
def progress_bar(total: int, label: str, unit: str, *, shown: bool) -> Iterator[Callable[[str], object]]:
    """Yields a function that advances a bar by one `unit` and shows a note; shows nothing unless `shown`.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """
    if not shown:
        yield lambda note: None
        return
    with _tqdm()(total=total, desc=label, unit=unit) as bar:

        def advance(note: str) -> None:
            bar.set_postfix_str(note, refresh=False)
            bar.update()

        yield advance


@contextmanager
def row_bar(total: int | None, label: str, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """Yields a function that advances a bar by a number of rows; shows nothing unless `shown`.

    The bar disappears at the end. Its length is unknown if `total` is None.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """
    if not shown:
        yield lambda rows: None
        return
    with _tqdm()(total=total, desc=label, unit=" rows", unit_scale=True, leave=False) as bar:
        yield bar.update


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        raise ImportError("progress: needs tqdm, which is not installed: pip install tqdm") from None
    return tqdm


class ProgressBar:
    """A labelled progress bar that advances once per epoch: on standard error, or in a notebook.

    Parameters
    ----------
    epochs : int
        The number of epochs.
    label : str

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """

    def __init__(self, epochs: int, label: str = "fit") -> None:
        self._bar = _tqdm()(total=epochs, desc=label, unit="epoch")

    def update(self, record: Record) -> None:
        """Advances by one epoch and shows its results."""
        shown = {"loss": f"{record['loss']:.4g}"}
        if "validation_score" in record:
            shown["validation score"] = f"{record['validation_score']:.4f}"
        shown["samples/s"] = f"{record['samples_per_second']:,.0f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def relabel(self, label: str, epochs: int) -> None:
        """Changes the label; `epochs` is the number of epochs that are left."""
        self._bar.total = self._bar.n + epochs
        self._bar.set_description(label)

    def close(self) -> None:
        """Leaves the finished bar on the screen."""
        self._bar.close()
