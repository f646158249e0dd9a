"""The examples run, and reach the accuracy that they promise."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from conftest import Tool


def accuracy(output: str) -> float:
    found = re.search(r"test accuracy ([\d.]+)%", output)
    assert found is not None, output
    return float(found[1])


def test_digits(run_tool: Tool) -> None:
    done = run_tool("examples/digits.py", "--epochs", "40")
    assert done.returncode == 0, done.stderr
    assert accuracy(done.stdout) >= 97.5


def test_fashion_mnist_on_a_small_data_set(run_tool: Tool, tmp_path: Path, digits: Any) -> None:
    def write(name: str, array: npt.NDArray[np.uint8]) -> None:
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (tmp_path / name).write_bytes(gzip.compress(header + array.tobytes()))

    # The digits as images of 28 x 28, in the format of the real files.
    X, y = digits
    images = (np.kron(X.reshape(-1, 8, 8), np.ones((1, 3, 3))) * 255).astype(np.uint8)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    for part, rows in [("train", slice(0, 1500)), ("t10k", slice(1500, None))]:
        write(f"{part}-images-idx3-ubyte.gz", images[rows])
        write(f"{part}-labels-idx1-ubyte.gz", y[rows].astype(np.uint8))
    done = run_tool("examples/fashion_mnist.py", str(tmp_path), "--epochs", "10")
    assert done.returncode == 0, done.stderr
    assert accuracy(done.stdout) >= 85
    assert "297 images" in done.stdout


def test_optuna_prunes_unpromising_trials(run_tool: Tool) -> None:
    done = run_tool("examples/optuna_pruning.py", "--trials", "8", "--epochs", "20")
    assert done.returncode == 0, done.stderr
    assert accuracy(done.stdout) >= 95
    pruned = re.search(r"(\d) of 8 trials were pruned", done.stdout)
    assert pruned is not None, done.stdout
    assert int(pruned[1]) >= 1
