"""Model files of earlier versions of the format load."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
from tinyrs import Network
from tinyrs.files import model_file
from tinyrs.files.model_file import Fields
from tinyrs.files.predictor_file import restore_category

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.safetensors")), ids=lambda file: file.stem)
def test_files_of_all_versions_load(file: Path) -> None:
    model = tinyrs.load(file)
    want = json.loads(file.with_suffix(".json").read_text())
    network = model if isinstance(model, Network) else model.network
    rtol = 1e-12 if network.precision == "f64" else 1e-5
    if isinstance(model, Network):
        np.testing.assert_allclose(model.forward(want["X"]), want["outputs"], rtol=rtol)
        return
    assert model.verify() < rtol
    assert model.predict(np.array(want["X"], dtype=object)).tolist() == want["labels"]
    np.testing.assert_allclose(
        model.predict_proba(np.array(want["X"], dtype=object)), want["outputs"], rtol=rtol
    )


@pytest.mark.parametrize(
    ("names", "kind", "same"),
    [
        (["s:red", "s:blue", "\0missing"], "text", [("red",), ("blue",), (None, "", float("nan"))]),
        (["s:True", "s:False"], "text", [("True", True, np.True_), ("False", False)]),
        (["b:True", "b:False"], "boolean", [("TRUE", True, 1), ("false", False, 0.0)]),
        (["i:3", "i:4"], "number", [(3, "3", 3.0), (4, "4.0")]),
        (["f:3.0", "f:4.5", "\0missing"], "number", [(3, "3", 3.0), (4.5, "4.5"), (None,)]),
        (["s:1", "i:2", "f:2.5"], "text", [("1", 1), ("2", 2, 2.0), (2.5, "2.5")]),
        (["s:1", "i:1"], "text", [("1", 1), ("i:1",)]),
    ],
    ids=str,
)  # fmt: skip
def test_categories_of_format_1(names: list[str], kind: str, same: list[tuple[Any, ...]]) -> None:
    """A category of format 1 has no kind; its names start with the first letter of their type and a colon."""
    restored = restore_category(Fields("category", {"column": 0, "names": names, "buckets": 0}))
    assert restored.kind == kind
    assert [{restored.code(value) for value in values} for values in same] == [{i} for i in range(len(names))]


@pytest.mark.parametrize(
    ("names", "value", "hashed"),
    [
        (["s:x"], "y", "s:y"),
        (["i:1"], 94110, "i:94110"),
        (["f:1.0"], "7", "f:7.0"),
        (["s:x"], None, "\0missing"),
    ],
)
def test_rare_categories_of_format_1_keep_their_buckets(names: list[str], value: Any, hashed: str) -> None:
    restored = restore_category(Fields("category", {"column": 0, "names": names, "buckets": 16}))
    assert restored.code(value) == 1 + zlib.crc32(hashed.encode()) % 16


@pytest.mark.parametrize("version", range(1, model_file.FORMAT + 1))
def test_there_are_files_of_this_version(version: int) -> None:
    kinds = {model_file.from_bytes(file.read_bytes())[0] for file in GOLDEN.glob(f"v{version}-*.safetensors")}
    assert kinds == {"network", "predictor"}
