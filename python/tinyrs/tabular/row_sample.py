"""A uniform sample of rows of bounded size, chosen by a hash of the number of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
RowNumbers = npt.NDArray[np.int64]


def row_hashes(numbers: RowNumbers, seed: int) -> Hashes:
    """A hash of each row's number, (rows,), uniform over 64 bits: SplitMix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(seed)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


class RowSample:
    """The `size` rows of a stream with the smallest hashes, in the order of their hashes.

    This is a uniform sample without replacement (bottom-k, Cohen and Kaplan 2007). The share of rows below a
    value differs from that in the stream by more than e with a probability of at most 2 exp(-2 size e^2)
    (Dvoretzky, Kiefer and Wolfowitz 1956; Massart 1990): 0.0027 with one in a thousand for 2^19 rows.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._tables: list[Any] = []
        self._numbers: list[RowNumbers] = []
        self._below = np.uint64(2**64 - 1)

    def add(self, numbers: RowNumbers, table: Any) -> None:
        """Offers the rows of a table of pyarrow, with their numbers (rows,)."""
        chosen = np.flatnonzero(row_hashes(numbers, self._seed) <= self._below)
        if chosen.size:
            self._tables.append(table.take(chosen))
            self._numbers.append(numbers[chosen])
        if sum(map(len, self._numbers)) > 2 * self._size:
            self._keep_smallest()

    def rows(self) -> tuple[Any, RowNumbers]:
        """The rows as a table of pyarrow, and their numbers. There must be some."""
        self._keep_smallest()
        return self._tables[0], self._numbers[0]

    def _keep_smallest(self) -> None:
        import pyarrow as pa

        numbers = np.concatenate(self._numbers)
        hashes = row_hashes(numbers, self._seed)
        smallest = np.argsort(hashes)[: self._size]
        table = pa.concat_tables(self._tables).unify_dictionaries().combine_chunks().take(smallest)
        self._tables, self._numbers = [table], [numbers[smallest]]
        if len(smallest) == self._size:
            self._below = hashes[smallest[-1]]
