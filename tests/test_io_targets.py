"""Where files are written: links, devices, pipes, private files, folders without rights, several writers."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
import tinyrs
from io_faults import prepare, temporaries, watched
from tinyrs import Network
from tinyrs.files import model_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these are faults of POSIX systems")
ROOT_ONLY = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root")
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other devices")


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
