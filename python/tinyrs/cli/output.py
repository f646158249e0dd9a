"""What commands write: lines, warnings and progress on the terminal, and files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from tinyrs.files import atomic

# The file name that means standard input or standard output.
STREAM = "-"


def printable(text: object) -> str:
    """Text in which characters that a terminal would obey or not show are escaped, such as `\\x1b`.

    Names and labels come from files. Control characters in them could move the cursor, change what is shown
    above, or reverse the direction of the line; line breaks could imitate another message.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def say(text: str = "", *, quiet: bool = False) -> None:
    """Prints lines to standard output, each made `printable`, and flushes; does nothing if `quiet`."""
    if not quiet:
        print("\n".join(map(printable, text.split("\n"))), flush=True)


def warn(text: str) -> None:
    """Prints a line to standard error, made `printable`."""
    print(f"tinyrs: {printable(text)}", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(unit: str, *, quiet: bool = False) -> Iterator[Callable[[int], object]]:
    """Yields a function that adds to a count, shown on standard error after one second.

    Shows nothing if standard error is not a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda more: None
        return
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", unit_scale=True, delay=1, leave=False, file=sys.stderr) as bar:
        yield bar.update


@contextmanager
def open_output(path: str) -> Iterator[IO[bytes]]:
    """Opens a file for writing, as `atomic.writing` does; `-` is standard output."""
    if path == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with atomic.writing(path) as file:
        yield file
