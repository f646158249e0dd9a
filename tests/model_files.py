"""Models to save for the tests of model files, and changes of their files."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pandas as pd
import tinyrs
from tinyrs import TinyClassifier
from tinyrs._tinyrs import Tensor


def table(n: int = 300) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": rng.normal(size=n), "colour": rng.choice(["red", "green", "blau"], n), "y": rng.normal(9, 4, n)}
    )
    label = np.where(frame["x"] > 0, frame["colour"], "none")
    frame.loc[::7, "y"] = np.nan
    return frame, label


def classifier(**options: Any) -> Any:
    X, y = table()
    defaults: dict[str, Any] = {
        "n_ensemble": 1,
        "n_layers": 1,
        "width": 16,
        "max_iter": 3,
        "random_state": 0,
        "precision": "f64",
    }
    return TinyClassifier(**defaults | options).fit(X, y)


def rewritten(data: bytes, change: Any, tensors: Any = None) -> bytes:
    """The file with its description changed and a valid checksum, as an attacker could write it."""
    metadata, held = tinyrs._tinyrs.read_safetensors(data)
    description = json.loads(metadata["tinyrs"])
    arrays = {name: np.array(tensor) for name, tensor in held.items()}
    if tensors is not None:
        tensors(arrays)
    change(description)
    held = {name: Tensor(a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}
    description.pop("sha256", None)
    with contextlib.suppress(ValueError):  # JSON has no NaN, so there is no checksum
        description["sha256"] = tinyrs._tinyrs.digest(json.dumps(description), held)
    return tinyrs._tinyrs.write_safetensors(held, {"tinyrs": json.dumps(description)})


def put(*path: Any) -> Any:
    """A change that sets the field at `path[:-1]` to `path[-1]`, or deletes it for KeyError."""

    def change(description: Any) -> None:
        at = description
        for step in path[:-2]:
            at = at[step]
        if path[-1] is KeyError:
            del at[path[-2]]
        else:
            at[path[-2]] = path[-1]

    return change
