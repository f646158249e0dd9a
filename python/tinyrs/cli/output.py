"""What commands write: lines, warnings and progress on the terminal, and files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tinyrs.cli.errors import CliError
from tinyrs.files import atomic

# The file name that means standard input or standard output.
STREAM = "-"


def say(text: str = "", *, quiet: bool = False) -> None:
    """Prints to standard output and flushes; does nothing if `quiet`."""
    if not quiet:
        print(text, flush=True)


def warn(text: str) -> None:
    """Prints a line to standard error."""
    print(f"tinyrs: {text}", file=sys.stderr, flush=True)


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
    """Opens a file for writing; `-` is standard output.

    The file appears complete or not at all: it is written under a temporary name, then renamed.
    """
    if path == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.exists() and not target.is_file():
        # A device or a named pipe cannot be replaced by renaming. For a folder, open() raises OSError.
        with target.open("wb") as file:
            yield file
        return
    check_writable(path)
    with atomic.writing(target) as file:
        yield file


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises CliError if `path` is a folder, or its folder does not exist or cannot be written to.

    Commands call it before a long computation whose result goes to `path`.
    """
    folder = Path(path).parent
    if Path(path).is_dir():
        raise CliError(f"{path}: expected a file to write to, got a folder")
    if not folder.is_dir():
        raise CliError(f"{path}: the folder {str(folder)!r} does not exist")
    if not os.access(folder, os.W_OK):
        raise CliError(f"{path}: no permission to write to the folder {str(folder)!r}")
