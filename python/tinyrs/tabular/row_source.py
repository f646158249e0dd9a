"""Labelled rows that need not fit in memory: Parquet files, datasets of pyarrow, and functions."""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tinyrs.tabular.batches import DatasetPart, dataset_parts
from tinyrs.tabular.row_sample import RowNumbers, row_hashes
from tinyrs.tabular.sources import require_pyarrow
from tinyrs.tabular.tables import Table
from tinyrs.tabular.type_checks import is_dataset
from tinyrs.tabular.values import CellError

T = TypeVar("T")

BATCH_ROWS = 1 << 16
GOLDEN = (5**0.5 - 1) / 2


def is_row_source(X: Any, y: Any) -> bool:
    """Whether `fit` should read X and y as a `RowSource`.

    A dataset of pyarrow with an array of labels is a data frame.
    """
    if isinstance(X, (str, os.PathLike, RowSource)) or (callable(X) and not hasattr(X, "shape")):
        return True
    return is_dataset(X) and isinstance(y, str)


@dataclass(frozen=True)
class SourceRows:
    """Some rows of a `RowSource`.

    Attributes
    ----------
    numbers : array of shape (rows,)
        The number of each row in the source, from 0. A row has the same number each time it is read.
    table : pyarrow.Table
        The columns of the model, the target and the weights.
    """

    numbers: RowNumbers
    table: Any
    target: str
    weight: str | None

    @classmethod
    def concatenated(cls, parts: Sequence[SourceRows]) -> SourceRows:
        """The rows of all parts, in order. There must be some."""
        import pyarrow as pa

        table = pa.concat_tables([part.table for part in parts]).unify_dictionaries()
        numbers = np.concatenate([part.numbers for part in parts])
        return cls(numbers, table, parts[0].target, parts[0].weight)

    @property
    def columns(self) -> Any:
        """The columns of the model."""
        return self.table.drop_columns([self.target] + ([] if self.weight is None else [self.weight]))

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The labels, (rows,). ValueError if one is missing."""
        values, inverse = self.distinct_labels()
        labels: npt.NDArray[Any] = values[inverse]
        return labels

    def distinct_labels(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
        """The different labels, and the index of that of each row (rows,). ValueError if one is missing."""
        import pyarrow as pa

        labels = self.table[self.target]
        if pa.types.is_dictionary(labels.type):  # which may have values that no row has
            labels = labels.cast(labels.type.value_type)
        missing = labels.is_null(nan_is_null=True)
        if missing.to_numpy().any():
            row = self.numbers[int(missing.index(True).as_py())]
            raise ValueError(
                f"y: expected a label in every row, got a missing one in row {row} of column {self.target!r}"
            )
        # Not numpy.unique, which is 50 times as slow for text.
        encoded = labels.combine_chunks().dictionary_encode()
        return encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices.to_numpy().astype(np.intp)

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """The weights, (rows,), if the source has any. ValueError if one is negative, infinite or missing."""
        if self.weight is None:
            return None
        weights = np.asarray(self.table[self.weight].to_numpy(), dtype=np.float64)
        wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
        if wrong.size:
            raise ValueError(
                f"sample_weight: expected finite weights of at least 0, got {weights[wrong[0]]} in row "
                f"{self.numbers[wrong[0]]} of column {self.weight!r}"
            )
        return weights

    def read(self, use: Callable[[Table], T]) -> T:
        """What `use` returns for the columns of the model; an error about a cell names its row's number."""
        try:
            return use(Table.read(self.columns))
        except CellError as error:
            if error.column is None:
                raise
            raise error.in_row(int(self.numbers[error.row]), self.columns.column_names) from None

    def where(self, chosen: npt.NDArray[np.bool_]) -> SourceRows:
        """The rows for which `chosen` (rows,) is true."""
        return self if chosen.all() else self.take(np.flatnonzero(chosen))

    def take(self, indices: npt.NDArray[np.intp]) -> SourceRows:
        """The rows at these indices."""
        return SourceRows(self.numbers[indices], self.table.take(indices), self.target, self.weight)


