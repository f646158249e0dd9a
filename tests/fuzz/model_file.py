"""Model files: each reader gives a model, or a ValueError that begins with the path or with "model file: ".

The readers are `tinyrs.load` and `TinyClassifier.load`. An input is a whole file, or a description to which
the correct checksum is added, as an attacker could do.
"""

from __future__ import annotations

import json
from pathlib import Path

from tinyrs import TinyClassifier, _tinyrs
from tinyrs.files import model_file
from tinyrs.predictor import Predictor, loads

from fuzz.harness import FOLDER, Source, changed, refuses, small_model, small_table

GOLDEN = Path(__file__).parents[1] / "golden"
# An input changes one of these files. The number of the file comes first, unless it is 1.
WHOLE = {
    b"1": (GOLDEN / "v1-predictor.safetensors").read_bytes(),
    b"2": (GOLDEN / "v2-predictor.safetensors").read_bytes(),
    b"3": small_model().read_bytes(),  # with the parameters of the classifier
    b"4": (GOLDEN / "v3-network.safetensors").read_bytes(),  # of low precision
    b"5": (GOLDEN / "v3-predictor.safetensors").read_bytes(),
}
TENSORS = {number: model_file.from_bytes(whole)[2] for number, whole in WHOLE.items()}
DESCRIPTIONS = {number: _tinyrs.read_safetensors(whole)[0][model_file.KEY] for number, whole in WHOLE.items()}
FILE = FOLDER / "fuzzed-model"
ROWS = small_table()[0]


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
        f"{kind}-{number.decode()}": number + content
        for number, whole in WHOLE.items()
        for kind, content in {
            "description": DESCRIPTIONS[number].encode(),
            "changes": b"c" + bytes(range(64)),
            "bytes": b"b" + bytes(range(32)),
            "file": whole,
        }.items()
    }


def one(data: bytes) -> None:
    number, data = (data[:1], data[1:]) if data[:1] in WHOLE else (b"1", data)
    file = file_of(data, WHOLE[number], DESCRIPTIONS[number], TENSORS[number])
    model = refuses(lambda: loads(file), "model file: ")
    if isinstance(model, Predictor):
        model.verify()
        model.to_bytes()
    FILE.write_bytes(file)
    classifier = refuses(lambda: TinyClassifier.load(FILE), "model file: ", str(FILE))
    if classifier is not None:
        assert model is not None, "TinyClassifier.load takes a file that tinyrs.load refuses"
        refuses(lambda: classifier.predict_proba(ROWS))
        classifier.save(FILE)
