"""How `fit` on more rows than memory holds divides the memory that it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyrs.tabular.preprocessor_fit import fit_table
from tinyrs.tabular.row_source import BATCH_ROWS, RowSource, SourceRows

# Rows of the sample: with more, quartiles would not change visibly; see `RowSample`.
MAX_SAMPLE = 1 << 19
# The parts of a dataset that are read in turns at most, and the rows that are read of one at a time at least.
MAX_PARTS, MIN_BATCH_ROWS = 32, 1 << 8
# The parts that the shuffle buffer should hold, so that those of a sorted dataset are like all of it, and the
# slices that a row group is divided into for this at most. tests/fit_large.py compares rows that are sorted
# by class, in 1 MB, with the same rows in memory.
PARTS_IN_BUFFER, MAX_SLICES = 16, 8
# The bytes of one distinct value of text as a Python object.
TEXT_BYTES = 64
# Those of a label and a weight.
LABEL_BYTES = 16
# Those of a slot of the shuffle buffer, besides its row: its places in two orders.
SLOT_BYTES = 16


@dataclass(frozen=True)
class RowCost:
    """The bytes that a row takes: as Arrow, as Python objects, as encoded, and as features.

    The last two are with its label.
    """

    arrow: float
    objects: float
    encoded: float
    features: float

    @classmethod
    def of(cls, rows: SourceRows, categorical: list[int]) -> RowCost:
        """Measured on the first rows of a source. There must be some."""
        preprocessor = rows.read(lambda table: fit_table(table, categorical))
        encoded = rows.read(preprocessor.encode)
        return cls(
            rows.table.nbytes / len(rows.numbers),
            TEXT_BYTES * len(preprocessor.categories),
            LABEL_BYTES + encoded.itemsize * encoded.shape[1],
            LABEL_BYTES + np.dtype(np.float32).itemsize * preprocessor.feature_encoder.n_features,
        )

    @property
    def in_memory(self) -> float:
        """The bytes of a row in `fit` of a table in memory, which holds each form twice at times."""
        return self.arrow + self.objects + 2 * self.encoded + 2 * self.features


def memory_needed(source: RowSource, categorical: Sequence[str]) -> float:
    """About how many bytes `TinyClassifier.fit` takes for the rows of a dataset in memory; 0 without rows.

    `categorical` are the columns of numbers to treat as categories.
    """
    indices = [index for index, name in enumerate(source.names) if name in categorical]
    first = next(source.batches(), None)
    n_rows = source.n_rows()
    return 0.0 if first is None or n_rows is None else n_rows * RowCost.of(first, indices).in_memory


@dataclass(frozen=True)
class MemoryPlan:
    """What is held at the same time.

    Attributes
    ----------
    sample : int
        The rows that the quartiles of numbers come from, and the validation rows.
    validation : int
        The validation rows.
    buffer : int
        The rows of the shuffle buffer.
    piece : int
        The rows that are trained on together.
    parts : int
        The parts of a dataset that are read in turns.
    batch_rows : int
        The rows that are read of a part at a time.
    slices : int
        The slices that row groups are divided into, so that the buffer holds enough of them.
    """

    sample: int
    validation: int
    buffer: int
    piece: int
    parts: int
    batch_rows: int
    slices: int

    @classmethod
    def of(cls, max_memory: int, cost: RowCost, largest_part: int, batch_size: int) -> MemoryPlan:
        """The plan for a limit in bytes.

        A quarter of it is for the shuffle buffer, a quarter for the parts of a dataset, an eighth for the
        sample and an eighth for the validation rows.

        Raises
        ------
        ValueError
            If a piece or the shuffle buffer would have less than one batch.
        """
        held = cost.encoded + SLOT_BYTES
        buffer, piece = int(max_memory / 4 / held), int(max_memory / 16 / cost.features)
        if min(buffer, piece) < batch_size:
            needed = int(max(4 * held, 16 * cost.features) * batch_size) + 1
            raise ValueError(
                f"max_memory: expected at least {needed:,} bytes for a batch of {batch_size} rows, got "
                f"{max_memory:,}"
            )
        # One more is in memory while it takes the place of another.
        parts = int(np.clip(max_memory / 4 / (max(largest_part, 1) * cost.arrow) - 1, 1, MAX_PARTS))
        # The rows of a part must not fill the buffer: in turns, it holds rows of all parts that are read.
        batch_rows = int(np.clip(buffer // (2 * parts), MIN_BATCH_ROWS, BATCH_ROWS))
        return cls(
            # Compacting the sample holds it three times as Arrow.
            sample=_rows(max_memory / 8, 3 * cost.arrow + cost.objects + cost.encoded, MAX_SAMPLE),
            validation=_rows(max_memory / 8, cost.encoded + 2 * cost.features, MAX_SAMPLE),
            buffer=buffer,
            piece=piece,
            parts=parts,
            batch_rows=batch_rows,
            slices=int(np.clip(-(-PARTS_IN_BUFFER * largest_part // buffer), 1, MAX_SLICES)),
        )


def _rows(max_memory: float, row_bytes: float, most: int) -> int:
    return int(np.clip(max_memory / row_bytes, 1, most))
