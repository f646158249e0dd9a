"""A `map` on several threads that keeps the order of its results and bounds their number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()


def map_in_order(work: Callable[[T], R], items: Iterator[T], threads: int) -> Generator[R]:
    """Yields `work(item)` for each item, in order, computed ahead by `threads` threads.

    At most `threads + 2` items are in memory. An exception of `items` or `work` is raised in the place of the
    result that it prevents, after all results before it.
    """
    pending: deque[Future[R]] = deque()
    failure = None
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                try:
                    item = next(items, _END)
                except Exception as error:
                    failure = error
                    break
                if item is _END:
                    break
                pending.append(pool.submit(work, item))
                if len(pending) > threads + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
    if failure is not None:
        raise failure


def read_ahead(items: Iterator[T]) -> Generator[T]:
    """Yields the items, each of which another thread reads while the one before is used."""
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(next, items, _END)
        while (item := reading.result()) is not _END:
            reading = reader.submit(next, items, _END)
            yield item
