"""Trains networks on rows that are read again in each epoch, through a shuffle buffer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import get_num_threads
from tinyrs.classifier.data import Dataset, Floats, Indices, class_indices
from tinyrs.classifier.evaluation import EvaluationSet
from tinyrs.classifier.members import Callback, Members, all_of
from tinyrs.classifier.memory_plan import MemoryPlan
from tinyrs.classifier.piecewise import PiecewiseTraining, piece_steps
from tinyrs.classifier.recipe import TrainingOptions
from tinyrs.classifier.shuffle import Arrays, ShuffleBuffer
from tinyrs.classifier.training_rows import mean_record
from tinyrs.history import History, Record, row_bar
from tinyrs.ordered_map import read_ahead
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.row_sample import RowNumbers, row_hashes
from tinyrs.tabular.row_source import ReadingOrder, RowSource, SourceRows


@dataclass(frozen=True)
class Encoding:
    """How rows become what a network is trained on.

    Attributes
    ----------
    class_weights : array of shape (n_classes,) or None
    precision : str
        That of the features.
    """

    preprocessor: Preprocessor
    classes: npt.NDArray[Any]
    class_weights: npt.NDArray[np.float64] | None
    precision: str

    def encode(self, rows: SourceRows) -> tuple[Floats, Indices, npt.NDArray[np.float64] | None]:
        """The encoded rows (rows, columns), their class indices and their weights (rows,)."""
        encoded = rows.read(self.preprocessor.encode)
        values, inverse = rows.distinct_labels()
        targets, weights = class_indices(values, self.classes)[inverse], rows.weights
        if self.class_weights is not None:
            of_classes = self.class_weights[targets]
            weights = of_classes if weights is None else weights * of_classes
        return encoded, targets, weights

    def dataset(self, encoded: Floats, targets: Indices, weights: npt.NDArray[np.float64] | None) -> Dataset:
        """The features of encoded rows."""
        return Dataset(self.preprocessor.transform(encoded, self.precision), targets, weights)


@dataclass(frozen=True)
class HeldOutRows:
    """The validation rows: those with the lowest hashes. Of several networks, each holds out another part.

    Attributes
    ----------
    seed : int
        That of the hashes.
    last : int
        The highest hash of a validation row; -1 if there are none.
    n_members : int
    n_rows : tuple of int
        The number of rows that each network holds out.
    digest : int
        See `digest_of`.
    """

    seed: int
    last: int
    n_members: int
    n_rows: tuple[int, ...]
    digest: int

    @classmethod
    def of(cls, numbers: RowNumbers, targets: Indices, seed: int, n_members: int) -> HeldOutRows:
        """These rows (rows,)."""
        if not len(numbers):
            return cls.none(seed, n_members)
        hashes = row_hashes(numbers, seed)
        found = cls(seed, int(hashes.max()), n_members, (), 0)
        members = found.members(numbers)
        n_rows = np.bincount(members, minlength=n_members).tolist()
        return replace(found, n_rows=tuple(n_rows), digest=found.digest_of(numbers, targets, members))

    @classmethod
    def none(cls, seed: int, n_members: int) -> HeldOutRows:
        """No rows."""
        return cls(seed, -1, n_members, (0,) * n_members, 0)

    def members(self, numbers: RowNumbers) -> npt.NDArray[np.int16]:
        """The index of the network that holds out each row (rows,); -1 for none."""
        if self.last < 0:
            return np.full(len(numbers), -1, np.int16)
        hashes = row_hashes(numbers, self.seed)
        members = (hashes % np.uint64(self.n_members)).astype(np.int16)
        return np.where(hashes <= np.uint64(self.last), members, np.int16(-1))

    def digest_of(self, numbers: RowNumbers, targets: Indices, members: npt.NDArray[np.int16]) -> int:
        """A sum over the validation rows that differs if their labels do."""
        chosen = members >= 0
        hashes = row_hashes(numbers[chosen], self.seed)
        with np.errstate(over="ignore"):
            return int((hashes * (targets[chosen] + 1).astype(np.uint64)).sum(dtype=np.uint64))


@dataclass(frozen=True)
class StreamedRows:
    """Rows that are read again in each epoch; see `TrainingRows`.

    Attributes
    ----------
    source : RowSource
    encoding : Encoding
    held_out : HeldOutRows
    plan : MemoryPlan
    n_rows : int
    verbose : bool
        Show how many rows an epoch has read.
    """

    source: RowSource
    encoding: Encoding
    held_out: HeldOutRows
    plan: MemoryPlan
    n_rows: int
    evaluation: list[EvaluationSet]
    class_frequencies: npt.NDArray[np.float64]
    verbose: bool

    @property
    def n_training(self) -> int:
        return self.n_rows - self.held_out.n_rows[0]

    @property
    def n_features(self) -> int:
        return self.encoding.preprocessor.feature_encoder.n_features

    def shown(self) -> tuple[Any, Any]:
        """See `TrainingRows`. There are no arrays to show."""
        return None, None

    def without_validation(self) -> StreamedRows:
        """See `TrainingRows`."""
        return replace(self, held_out=HeldOutRows.none(self.held_out.seed, 1), evaluation=[])

    def train(
        self,
        members: Members,
        options: Sequence[TrainingOptions],
        callbacks: Sequence[Callback],
        n_threads: int | None,
    ) -> History:
        """See `TrainingRows`. All networks are trained on a piece before the next one is read."""
        runs = [
            PiecewiseTraining(network, of_network, self.n_rows - held_out)
            for network, of_network, held_out in zip(members, options, self.held_out.n_rows, strict=True)
        ]
        threads = n_threads or get_num_threads()
        threads_each = max(threads // len(runs), 1)
        n_rows = [run.n_rows for run in runs]
        rows_in_piece = min(self.plan.piece, piece_steps(options[0], max(n_rows)) * options[0].batch_size)
        callback, records, stop = all_of(callbacks), list[Record](), False
        with ThreadPoolExecutor(min(len(runs), threads), thread_name_prefix="tinyrs-member") as pool:
            while not stop and len(records) < options[0].epochs:
                with closing(self._pieces(len(records), rows_in_piece)) as pieces:
                    for piece, held_out_by in pieces:
                        of_runs = [piece.rows(held_out_by != member) for member in range(len(runs))]
                        list(pool.map(PiecewiseTraining.add, runs, of_runs, repeat(threads_each)))
                found = list(pool.map(PiecewiseTraining.end_epoch, runs, repeat(threads_each)))
                records.append(mean_record(found, n_rows))
                stop = callback(records[-1])
        return History(records, len(records) - 1, "callback" if stop else "finished")

    def _pieces(self, epoch: int, n: int) -> Generator[tuple[Dataset, npt.NDArray[np.int16]]]:
        """The rows of an epoch in random order, `n` at a time, and the network that holds out each."""
        rng = np.random.default_rng([self.held_out.seed, epoch])
        buffer = None
        with (
            row_bar(self.n_rows, f"epoch {epoch + 1}", shown=self.verbose) as advance,
            closing(read_ahead(self._encoded(rng))) as batches,
        ):
            for rows in batches:
                if buffer is None:
                    buffer = ShuffleBuffer(min(self.plan.buffer, self.n_rows), n, rows, rng)
                for piece in buffer.add(rows):
                    yield self._piece(piece)
                advance(len(rows[0]))
            for piece in buffer.rest() if buffer is not None else ():
                yield self._piece(piece)

    def _piece(self, piece: Arrays) -> tuple[Dataset, npt.NDArray[np.int16]]:
        encoded, targets, held_out_by, *weights = piece
        return self.encoding.dataset(encoded, targets, weights[0] if weights else None), held_out_by

    def _encoded(self, rng: np.random.Generator) -> Iterator[Arrays]:
        """The rows of an epoch as encoded rows, targets, the network that holds out each, and weights if any.

        Raises
        ------
        ValueError
            At the end, if they are not the rows of the first pass.
        """
        n_rows = digest = 0
        plan = self.plan
        order = ReadingOrder(rng, plan.buffer, plan.parts, plan.batch_rows, plan.slices)
        for rows in self.source.batches(order):
            encoded, targets, weights = self.encoding.encode(rows)
            held_out_by = self.held_out.members(rows.numbers)
            n_rows += len(targets)
            digest += self.held_out.digest_of(rows.numbers, targets, held_out_by)
            yield encoded, targets, held_out_by, *(() if weights is None else (weights,))
        if (n_rows, digest % 2**64) != (self.n_rows, self.held_out.digest):
            raise ValueError(
                f"X: expected the same {self.n_rows:,} rows in the same order each time that they are read, "
                f"got {f'{n_rows:,} rows' if n_rows != self.n_rows else 'other labels'}"
            )
