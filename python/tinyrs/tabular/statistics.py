"""What the columns of the training rows were like."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Minimum, lower quartile, median, upper quartile, maximum.
Quartiles = tuple[float, ...]


class TrainingStatistics:
    """What the columns of the training rows were like, to compare other rows with.

    Attributes
    ----------
    n_rows : int
        The number of training rows.
    missing : tuple of int
        For each column of the table, how many values were missing.
    quartiles : tuple of (tuple of 5 float) or None
        For each column of the table, minimum, quartiles and maximum; None for categories, and for a column of
        missing values only.
    counts : tuple of tuple of int
        For each column of categories, how many rows had each of its `names`.
    """

    def __init__(
        self,
        n_rows: int,
        missing: tuple[int, ...],
        quartiles: tuple[Quartiles | None, ...],
        counts: tuple[tuple[int, ...], ...],
    ) -> None:
        self.n_rows, self.missing, self.quartiles, self.counts = n_rows, missing, quartiles, counts

    def __reduce__(self) -> tuple[Any, ...]:
        return TrainingStatistics, (self.n_rows, self.missing, self.quartiles, self.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrainingStatistics) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())

    def __repr__(self) -> str:
        return f"<TrainingStatistics of {self.n_rows} rows of {len(self.missing)} columns>"
