"""Replaces a file completely or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file to be written to `path`: at any moment, `path` holds its old contents or all new ones.

    The file is written under a temporary name in the same folder, flushed to the disk, and renamed when the
    context ends.

    Raises
    ------
    OSError
        If it cannot be written; an existing file stays as it was.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file, got the folder {str(path)!r}")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's file is private to the user: give it the mode of the old file, or that of a new one.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if os.name == "posix":
        # The rename survives a power failure only after the folder is flushed too.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
