#!/usr/bin/env python3
"""A coverage-guided search for bytes that `tinyrs.load` neither reads nor refuses: `make fuzz`.

An input is a whole file, or the description in one, behind a checksum that is right, as a stranger
would write it. Anything but a model or a ValueError that begins with "model file: " ends the search.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["tinyrs", "json"]):
    from tinyrs import _tinyrs
    from tinyrs.files import model_file
    from tinyrs.predictor import Predictor, loads

GOLDEN = Path(__file__).parent / "golden/v1-predictor.safetensors"
TENSORS = model_file.from_bytes(GOLDEN.read_bytes())[2]
DESCRIPTION = _tinyrs.read_safetensors(GOLDEN.read_bytes())[0][model_file.KEY]


def checked(description: bytes) -> bytes:
    """A file with this description; with the checksum that belongs to it, if it is an object."""
    text = description.decode(errors="replace")
    try:
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            parsed.pop("sha256", None)
            sha = _tinyrs.digest(json.dumps(parsed), TENSORS)
            text = json.dumps(parsed | {"sha256": sha})
    except (ValueError, RecursionError):
        pass
    return _tinyrs.write_safetensors(TENSORS, {model_file.KEY: text})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


PLACES = list(places(json.loads(DESCRIPTION)))


def changed(data: bytes) -> bytes:
    """The description with some of its fields changed, so that it still is JSON."""
    source, description = atheris.FuzzedDataProvider(data), json.loads(DESCRIPTION)
    for _ in range(source.ConsumeIntInRange(1, 3)):
        *way, last = source.PickValueInList(PLACES)
        values = [
            None, True, [], {}, source.ConsumeInt(4), source.ConsumeInt(8), source.ConsumeRegularFloat(),
            source.ConsumeUnicodeNoSurrogates(8), [source.ConsumeInt(1)] * source.ConsumeIntInRange(0, 9),
        ]  # fmt: skip
        try:
            at = description
            for step in way:
                at = at[step]
            at[last] = source.PickValueInList(values)
        except (IndexError, KeyError, TypeError):
            pass  # an earlier change took the place away
    return json.dumps(description).encode()


def one(data: bytes) -> None:
    # An input is a description if it begins with "{", changes to one if with "c", else a whole file.
    if data.startswith(b"{"):
        data = checked(data)
    elif data.startswith(b"c"):
        data = checked(changed(data[1:]))
    try:
        model = loads(data)
    except ValueError as error:
        if not str(error).startswith("model file: "):
            raise
        return
    if isinstance(model, Predictor):
        model.verify()
        model.to_bytes()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "description").write_bytes(DESCRIPTION.encode())
        (Path(folder) / "changes").write_bytes(b"c" + bytes(range(64)))
        (Path(folder) / "file").write_bytes(GOLDEN.read_bytes())
        atheris.Setup([*sys.argv, folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
