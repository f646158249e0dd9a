"""The fuzz targets without a fuzzer: their seeds, inputs that failed once, and a few random ones."""

from __future__ import annotations

import hashlib
from importlib import import_module

import pytest
from fuzz.run import HERE, TARGETS

SLOW = ("c_header", "html_report", "csv_table")


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_former_failures(name: str) -> None:
    target = import_module(f"fuzz.{name}")
    corpus = HERE / "corpus" / name
    inputs = [*target.seeds().values(), *(path.read_bytes() for path in sorted(corpus.glob("*")))]
    for data in inputs:
        target.one(data)
    if name not in SLOW:
        for data in inputs:
            for i in range(5):
                changed = bytearray(data)
                for byte in hashlib.sha256(bytes([i])).digest()[:4]:
                    changed[1 + byte % (len(changed) - 1)] ^= byte
                target.one(bytes(changed))


def test_every_target_is_listed() -> None:
    files = {path.stem for path in HERE.glob("*.py")} - {"__init__", "harness", "run"}
    assert files == set(TARGETS)
