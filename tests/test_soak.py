"""The soak test itself: it sees what grows, and a short run passes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resources are read from /proc")


def test_growth_is_seen() -> None:
    flat = [soak.Sample(100_000, 6, 10)] * 30
    assert soak.grew(flat) == []
    for grown in (soak.Sample(120_000, 6, 10), soak.Sample(100_000, 7, 10), soak.Sample(100_000, 6, 11)):
        assert len(soak.grew(flat[:20] + [grown] * 10)) == 1
    # A warm-up does not count.
    assert soak.grew([soak.Sample(50_000, 1, 3)] * 10 + flat[:20]) == []


def test_planted_leaks_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: list[bytes] = []
    files: list[IO[str]] = []

    def leak(rng: object, folder: object) -> None:
        memory.append(b"x" * (8 << 20))
        files.append(open(__file__))  # noqa: SIM115
        time.sleep(0.01)

    monkeypatch.setattr(soak, "OPERATIONS", (leak,))
    monkeypatch.setattr(soak, "ROUND", 1)
    try:
        samples, _ = soak.soak(1.0)
        assert [text.split()[0] for text in soak.grew(samples)] == ["kib", "files"], samples
    finally:
        for file in files:
            file.close()


@pytest.mark.parametrize("operation", soak.OPERATIONS)
def test_every_operation_works(
    operation: Callable[[np.random.Generator, Path], None], tmp_path: Path
) -> None:
    operation(np.random.default_rng(0), tmp_path)
