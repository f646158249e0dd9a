"""`PredictionColumns`: the columns that predictions add to a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class PredictionColumns:
    """The columns that predictions add to a data frame: the label, and the probability of each class.

    Parameters
    ----------
    classes : sequence
        The labels.
    keep : sequence of str
        The columns of the table that stand before those of the predictions.
    label : str or None
        The name of the column of labels; None leaves it out.
    probability : str or None
        The names of the columns of probabilities, in which "{}" stands for the class; None leaves them out.

    Raises
    ------
    ValueError
        If two columns would have the same name, or there would be no columns of predictions.
    """

    def __init__(
        self, classes: Sequence[Any], keep: Sequence[str], label: str | None, probability: str | None
    ) -> None:
        self._classes, self._label = classes, label
        self._probabilities = [
            probability.replace("{}", str(name)) for name in classes if probability is not None
        ]
        added = [*([] if label is None else [label]), *self._probabilities]
        if not added:
            raise ValueError("label, probability: expected at least one name, got None for both")
        self.names = [*keep, *added]
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise ValueError(
                f"label, probability: expected names unlike each other and those of the columns to keep, got "
                f"{repeated[0]!r} twice: pass other names"
            )

    def of(self, frame: Any, p: npt.NDArray[Any]) -> Any:
        """The columns to keep of a data frame of narwhals, and those for `p` (rows, classes)."""
        import narwhals.stable.v1 as nw

        library, added = frame.implementation, []
        if self._label is not None:
            added.append(nw.new_series(self._label, self._classes, backend=library)[p.argmax(axis=1)])
        if self._probabilities:
            columns = np.ascontiguousarray(p.T)
            added += [
                nw.new_series(name, column, backend=library)
                for name, column in zip(self._probabilities, columns, strict=True)
            ]
        return frame.with_columns(*added).select(self.names)
