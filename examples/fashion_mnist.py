#!/usr/bin/env python3
"""Learns clothing from 60,000 pictures (Fashion-MNIST, Xiao et al. 2017): about 90 % right.

./examples/fashion_mnist.py /usr/share/datasets/fashion-mnist

The folder holds the data set's four files; on Debian the package dataset-fashion-mnist brings them there.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tinyrs


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array in a gzipped IDX file of bytes: a magic number, the sizes, the elements, all big-endian."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder: Path, part: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Pictures (rows, 784) in [0, 1], and labels (rows,)."""
    pictures = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255, read_idx(
        folder / f"{part}-labels-idx1-ubyte.gz"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the four files are")
    parser.add_argument(
        "--epochs", type=int, default=20, help="times all rows are seen (default: %(default)s)"
    )
    epochs = parser.parse_args().epochs
    folder = parser.parse_args().folder
    (X_train, y_train), (X_test, y_test) = load(folder, "train"), load(folder, "t10k")

    network = tinyrs.Network([784, 256, 128, 10], activation="relu", output_activation="softmax", seed=0)
    history = network.fit(
        X_train,
        y_train,
        epochs=epochs,
        batch_size=128,
        learning_rate=2e-3,
        schedule="one_cycle",
        dropout=0.2,
        seed=0,
        progress=True,
    )
    accuracy = (network.forward(X_test).argmax(axis=1) == y_test).mean()
    seconds = history["seconds"].sum()
    print(f"test accuracy {accuracy:.2%} on {len(y_test)} pictures, after {seconds:.1f} s of training")


if __name__ == "__main__":
    main()
