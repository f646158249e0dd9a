"""Model files: `tinyrs.load` gives a model, or a ValueError that begins with "model file: ".

An input is a whole file, or a description to which the correct checksum is added, as an attacker could do.
"""

from __future__ import annotations

import json
from pathlib import Path

from tinyrs import _tinyrs
from tinyrs.files import model_file
from tinyrs.predictor import Predictor, loads

from fuzz.harness import Source, changed, refuses

GOLDEN = (Path(__file__).parents[1] / "golden/v1-predictor.safetensors").read_bytes()
TENSORS = model_file.from_bytes(GOLDEN)[2]
DESCRIPTION = _tinyrs.read_safetensors(GOLDEN)[0][model_file.KEY]


def with_checksum(text: str, tensors: model_file.Tensors) -> bytes:
    """A file with this description and, if it is a JSON object, with its checksum."""
    try:
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            parsed.pop("sha256", None)
            text = json.dumps(parsed | {"sha256": _tinyrs.digest(json.dumps(parsed), tensors)})
    except (ValueError, RecursionError):
        pass
    return _tinyrs.write_safetensors(tensors, {model_file.KEY: text})


def file_of(data: bytes, whole: bytes, description: str, tensors: model_file.Tensors) -> bytes:
    """The file that `data` stands for.

    A text that begins with "{" is a description; after "c" follow changes to `description`, after "b" changes
    to the bytes of `whole`; other data is a file."""
    if data.startswith(b"{"):
        return with_checksum(data.decode(errors="replace"), tensors)
    if data.startswith(b"c"):
        return with_checksum(json.dumps(changed(json.loads(description), Source(data[1:]))), tensors)
    if data.startswith(b"b"):
        source, file = Source(data[1:]), bytearray(whole)
        for _ in range(source.whole(8)):
            file[source.whole(len(file) - 1)] = source.whole(255)
        return bytes(file)
    return data


def seeds() -> dict[str, bytes]:
    return {
        "description": DESCRIPTION.encode(),
        "changes": b"c" + bytes(range(64)),
        "bytes": b"b" + bytes(range(32)),
        "file": GOLDEN,
    }


def one(data: bytes) -> None:
    model = refuses(lambda: loads(file_of(data, GOLDEN, DESCRIPTION, TENSORS)), "model file: ")
    if isinstance(model, Predictor):
        model.verify()
        model.to_bytes()
