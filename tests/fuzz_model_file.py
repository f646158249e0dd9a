#!/usr/bin/env python3
"""A coverage-guided fuzz test of `tinyrs.load`: `make fuzz`.

An input is a whole file, or a description to which the correct checksum is added, as an attacker could do.
The test fails unless each input gives a model or a ValueError that begins with "model file: ".
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
    """A file with this description and, if it is a JSON object, with its checksum."""
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


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from paths(item, (*path, key))


PATHS = list(paths(json.loads(DESCRIPTION)))


def changed(data: bytes) -> bytes:
    """The description with some of its fields changed; it is still valid JSON."""
    source, description = atheris.FuzzedDataProvider(data), json.loads(DESCRIPTION)
    for _ in range(source.ConsumeIntInRange(1, 3)):
        *parents, last = source.PickValueInList(PATHS)
        values = [
            None, True, [], {}, source.ConsumeInt(4), source.ConsumeInt(8), source.ConsumeRegularFloat(),
            source.ConsumeUnicodeNoSurrogates(8), [source.ConsumeInt(1)] * source.ConsumeIntInRange(0, 9),
        ]  # fmt: skip
        try:
            at = description
            for step in parents:
                at = at[step]
            at[last] = source.PickValueInList(values)
        except (IndexError, KeyError, TypeError):
            pass  # an earlier change removed the path
    return json.dumps(description).encode()


def one(data: bytes) -> None:
    # An input that begins with "{" is a description, with "c" changes to the description, else a whole file.
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
