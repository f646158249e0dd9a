"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to: whatever happens meanwhile, `path` holds the old bytes or all of the new ones.

    It is written under another name in the same folder, brought to the disk, and renamed at the end.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is unharmed.
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
        # mkstemp made it for nobody else; this is a file like any other.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if os.name == "posix":
        # The name itself is safe only when its folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
