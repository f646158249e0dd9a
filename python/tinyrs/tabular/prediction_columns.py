"""`PredictionColumns`: the columns that predictions add to a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import row_maxima


class PredictionColumns:
    """The columns that predictions add to a data frame.

    They are `label`, the most probable class of a row, `probability`, what the model gives to it, and with
    `proba` the probability of each class, as `probability_CLASS`. In multilabel models, only the last.

    Parameters
    ----------
    classes : sequence
        The labels.
    kept : sequence of str
        The columns of the table that stand before those of the predictions.
    proba : bool
    prefix : str
        What the names of all added columns start with.
    multilabel : bool

    Raises
    ------
    ValueError
        If two columns would have the same name.
    """

    def __init__(
        self, classes: Sequence[Any], kept: Sequence[str], proba: bool, prefix: str, multilabel: bool = False
    ) -> None:
        self._classes, self._kept = classes, list(kept)
        self._best = [] if multilabel else [f"{prefix}label", f"{prefix}probability"]
        self._each = [f"{prefix}probability_{name}" for name in classes if proba or multilabel]
        repeated = [name for name, count in Counter(self._names).items() if count > 1]
        if repeated:
            names = ", ".join(map(repr, repeated))
            raise ValueError(
                f"the table already has a column {names}: leave it out of columns=, or pass prefix="
            )

    @property
    def _names(self) -> list[str]:
        return [*self._kept, *self._best, *self._each]

    def of(self, frame: Any, p: npt.NDArray[Any]) -> Any:
        """The kept columns of a data frame of narwhals, and those for `p` (rows, classes)."""
        import narwhals.stable.v1 as nw

        library, added = frame.implementation, list[Any]()
        if self._best:
            labels = nw.new_series(self._best[0], self._classes, backend=library)
            best, highest = row_maxima(p)
            added += [labels[best], nw.new_series(self._best[1], highest, backend=library)]
        for name, values in zip(self._each, self._columns_of(p), strict=True):
            added.append(nw.new_series(name, values, backend=library))
        return frame.with_columns(*added).select(self._names)

    def of_batch(self, batch: Any, p: npt.NDArray[Any]) -> Any:
        """As `of`, for a record batch of pyarrow, in a fraction of the time that narwhals takes."""
        import pyarrow as pa

        predicted = batch.select(self._kept)
        if self._best:
            best, highest = row_maxima(p)
            predicted = predicted.append_column(self._best[0], self._arrow_labels.take(pa.array(best)))
            predicted = predicted.append_column(self._best[1], pa.array(highest))
        for name, values in zip(self._each, self._columns_of(p), strict=True):
            predicted = predicted.append_column(name, pa.array(values))
        return predicted

    @cached_property
    def _arrow_labels(self) -> Any:
        import pyarrow as pa

        return pa.array(self._classes)

    def _columns_of(self, p: npt.NDArray[Any]) -> Iterable[npt.NDArray[Any]]:
        """The values of the columns in `self._each`."""
        return np.ascontiguousarray(p.T) if self._each else ()
