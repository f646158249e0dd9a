"""Processes that keep the cores busy while something else is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tinyrs.bench.isolated import Channel, Worker

_TIMEOUT_S = 60.0


@contextmanager
def busy_processes(count: int, nice: int = 0) -> Iterator[None]:
    """A context in which `count` processes compute without a pause, at this niceness."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Worker(f"{__name__}:{spin.__name__}", nice)).receive(_TIMEOUT_S)
        yield


def spin(channel: Channel, nice: int) -> None:
    """A busy process: computes for ever."""
    os.nice(nice)
    channel.send("ready")
    while True:
        pass
