"""Installs a wheel in fresh virtual environments, and uses it.

    python tests/wheel_smoke.py [--python EXE]... [--pytest] WHEEL

Each Python 3.10+ on the machine (or each EXE) gets a fresh virtual environment with binary packages only, and
a PATH without other programs (no Rust, no compiler, no git). There, `import tinyrs` must need numpy only, and
quick_benchmark.py, copied into an empty folder, must print its first line. This script needs only the
standard library.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)

# Imports ensurepip, which virtual environments need and Debian's python3 does not have.
IDENTIFY = """
import ensurepip, platform, sys, sysconfig
free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(platform.python_implementation(), sys.version_info[0], sys.version_info[1], free_threaded)
"""

# The time that `import tinyrs` takes after numpy is imported, in ms.
IMPORT = """
import sys, time
import numpy
start = time.perf_counter()
import tinyrs
elapsed = time.perf_counter() - start
assert tinyrs.__file__.startswith(sys.prefix), tinyrs.__file__
print(elapsed * 1e3)
"""


def say(text: str) -> None:
    """Prints without buffering, in order with the output of pip and pytest."""
    print(text, flush=True)


def identify(python: str) -> tuple[tuple[int, int], str] | None:
    """The version and name (such as "3.14t") of a CPython that can create environments, else None."""
    try:
        answer = subprocess.run([python, "-c", IDENTIFY], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    fields = answer.stdout.split()
    if answer.returncode != 0 or len(fields) < 3 or fields[0] != "CPython":
        return None
    version = (int(fields[1]), int(fields[2]))
    return version, ".".join(fields[1:3]) + "".join(fields[3:])


def pythons_on_this_machine() -> list[str]:
    """One interpreter per Python version, from pyenv and PATH, oldest first."""
    folders = [*Path.home().glob(".pyenv/versions/*/bin"), *map(Path, os.environ["PATH"].split(os.pathsep))]
    names = (str(path) for folder in folders for path in sorted(folder.glob("python3*")))
    found: dict[tuple[tuple[int, int], str], str] = {}
    for python in [sys.executable, *(name for name in names if re.search(r"python3(\.\d+t?)?$", name))]:
        identity = identify(python)
        if identity is not None and identity[0] >= OLDEST_PYTHON:
            found.setdefault(identity, python)
    return [found[identity] for identity in sorted(found)]


def oldest_numpy(wheel: Path) -> str:
    """The requirement for the oldest numpy that the wheel supports."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        floor = re.search(r"^Requires-Dist: numpy>=([\d.]+)$", archive.read(metadata).decode(), re.MULTILINE)
    assert floor is not None, "the metadata of the wheel has no minimum version of numpy"
    return f"numpy=={floor[1]}.*"


class Environment:
    """A fresh virtual environment in `folder`, with no other programs on its PATH."""

    def __init__(self, python: str, folder: Path) -> None:
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(programs / "python")
        self.folder = folder
        leaks = ("CARGO", "CONDA", "PYTHON", "RUST", "VIRTUAL_ENV")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(leaks)}
        self.env["PATH"] = str(programs)

    def run(self, *args: str, cwd: Path | None = None) -> str:
        """Runs `python ARGS` and returns its standard output; standard error is not captured."""
        done = subprocess.run(
            [self.python, *args], cwd=cwd or self.folder, env=self.env, stdout=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            sys.stdout.write(done.stdout)
        done.check_returncode()
        return done.stdout

    def install(self, *packages: str) -> None:
        self.run("-m", "pip", "install", "--quiet", "--only-binary=:all:", *packages)


def smoke(python: str, wheel: Path, with_pytest: bool) -> None:
    """Raises unless `wheel` installs into a fresh environment of `python` and works there."""
    identity = identify(python)
    if identity is None:
        raise SystemExit(f"{python} is not a CPython that can create virtual environments")
    version, name = identity
    with tempfile.TemporaryDirectory(prefix="tinyrs-smoke-") as folder:
        env = Environment(python, Path(folder))
        env.install("--no-deps", str(wheel))
        env.run("-c", "import tinyrs; tinyrs.Network([2, 3], seed=0).forward_one([1, 2])")  # without numpy
        env.install(str(wheel), *([oldest_numpy(wheel)] if version == OLDEST_PYTHON else []))
        env.run("-c", "import tinyrs")  # with numpy and nothing else installed
        env.run("-m", "tinyrs", "--help")

        env.install(f"{wheel}[bench]")
        numpy = env.run("-c", "import numpy; print(numpy.__version__)").strip()
        # Without the first import, which reads files that are not yet cached.
        extra = statistics.median([float(env.run("-c", IMPORT)) for _ in range(6)][1:])
        say(f"Python {name}: import tinyrs takes {extra:.1f} ms more than numpy {numpy} alone")

        shutil.copy(REPO / "quick_benchmark.py", folder)
        for precision in ("f32", "f64"):
            flags = ["-p", precision, "-n", "20", "-l", "3", "-d", "64", "-a", "sigmoid", "--engine", "both"]
            first_line = env.run("quick_benchmark.py", *flags).partition("\n")[0]
            if not re.fullmatch(r"Total time for 20 run\(s\) was \d+\.\d+ ms", first_line):
                raise AssertionError(f"quick_benchmark.py printed {first_line!r} first")
            say(f"Python {name}, {precision}: {first_line}")

        if with_pytest:
            env.install(f"{wheel}[bench,plot]", "pytest", "hypothesis")
            # In the repository, because tests read its sources. `tinyrs` is imported from the wheel.
            say(env.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=REPO))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path, nargs="+", help="the .whl file (exactly one)")
    parser.add_argument("--python", action="append", help="interpreter to try (default: every 3.10+ found)")
    parser.add_argument("--pytest", action="store_true", help="also run the tests on the installed wheel")
    args = parser.parse_args()
    if len(args.wheel) != 1 or not args.wheel[0].is_file():
        given = ", ".join(map(str, args.wheel))
        parser.error(f"expected one wheel that exists, got {given}: run `make wheel` first")

    passed, failed = 0, 0
    for python in args.python or pythons_on_this_machine():
        try:
            smoke(python, args.wheel[0].resolve(), args.pytest)
            passed += 1
        except (AssertionError, subprocess.CalledProcessError) as error:
            print(f"{python}: {error}", file=sys.stderr)
            failed += 1
    print(f"smoke: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
