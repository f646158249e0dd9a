"""What the fuzz targets share: values from bytes, changed JSON, and the command line in this process."""

from __future__ import annotations

import contextlib
import io
import json
import math
import struct
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tinyrs
from tinyrs.cli.main import main

T = TypeVar("T")

# One folder for a process; a target overwrites its files.
_TEMPORARY = tempfile.TemporaryDirectory(prefix="tinyrs-fuzz-")
FOLDER = Path(_TEMPORARY.name)

STRINGS = (
    "",
    "a",
    "</script><b>",
    "&amp;\"'",
    "\x00\x1b[31m",
    "=1+1",
    "é\u202e",
    "nan",
    "1e999",
    "-0",
    "*/",
    "\\",
    "??/",
)


class Source:
    """Values from bytes, one after another, and zeros at their end; similar bytes give similar values."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.place : self.place + size]
        self.place += size
        return taken.ljust(size, b"\0")

    def rest(self) -> bytes:
        return self.data[self.place :]

    def whole(self, most: int) -> int:
        """From 0 to `most`."""
        size = max(1, (most.bit_length() + 7) // 8)
        return int.from_bytes(self.take(size), "little") % (most + 1)

    def pick(self, values: Sequence[T]) -> T:
        return values[self.whole(len(values) - 1)]

    def real(self) -> float:
        kind = self.whole(3)
        if kind == 0:
            return self.pick([0.0, -0.0, 1.0, 1e-300, 1e300, -1e15, math.nan, math.inf, -math.inf])
        if kind == 1:
            return float(struct.unpack("<d", self.take(8))[0])
        return self.whole(2000) / 100 - 10

    def text(self) -> str:
        if self.whole(1):
            return self.pick(STRINGS)
        return self.take(self.whole(12)).decode("utf-8", errors="replace")

    def json(self, depth: int = 2) -> Any:
        """A JSON value, also with numbers outside of every range."""
        values: list[Any] = [
            None,
            True,
            -1,
            self.whole(1 << 16),
            10 ** self.whole(400),
            self.real(),
            self.text(),
        ]
        kind = self.whole(len(values) + 1)
        if kind < len(values):
            return values[kind]
        if depth == 0:
            return [] if kind == len(values) else {}
        if kind == len(values):
            return [self.json(depth - 1) for _ in range(self.whole(4))]
        return {self.text(): self.json(depth - 1) for _ in range(self.whole(3))}


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from paths(item, (*path, key))


def changed(value: Any, source: Source) -> Any:
    """The JSON value with up to four changes: replaced, removed and copied values."""
    value = json.loads(json.dumps(value))
    for _ in range(source.whole(4)):
        every = list(paths(value))
        if not every:
            break
        *parents, last = source.pick(every)
        at = value
        for step in parents:
            at = at[step]
        kind = source.whole(3)
        if kind == 0:
            del at[last]
        elif kind == 1:
            other: Any = value
            for step in source.pick(every):
                try:
                    other = other[step]
                except (KeyError, IndexError):
                    break
            at[last] = json.loads(json.dumps(other))
        else:
            at[last] = source.json()
    return value


def refuses(work: Any, *beginnings: str) -> Any:
    """The result of `work()`, or None after a ValueError with one of these beginnings; other errors pass."""
    try:
        return work()
    except ValueError as error:
        if beginnings and not str(error).startswith(beginnings):
            raise
        return None


def command(*arguments: object) -> tuple[int, str]:
    """Runs `tinyrs ARGUMENTS` in this process; returns its status and its errors, which are checked.

    An exception that `main` does not turn into a message is a finding.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status = main([str(argument) for argument in arguments])
    text = err.getvalue()
    assert status in (0, 1, 2), f"exit status {status}: {text}"
    assert "Traceback" not in text, text
    assert "\x1b" not in text, f"an escape sequence reaches the terminal: {text!r}"
    if status:
        assert text.startswith("tinyrs: "), f"exit status {status} without a message: {text!r}"
    return status, text


def small_table(seed: int = 0) -> tuple[dict[str, list[Any]], list[str]]:
    """Sixty rows: a number with missing values, a string, an integer; and the class of each row."""
    rng = np.random.default_rng(seed)
    y = [("no", "yes")[i] for i in rng.integers(0, 2, 60)]
    return {
        "length": [None if value > 1.5 else round(float(value), 2) for value in rng.normal(size=60)],
        "colour": [("red", "blue", "green")[i] for i in rng.integers(0, 3, 60)],
        "count": [int(value) for value in rng.integers(0, 50, 60)],
    }, y


def small_model() -> Path:
    """The path of a model trained on `small_table` with the target `kind`; trained once a process."""
    path = FOLDER / "small-model"
    if not path.exists():
        table, y = small_table()
        csv = FOLDER / "small.csv"
        rows = zip(*table.values(), y, strict=True)
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
        csv.write_text("\n".join(["length,colour,count,kind", *lines, ""]))
        options = ["--hidden", 8, "--epochs", 2]
        assert command("train", csv, "--target", "kind", "-o", path, *options) == (0, "") or path.exists()
    return path


def network(output_activation: str = "softmax", seed: int = 1) -> tinyrs.Network:
    return tinyrs.Network([3, 4, 2], output_activation=output_activation, seed=seed)