@dataclass(frozen=True)
class ReadingOrder:
    """In which order the parts of a dataset are read, for rows that are mixed over `window` rows afterwards.

    Attributes
    ----------
    rng : numpy.random.Generator
    window : int
    parts_at_once : int
        The parts that are read in turns.
    batch_rows : int
        The rows that are read in one turn.
    slices : int
        The parts that each row group of Parquet is divided into; it is decoded for each of them.
    """

    rng: np.random.Generator
    window: int
    parts_at_once: int
    batch_rows: int
    slices: int = 1

    def of(self, n_rows: Sequence[int]) -> npt.NDArray[np.intp]:
        """A random order of parts with these numbers of rows, (parts,).

        The dataset is divided into places, each of some parts in a row. The order takes a random part of each
        place in turn, and goes from place to place in steps of the golden ratio of their number. So the parts
        of any window, and those that are read together, are evenly spread over the dataset, and like all of
        it even if it is sorted (Kronecker sequence; Niederreiter 1992).
        """
        n_parts = len(n_rows)
        rounds = max(round(sum(n_rows) / max(self.window, 1)), 1)  # of about a window each
        places = np.array_split(np.arange(n_parts), -(-n_parts // rounds)) if n_parts else []
        turns = np.argsort((self.rng.random() + GOLDEN * np.arange(len(places))) % 1)
        keys = [
            (self.rng.permutation(len(place)) + (turn + 0.5) / len(places)) / len(place)
            for place, turn in zip(places, turns, strict=True)
        ]
        return np.argsort(np.concatenate([*keys, []]))


class RowSource:
    """Labelled rows that can be read again and again.

    Parameters
    ----------
    source : path, pyarrow.dataset.Dataset or callable
        A Parquet file or a folder of them; a dataset; or a function without arguments that returns a fresh
        reader of the same rows in the same order: anything with `__arrow_c_stream__`.
    target : str
        The column of labels.
    weight : str, optional
        The column of weights. Rows of weight 0 are left out.
    drop : sequence of str
        Columns to leave out.
    prepare : callable, optional
        Maps each table that is read, and the number of its first row, to a table with the same rows, such as
        one with columns of other types. Rows to which it gives no label are left out.

    Attributes
    ----------
    names : list of str
        The columns of the model: all others.

    Raises
    ------
    ValueError
        If a column does not exist, or there is no column besides.
    TypeError
        If the function does not return a reader.
    OSError
        If a file cannot be read.
    """

    def __init__(
        self,
        source: Any,
        target: str,
        weight: Any = None,
        *,
        drop: Sequence[str] = (),
        prepare: Callable[[Any, int], Any] | None = None,
    ) -> None:
        require_pyarrow("fit: a path, a dataset or a reader")
        from pyarrow import dataset

        if isinstance(source, (str, os.PathLike)):
            source = dataset.dataset(source, format="parquet")
        self._source, self.target, self._prepare = source, target, prepare
        self._held_out: tuple[int, np.uint64] | None = None
        self._known_parts: list[_NumberedPart] | None = None
        found = (source if is_dataset(source) else self._reader()).schema.names
        if not found:
            raise ValueError("X: expected Parquet files or a table with columns, got none")
        wanted = {"y": (target, "labels")}
        if weight is not None:
            wanted["sample_weight"] = weight, "weights"
        for parameter, (name, what) in wanted.items():
            if not isinstance(name, str) or name not in found:
                listed = ", ".join(map(repr, found[:20])) + (", ..." if len(found) > 20 else "")
                got = repr(name) if isinstance(name, str) else f"a {type(name).__name__}"
                raise ValueError(
                    f"{parameter}: expected the name of the column of {what}, one of {listed}, got {got}"
                )
        self.weight: str | None = weight
        self.names = [name for name in found if name not in (target, weight, *drop)]
        if not self.names:
            raise ValueError(f"X: expected columns besides {target!r}, got none")

    def without(self, seed: int, last: np.uint64) -> RowSource:
        """The rows but those whose hash with this seed is at most `last`; see `RowSample`."""
        rest = copy.copy(self)
        rest._held_out = (seed, last)
        return rest

    def batches(self, order: ReadingOrder | None = None) -> Iterator[SourceRows]:
        """All rows, a batch at a time; those of a function keep their order."""
        import pyarrow as pa

        for first_row, batch in self._read(order):
            table = pa.Table.from_batches([batch])
            numbers = np.arange(first_row, first_row + len(batch), dtype=np.int64)
            rows = SourceRows(numbers, table, self.target, self.weight)
            if self._prepare is not None:
                rows = replace(rows, table=self._prepare(table, first_row))
                rows = rows.where(rows.table[self.target].is_valid().to_numpy())
            if self._held_out is not None:
                seed, last = self._held_out
                rows = rows.where(row_hashes(rows.numbers, seed) > last)
            weights = rows.weights
            if weights is not None:
                rows = rows.where(weights > 0)
            if len(rows.numbers):
                yield rows

    def n_rows(self) -> int | None:
        """The number of rows of a dataset, before any are left out; None for a function."""
        return sum(part.n_rows for part in self._parts()) if is_dataset(self._source) else None

    def largest_part(self) -> int:
        """The rows of the largest part of a dataset, which are read together; 0 for a function."""
        return max((part.n_rows for part in self._parts()), default=0)

    def _read(self, order: ReadingOrder | None) -> Iterator[tuple[int, Any]]:
        """Record batches, each with the number of its first row."""
        columns = [*self.names, self.target] + ([] if self.weight is None else [self.weight])
        if not is_dataset(self._source):
            yield from _numbered(0, (batch.select(columns) for batch in self._reader()))
            return
        parts, batch_rows, at_once = self._parts(), BATCH_ROWS, 1
        if order is not None:
            parts = [piece for part in parts for piece in part.sliced(order.slices)]
            parts = [parts[i] for i in order.of([part.n_rows for part in parts])]
            batch_rows, at_once = order.batch_rows, order.parts_at_once
        waiting = iter(parts)
        reading = deque(part.batches(columns, batch_rows) for part in islice(waiting, at_once))
        while reading:
            batches = reading.popleft()
            numbered = next(batches, None)
            if numbered is None:
                reading.extend(part.batches(columns, batch_rows) for part in islice(waiting, 1))
            else:
                yield numbered
                reading.append(batches)

    def _parts(self) -> list[_NumberedPart]:
        """The parts of a dataset; none for a function."""
        if self._known_parts is None:
            self._known_parts, row = [], 0
            for part in dataset_parts(self._source) if is_dataset(self._source) else ():
                n_rows = part.n_rows
                self._known_parts.append(_NumberedPart(part, row, 0, n_rows))
                row += n_rows
        return self._known_parts

    def _reader(self) -> Any:
        stream = self._source()
        if not hasattr(stream, "__arrow_c_stream__"):
            raise TypeError(
                "X: expected a function that returns a pyarrow.RecordBatchReader or another object with "
                f"__arrow_c_stream__, got one that returns a {type(stream).__name__}"
            )
        return require_pyarrow("fit: a reader").RecordBatchReader.from_stream(stream)


@dataclass(frozen=True)
class _NumberedPart:
    """The rows `start` to `stop` of a part of a dataset, whose first row has the number `first_row`."""

    part: DatasetPart
    first_row: int
    start: int
    stop: int

    @property
    def n_rows(self) -> int:
        return self.stop - self.start

    def sliced(self, n: int) -> list[_NumberedPart]:
        """Up to `n` slices of a row group of Parquet; other parts as a whole."""
        ends = np.linspace(0, self.n_rows, n + 1).astype(int).tolist() if self.part.is_row_group else []
        slices = [replace(self, start=start, stop=stop) for start, stop in pairwise(ends) if start < stop]
        return slices or [self]

    def batches(self, columns: Sequence[str], batch_rows: int) -> Iterator[tuple[int, Any]]:
        """The record batches, each with the number of its first row."""
        for row, batch in _numbered(0, self.part.batches(columns, batch_rows, buffered=True)):
            first, last = max(row, self.start), min(row + len(batch), self.stop)
            if first < last:
                yield self.first_row + first, batch.slice(first - row, last - first)
            if last == self.stop:
                return


def _numbered(first_row: int, batches: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """The batches that are not empty, each with the number of its first row."""
    for batch in batches:
        if len(batch):
            yield first_row, batch
            first_row += len(batch)
