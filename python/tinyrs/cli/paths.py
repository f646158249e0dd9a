"""Checks the files of a command before it starts: outputs can be written, and are not among its inputs."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.output import STREAM
from tinyrs.files import atomic

Name: TypeAlias = str | os.PathLike[str]


def check_files(reads: Sequence[Name | None], writes: Sequence[Name | None]) -> None:
    """Refuses outputs that would overwrite an input or each other; None stands for a file not given.

    Commands call it before they do anything. `-` is standard input or output.

    Raises
    ------
    UsageError
        If an output is also an input, or two outputs are the same file: by another spelling, a link, or a
        redirection too.
    CliError
        If an output is a folder, or its folder does not exist or cannot be written to.
    """
    inputs = [name for name in reads if name is not None]
    outputs = [name for name in writes if name is not None]
    for i, output in enumerate(outputs):
        if os.fspath(output) != STREAM:
            check_writable(output)
        for other in inputs:
            if _same(_identity(output, sys.stdout), _identity(other, sys.stdin)):
                raise UsageError(f"{output}: expected another output file, because {other} is read from it")
        for other in outputs[:i]:
            if _same(_identity(output, sys.stdout), _identity(other, sys.stdout)):
                raise UsageError(f"{output}: expected another output file, because {other} is written to it")


def check_writable(path: Name) -> None:
    """Raises CliError if `path` is a folder, or its folder does not exist or cannot be written to."""
    target = Path(atomic.follow_links(path))
    if target.is_dir():
        raise CliError(f"{path}: expected a file to write to, got a folder")
    if atomic.is_written_in_place(str(target)):
        return
    # As it was typed, unless a link leads elsewhere.
    folder = target.parent if os.path.islink(path) else Path(path).parent
    if not folder.is_dir():
        raise CliError(f"{path}: the folder {str(folder)!r} does not exist")
    if not os.access(folder, os.W_OK):
        raise CliError(f"{path}: no permission to write to the folder {str(folder)!r}")


def _identity(path: Name, stream: object) -> tuple[int, int] | str | None:
    """The device and inode of a file, its resolved path if it does not exist, None if it is not regular."""
    try:
        found = os.fstat(stream.fileno()) if os.fspath(path) == STREAM else os.stat(path)  # type: ignore[attr-defined]
    except FileNotFoundError:
        return os.path.realpath(path)
    except (OSError, ValueError, AttributeError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _same(first: tuple[int, int] | str | None, second: tuple[int, int] | str | None) -> bool:
    return first is not None and first == second
