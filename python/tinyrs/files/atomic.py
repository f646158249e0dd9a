"""Writes a file so that its path holds the old contents or all of the new ones at any moment."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

# What is below these are names of open files and of the kernel's variables: nothing there can be replaced.
_NOT_FILES = ("/proc/", "/dev/fd/")
_MAX_LINKS = 40


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file to be written to `path`: at any moment, `path` holds its old contents or all new ones.

    The file is written under a temporary name, `.tinyrs-*.tmp` in the same folder, flushed to the disk, and
    renamed when the context ends. The target of a symbolic link is replaced, not the link; other hard links
    keep the old contents. The new file has the mode of the old one, and its owner and group if this process
    may set them. Devices, pipes and open files (`/dev/stdout`) are written to directly.

    An exception removes the temporary file. A killed process or a power failure leaves it: it can be deleted.

    Raises
    ------
    OSError
        If the file cannot be written; an existing file stays as it was. A folder that cannot be flushed is
        not an error, because the file has been replaced by then.
    """
    target = follow_links(path)
    if is_written_in_place(target):
        with _open_in_place(target) as file:
            yield file
        return
    if os.path.isdir(target):
        raise IsADirectoryError(f"path: expected a file, got the folder {os.fspath(path)!r}")
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".tinyrs-{os.urandom(8).hex()}.tmp")
    try:
        # The kernel applies the umask to the mode of a new file.
        with open(temporary, "xb") as file:
            if os.name == "posix":
                # Before anything is written, so that nobody can read more than before.
                _copy_owner_and_mode(target, file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        # It may not exist: an interrupt may have come after the rename.
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        _flush_folder(folder)


def follow_links(path: str | os.PathLike[str]) -> str:
    """The absolute path of what a path names through symbolic links; it need not exist.

    Raises
    ------
    OSError
        If the links form a circle.
    """
    name = os.fsdecode(path)
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(os.path.dirname(name))
        name = os.path.join(folder, os.path.basename(name))
        # In /proc/self/fd, a link stands for an open file and only shows the name which that file once had.
        if name.startswith(_NOT_FILES) or not os.path.islink(name):
            return name
        name = os.path.join(folder, os.readlink(name))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))


def is_written_in_place(target: str) -> bool:
    """Whether a path from `follow_links` is a device, a pipe or an open file, which cannot be replaced."""
    if target.startswith(_NOT_FILES):
        return True
    return os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target)


def _open_in_place(target: str) -> IO[bytes]:
    folder, name = os.path.split(target)
    # A descriptor of this process: opening its path again would truncate the file and start at its beginning.
    if name.isdecimal() and folder == os.path.realpath("/dev/fd"):
        return os.fdopen(os.dup(int(name)), "wb")
    return open(target, "wb")


def _copy_owner_and_mode(target: str, descriptor: int) -> None:
    """Gives an open file the mode of the file `target` and, if allowed, its owner and group."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        # One by one: a user may set the group to one of their groups, but not the owner.
        for owner, group in ((old.st_uid, -1), (-1, old.st_gid)):
            with suppress(OSError):
                os.fchown(descriptor, owner, group)
    # Some file systems have no modes; there both are the same.
    if (old.st_mode ^ new.st_mode) & 0o777:
        os.fchmod(descriptor, old.st_mode & 0o777)


def _flush_folder(folder: str) -> None:
    """Flushes a rename to the disk, if the file system can: otherwise only a power failure could undo it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
