"""Faults while a file is written: it holds the old contents or all new ones, and nothing is left behind.

`make kill KILLS=1000` kills writers at random moments; a few of those run here too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import io_faults
import pytest
from io_faults import ERRORS, WRITERS, Counter, content_of, fails_with, prepare, temporaries, watched
from tinyrs.files import atomic, model_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these are faults of POSIX systems")
ROOT_ONLY = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root")
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other devices")


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_fault_at_any_operation_leaves_the_old_file_or_the_new(tmp_path: Path, name: str) -> None:
    """Every operation fails once with each error; a full disk also stays full."""
    file, write = WRITERS[name]
    path, inputs, injected = tmp_path / file, prepare(tmp_path), 0
    write(path, 1)
    with watched(before=(counted := Counter())):
        write(path, 1)
    assert {"create", "write", "fsync", "replace"} <= set(counted.names)
    for n, operation in enumerate(counted.names):
        # Chunks are alike: a few of the writes are enough.
        if operation == "write" and counted.names[n - 1] == "write" == counted.names[n - 2] and n % 7:
            continue
        for code, sticky in [*((code, False) for code in ERRORS), (errno.ENOSPC, True)]:
            write(path, 1)
            fault = Counter(n, fails_with(code), sticky=sticky)
            failed = False
            try:
                with watched(before=fault):
                    write(path, 2)
            except OSError:
                failed = True
            injected += 1
            assert content_of(path) == (1 if failed else 2), (operation, n, errno.errorcode[code])
            assert set(os.listdir(tmp_path)) == {file} | inputs
            # Nothing after the rename is a failure.
            assert not failed or "replace" not in fault.names[:n], (operation, n)
    print(f"{name}: {injected} faults injected into {len(counted.names)} operations")


@pytest.mark.parametrize("name", ["network", "CSV"])
def test_an_interrupt_at_any_moment_is_passed_on(tmp_path: Path, name: str) -> None:
    """Ctrl-C just after any operation raises KeyboardInterrupt, not what it leads to."""
    file, write = WRITERS[name]
    path, inputs = tmp_path / file, prepare(tmp_path)
    write(path, 1)
    with watched(after=(counted := Counter())):
        write(path, 1)
    for n, operation in enumerate(counted.names):
        write(path, 1)

        def interrupt(name: str) -> None:
            raise KeyboardInterrupt

        with watched(after=Counter(n, interrupt)):
            if name == "CSV":
                with pytest.raises(OSError, match="the command failed") as caught:
                    write(path, 2)
                assert caught.value.errno == 130
            else:
                with pytest.raises(KeyboardInterrupt):
                    write(path, 2)
        assert content_of(path) in (1, 2), (operation, n)
        assert set(os.listdir(tmp_path)) == {file} | inputs


@pytest.mark.parametrize("name", ["network", "checkpoint"])
def test_a_kill_at_any_operation_leaves_the_old_file_or_the_new(tmp_path: Path, name: str) -> None:
    file, write = WRITERS[name]
    path = tmp_path / file
    write(path, 1)
    with watched(before=(counted := Counter())):
        write(path, 1)
    replaced = counted.names.index("replace")
    for n in range(len(counted.names)):
        code = f"""
            import os, signal, sys
            from pathlib import Path
            sys.path.insert(0, {str(Path(io_faults.__file__).parent)!r})
            from io_faults import WRITERS, Counter, watched
            with watched(before=Counter({n}, lambda name: os.kill(os.getpid(), signal.SIGKILL))):
                WRITERS[{name!r}][1](Path(sys.argv[1]), 2)
        """
        if counted.names[n] == "write" and n % 5:
            continue
        write(path, 1)
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), path])
        assert done.returncode == -signal.SIGKILL
        assert content_of(path) == (2 if n > replaced else 1)
        left = temporaries(tmp_path)
        assert len(left) <= 1
        assert set(os.listdir(tmp_path)) == {file, *left}
        for temporary in left:
            (tmp_path / temporary).unlink()


def test_writers_are_killed_at_random(tmp_path: Path) -> None:
    script = Path(io_faults.__file__).with_name("kill_writers.py")
    done = subprocess.run(
        [sys.executable, script, "--kills", "20", "--folder", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "20 kills survived" in done.stdout


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    """A writer that writes to the file itself does not pass."""

    def write(path: Path, content: int) -> None:
        with atomic.open(path, "wb") as file:  # type: ignore[attr-defined]
            file.write(model_file.network_to_bytes(io_faults.small_network(content)))

    path = tmp_path / "out"
    io_faults.save_network(path, 1)
    with (
        watched(before=Counter(2, fails_with(errno.EIO))),
        pytest.raises(OSError, match="injected into write"),
    ):
        write(path, 2)
    with pytest.raises(ValueError, match="model file"):
        content_of(path)


@ROOT_ONLY
@pytest.mark.parametrize("name", list(WRITERS))
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    """A real one: a file system of 128 KiB, of which less is free from try to try."""
    disk, (file, write) = tmp_path / "disk", WRITERS[name]
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed")
    try:
        inputs = prepare(disk)
        path, failures = disk / file, 0
        write(path, 1)
        for kilobytes in range(0, 128, 8):
            with contextlib.suppress(OSError), (disk / "filler").open("wb") as filler:
                filler.write(bytes(1024 * kilobytes))
            try:
                write(path, 2)
            except OSError:
                failures += 1
                assert content_of_big(path) == 1
            else:
                assert content_of_big(path) == 2
            (disk / "filler").unlink()
            assert set(os.listdir(disk)) == {file} | inputs
            write(path, 1)
        assert failures > 0
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def content_of_big(path: Path) -> int | None:
    """`content_of` of a copy on a disk with space."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return content_of(Path(shutil.copy(path, folder)))
