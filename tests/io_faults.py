"""Faults of the operating system for the tests of `tinyrs.files.atomic`, and the writers that they hit."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tinyrs import Network, Predictor
from tinyrs.files import atomic, checkpoint, model_file
from tinyrs.predictor import loads

Act = Callable[[str], None]

# The calls of `atomic` that reach the operating system, besides those of the file that it writes to.
CALLS = ("open", "close", "fsync", "replace", "unlink", "stat", "fstat", "fchown", "fchmod", "readlink")


class OperatingSystem:
    """The module `os`, except that `before` and `after` are called around each of CALLS."""

    def __init__(self, before: Act, after: Act) -> None:
        self._before, self._after = before, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in CALLS:
            return found

        def call(*args: Any) -> Any:
            self._before(name)
            result = found(*args)
            self._after(name)
            return result

        return call


class RawFile(io.FileIO):
    """A file whose writes are short: at most 1,000 bytes each, with `before` and `after` around them."""

    def __init__(self, path: str, mode: str, before: Act, after: Act) -> None:
        before("create")
        super().__init__(path, mode)
        self._before, self._after = before, after
        try:
            after("create")
        except BaseException:
            self.close()
            raise

    def write(self, data: Any) -> int:
        self._before("write")
        n = super().write(memoryview(data).cast("B")[:1000])
        self._after("write")
        return n


@contextlib.contextmanager
def watched(before: Act = lambda name: None, after: Act = lambda name: None) -> Iterator[None]:
    """Calls `before` and `after` with the name of each operation of `atomic.writing`."""

    def open_watched(path: str, mode: str) -> io.BufferedWriter:
        return io.BufferedWriter(RawFile(path, mode, before, after), buffer_size=512)

    names: Any = vars(atomic)
    names["os"], names["open"] = OperatingSystem(before, after), open_watched
    try:
        yield
    finally:
        names["os"] = os
        del names["open"]


class Counter:
    """Calls `act` at the n-th operation; counts all of them. `sticky`: at all later ones too."""

    def __init__(self, n: int = -1, act: Act = lambda name: None, *, sticky: bool = False) -> None:
        self.n, self.act, self.sticky = n, act, sticky
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.names.append(name)
        at = len(self.names) - 1
        if at == self.n or (self.sticky and at > self.n >= 0 and name in ("create", "write", "fsync")):
            self.act(name)


def fails_with(code: int) -> Act:
    """Raises the OSError for an error number such as `errno.ENOSPC`."""

    def fail(name: str) -> None:
        raise OSError(code, f"{os.strerror(code)} (injected into {name})")

    return fail


ERRORS = [errno.ENOSPC, errno.EIO, errno.EINVAL]

# Writers: each writes one of two contents to a path, and always the same bytes for the same content.


def small_network(content: int) -> Network:
    return Network([6, 30, 3], output_activation="softmax", seed=content)


def save_network(path: Path, content: int) -> None:
    small_network(content).save(path)


def save_predictor(path: Path, content: int) -> None:
    Predictor(small_network(content), None, np.array(["a", "b", "c"])).save(path)


def export_c(path: Path, content: int) -> None:
    Predictor(small_network(content), None, np.array(["a", "b", "c"])).to_c(path, name="model")


def write_checkpoint(path: Path, content: int) -> None:
    """The files differ in the measured times from call to call: `is_whole` tells whether one is complete."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)
    small_network(content).fit(X, y, epochs=1, seed=content, checkpoint=path, n_threads=1)


def predict_table(path: Path, content: int) -> None:
    """Predictions of the command line, as CSV or, if the path ends so, as Parquet.

    Reads `model` and `table.csv` in the folder of `path`, which `prepare` writes."""
    from tinyrs.cli.main import main

    prefix = f"--prefix=p{content}_"
    status = main(
        ["predict", str(path.parent / "model"), str(path.parent / "table.csv"), "-o", str(path), prefix]
    )
    if status != 0:
        raise OSError(status, "the command failed")


def prepare(folder: Path) -> set[str]:
    """Writes the inputs of `predict_table` to an empty folder, and returns their names."""
    save_predictor(folder / "model", 0)
    rows = np.random.default_rng(0).normal(size=(50, 6)).round(3).tolist()
    lines = [",".join(f"x{i}" for i in range(6)), *(",".join(map(str, row)) for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return {"model", "table.csv"}


WRITERS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "network": ("out", save_network),
    "predictor": ("out", save_predictor),
    "C": ("out.h", export_c),
    "checkpoint": ("out", write_checkpoint),
    "CSV": ("out.csv", predict_table),
    "Parquet": ("out.parquet", predict_table),
}


def content_of(path: Path) -> int | None:
    """Which content a complete file has; None if there is no file. AssertionError for any other file."""
    if not path.exists():
        return None
    data = path.read_bytes()
    if path.suffix == ".h":
        whole = {}
        for content in (1, 2):
            other = path.with_name("reference.h")
            export_c(other, content)
            whole[other.read_bytes()] = content
            other.unlink()
        return whole[data]
    if path.suffix == ".csv":
        header, *rows = data.decode().splitlines()
        assert [len(row.split(",")) for row in rows] == [8] * 50
        return int(header[-len("1_probability")])
    if path.suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        assert (table.num_rows, table.num_columns) == (50, 8)
        return int(table.column_names[-1][1])
    if model_file.from_bytes(data)[0] == "checkpoint":
        return int(checkpoint.read(path, {})["seed"])
    model = loads(data)
    network = model if isinstance(model, Network) else model.network
    weights = [net.parameters()[0][0].tolist() for net in (network, small_network(1), small_network(2))]
    return weights.index(weights[0], 1)


def temporaries(folder: Path) -> list[str]:
    """The temporary files in a folder."""
    return [name for name in os.listdir(folder) if name.startswith(".tinyrs-") and name.endswith(".tmp")]
