"""Faults while a file is written: it holds the old contents or all new ones, and nothing is left behind.

`make kill KILLS=1000` kills writers at random moments; a few of those run here too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import io_faults
import pytest
import tinyrs
from io_faults import ERRORS, WRITERS, Counter, content_of, fails_with, prepare, temporaries, watched
from tinyrs import Network
from tinyrs.files import atomic, model_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these are faults of POSIX systems")
ROOT_ONLY = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root")
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other devices")

# Faults at each operation.


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


# Links, devices, folders and names.


def save(path: Any, seed: int = 1) -> bytes:
    """Saves a network and returns the bytes that the file must have."""
    network = Network([3, 2], seed=seed)
    network.save(path)
    return model_file.network_to_bytes(network)


def test_the_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "latest").symlink_to("../v1")
    (tmp_path / "short").symlink_to(tmp_path / "folder" / "latest")
    save(tmp_path / "v1")
    for name in ("folder/latest", "short"):
        want = save(tmp_path / name, seed=hash(name) % 1000)
        assert (tmp_path / "v1").read_bytes() == want
    assert os.readlink(tmp_path / "short") == str(tmp_path / "folder" / "latest")
    assert os.readlink(tmp_path / "folder" / "latest") == "../v1"
    # The target of a link need not exist yet.
    (tmp_path / "next").symlink_to("v2")
    want = save(tmp_path / "next")
    assert (tmp_path / "v2").read_bytes() == want
    assert (tmp_path / "next").is_symlink()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="circle") as caught:
        save(tmp_path / "circle")
    assert caught.value.errno == errno.ELOOP


def device(folder: Path, name: str, major: int, minor: int) -> Path:
    """A character device: a new one for root, who could replace that in /dev."""
    if os.getuid() != 0:
        return Path("/dev", name)
    try:
        os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        (folder / name).open("wb").close()
    except PermissionError:
        pytest.skip("devices are not allowed")
    return folder / name


@LINUX_ONLY
def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    # As root, a defect would replace the real ones, and break the machine.
    null, full = (device(tmp_path, *numbers) for numbers in (("null", 1, 3), ("full", 1, 7)))
    save(null)
    with pytest.raises(OSError, match="No space left on device"):
        save(full)
    assert [stat.S_ISCHR(os.stat(path).st_mode) for path in (null, full)] == [True, True]
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    want = save(tmp_path / "pipe")
    reader.join()
    assert received == [want]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@LINUX_ONLY
@pytest.mark.skipif(not os.path.islink("/dev/stdout"), reason="/dev/stdout is not a link")
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_standard_output_by_name(tmp_path: Path, mode: str) -> None:
    """Redirected to a file, it is continued where it is; the link stays, also for root."""
    prepare(tmp_path)
    # A link as /dev/stdout is, which root could replace.
    link, out = tmp_path / "stdout", tmp_path / "out.csv"
    link.symlink_to(os.readlink("/dev/stdout"))
    out.write_bytes(b"kept\n")
    files = [str(tmp_path / name) for name in ("model", "table.csv")]
    predict = [sys.executable, "-m", "tinyrs", "predict", *files, "-o"]
    want = subprocess.run([*predict, "-"], check=True, capture_output=True).stdout
    with out.open(mode) as stream:
        subprocess.run([*predict, str(link)], check=True, stdout=stream)
    assert os.readlink(link) == os.readlink("/dev/stdout")
    message = f"50 rows written to {link}\n".encode()
    assert out.read_bytes() == (b"kept\n" if mode == "ab" else b"") + want + message
    piped = subprocess.run([*predict, str(link)], check=True, capture_output=True).stdout
    assert piped == want + message


def test_mode_and_other_threads_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of the old file is kept. The umask is never changed, not even for a moment."""

    def forbidden(mask: int) -> int:
        raise AssertionError("os.umask was called")

    mask = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", forbidden)
        save(tmp_path / "new")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
        for mode in (0o600, 0o666, 0o444):
            (tmp_path / "new").chmod(mode)
            save(tmp_path / "new")
            assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode
    finally:
        monkeypatch.undo()
        os.umask(mask)


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    path, modes = tmp_path / "out", set[int]()
    save(path)
    path.chmod(0o600)

    def look(name: str) -> None:
        if name == "write":
            modes.update(
                stat.S_IMODE((tmp_path / temporary).stat().st_mode) for temporary in temporaries(tmp_path)
            )

    with watched(before=look):
        save(path)
    assert modes == {0o600}


