"""What `Network.fit` gives back, and the progress bar that it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt


class _Required(TypedDict):
    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    samples_per_second: float


class Record(_Required, total=False):
    """What an epoch came to; the validation's numbers are there if there was a validation set."""

    validation_loss: float
    validation_score: float


@dataclass(frozen=True)
class History:
    """The course of a training: `history["loss"]` is an array with one number an epoch.

    Attributes
    ----------
    records : list of dict
        One a finished epoch: epoch, loss (mean over the training rows, each as it was when its batch came
        by), validation_loss and validation_score (with a validation set; the score is the accuracy, for
        several labels the share of rows with all of them right, for squared errors R^2), learning_rate (of
        the last step), seconds, samples_per_second.
    best_epoch : int
        The best by the monitor, counted from 0.
    stopped_by : {"finished", "patience", "callback"}
    """

    records: list[Record] = field(repr=False)
    best_epoch: int
    stopped_by: str

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, name: str) -> npt.NDArray[np.float64]:
        """That number of each epoch, of shape (epochs,); KeyError for a name that the records lack."""
        return np.array([record[name] for record in self.records])  # type: ignore[literal-required]


class ProgressBar:
    """A bar on standard error with a step an epoch. Raises ImportError if tqdm is not installed."""

    def __init__(self, epochs: int) -> None:
        try:
            from tqdm import tqdm
        except ModuleNotFoundError:
            raise ImportError("progress: expected tqdm to be installed: pip install tqdm") from None
        self._bar = tqdm(total=epochs, unit="epoch", leave=True)

    def update(self, record: Record) -> None:
        shown = {"loss": f"{record['loss']:.4g}"}
        if "validation_score" in record:
            shown["validation score"] = f"{record['validation_score']:.4f}"
        shown["samples/s"] = f"{record['samples_per_second']:,.0f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()
