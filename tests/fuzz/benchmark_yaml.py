"""Benchmark files: a plan, or a UsageError that begins with the file's path."""

from __future__ import annotations

from pathlib import Path

from tinyrs.bench.config import UsageError
from tinyrs.bench.yaml_config import load

from fuzz.harness import FOLDER

FILE = FOLDER / "benchmark.yaml"


def seeds() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in Path(__file__).parents[2].glob("example_*.yaml")}


def one(data: bytes) -> None:
    FILE.write_bytes(data)
    try:
        plan = load(FILE)
    except UsageError as error:
        assert str(error).startswith(f"{FILE}: "), error
    else:
        assert plan.cases
