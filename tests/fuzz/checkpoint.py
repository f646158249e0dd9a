"""Checkpoints: `fit(resume=)` trains on, or refuses the file and leaves the network as it was."""

from __future__ import annotations

import numpy as np
from tinyrs import Network, Optimizer, _tinyrs
from tinyrs.files import model_file

from fuzz.harness import FOLDER, network, refuses
from fuzz.model_file import file_of

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 2
FILE = FOLDER / "checkpoint"


def fit(trained: Network, **more: object) -> None:
    optimizer = Optimizer("adam")
    trained.fit(X, Y, epochs=3, batch_size=5, seed=3, validation=(X, Y), optimizer=optimizer, **more)  # type: ignore[arg-type]


def written() -> bytes:
    """A checkpoint after the first of three epochs."""
    fit(network(), checkpoint=FILE, callback=lambda record: True)
    return FILE.read_bytes()


WHOLE = written()
TENSORS = model_file.from_bytes(WHOLE)[2]
DESCRIPTION = _tinyrs.read_safetensors(WHOLE)[0][model_file.KEY]


def seeds() -> dict[str, bytes]:
    return {
        "description": DESCRIPTION.encode(),
        "changes": b"c" + bytes(range(64)),
        "bytes": b"b" + bytes(range(32)),
        "file": WHOLE,
    }


def one(data: bytes) -> None:
    FILE.write_bytes(file_of(data, WHOLE, DESCRIPTION, TENSORS))
    trained = network()
    before = trained.forward(X).tobytes()

    def resume() -> bool:
        fit(trained, resume=FILE)
        return True

    try:
        done = refuses(resume, "model file: ", "resume: ")
    except FloatingPointError:
        done = True  # the state was valid, and training from it diverged
    if not done:
        assert trained.forward(X).tobytes() == before, "a refused checkpoint changed the network"
    assert np.isfinite(trained.forward(X)).all()
