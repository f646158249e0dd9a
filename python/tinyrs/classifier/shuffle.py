"""Mixes the rows of a stream in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = tuple[npt.NDArray[Any], ...]


class ShuffleBuffer:
    """Holds `size` rows of a stream, and gives them back in random order while others take their places.

    A row is given back after at most 2 x `size` other rows, so a sorted stream is mixed over this length.

    Parameters
    ----------
    size : int
        The number of rows that are held.
    piece : int
        The number of rows that are given back together; fewer at the end.
    like : sequence of array
        Arrays of some rows, (rows, ...), as `add` takes them: examples of the dtypes and shapes.
    rng : numpy.random.Generator
    """

    def __init__(
        self, size: int, piece: int, like: Sequence[npt.NDArray[Any]], rng: np.random.Generator
    ) -> None:
        self._piece, self._rng = piece, rng
        self._held = tuple(np.empty((size, *array.shape[1:]), array.dtype) for array in like)
        # The slots to fill next, and the filled ones in the order in which they are given back.
        self._free, self._next = np.arange(size), np.empty(0, np.intp)

    def add(self, rows: Arrays) -> Iterator[Arrays]:
        """Takes rows, and yields those that make room for them."""
        done, n_rows = 0, len(rows[0])
        while done < n_rows:
            slots = self._free[: n_rows - done]
            for held, new in zip(self._held, rows, strict=True):
                held[slots] = new[done : done + len(slots)]
            done, self._free = done + len(slots), self._free[len(slots) :]
            if not len(self._free):
                if len(self._next) < self._piece:
                    self._next = self._rng.permutation(len(self._held[0]))
                self._free, self._next = self._next[: self._piece], self._next[self._piece :]
                yield self._at(self._free)

    def rest(self) -> Iterator[Arrays]:
        """Yields the rows that are still held."""
        filled = np.setdiff1d(np.arange(len(self._held[0])), self._free)
        filled = self._rng.permutation(filled)
        for start in range(0, len(filled), self._piece):
            yield self._at(filled[start : start + self._piece])

    def _at(self, slots: npt.NDArray[np.intp]) -> Arrays:
        return tuple(held[slots] for held in self._held)