@ROOT_ONLY
def test_owner_and_group_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(path)
    os.chown(path, 65534, 1)
    want = save(path, seed=2)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 1)
    assert path.read_bytes() == want


def as_nobody(code: str, *arguments: object) -> str:
    """Runs Python code as a user without rights, and returns what it prints."""
    start = """
        import os, sys
        import numpy, tinyrs  # and what saving imports: they may be in a folder of root's
        from tinyrs.files import atomic, model_file
        from tinyrs import Network
        model_file.network_to_bytes(Network([3, 2]))
        os.setgroups([2])
        os.setgid(65534)
        os.setuid(65534)
    """
    run = [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


@ROOT_ONLY
def test_folders_without_rights(tmp_path: Path) -> None:
    """A folder that may not be written: the old file stays. One that may only be written: it is replaced."""
    for folder in tmp_path.parents[:-2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    old = save(folder / "model")
    code = """
        try:
            Network([3, 2], seed=7).save(sys.argv[1])
            print("saved")
        except OSError as error:
            print(type(error).__name__)
    """
    folder.chmod(0o555)
    assert as_nobody(code, folder / "model") == "PermissionError"
    assert ((folder / "model").read_bytes(), os.listdir(folder)) == (old, ["model"])
    folder.chmod(0o733)  # may be written, but not read: it cannot be flushed
    assert as_nobody(code, folder / "model") == "saved"
    assert os.listdir(folder) == ["model"]
    assert (folder / "model").read_bytes() == model_file.network_to_bytes(Network([3, 2], seed=7))
    # Group 2 is one of the user's, and root's file becomes the user's.
    os.chown(folder / "model", 0, 2)
    assert as_nobody(code, folder / "model") == "saved"
    assert ((folder / "model").stat().st_uid, (folder / "model").stat().st_gid) == (65534, 2)


def test_long_names(tmp_path: Path) -> None:
    for length in (200, 254, 255):
        path = tmp_path / ("m" * length)
        assert path.read_bytes() == save(path) if path.exists() else save(path) == path.read_bytes()
    assert temporaries(tmp_path) == []


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Threads and processes replace one file again and again: every reader sees one of their files."""
    path = tmp_path / "model"
    save(path, seed=0)
    wholes = {model_file.network_to_bytes(Network([3, 2], seed=seed)) for seed in range(5)}
    code = """
        import sys, tinyrs
        for _ in range(100):
            tinyrs.Network([3, 2], seed=int(sys.argv[2])).save(sys.argv[1])
    """
    run = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    processes = [subprocess.Popen([*run, str(seed)]) for seed in (1, 2)]

    def write(seed: int) -> None:
        for _ in range(100):
            save(path, seed)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (3, 4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(process.poll() is None for process in processes) or any(t.is_alive() for t in threads):
        seen.add(path.read_bytes())
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0]
    assert len(seen) > 1
    assert seen <= wholes
    assert os.listdir(tmp_path) == ["model"]


def test_loading_while_another_process_saves_never_fails(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(path)
    done = threading.Event()

    def write() -> None:
        for seed in range(200):
            save(path, seed)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert isinstance(tinyrs.load(path), Network)
    thread.join()
    assert path.read_bytes() == model_file.network_to_bytes(Network([3, 2], seed=199))
