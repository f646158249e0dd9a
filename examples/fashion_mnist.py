#!/usr/bin/env python3
"""Trains on the 60,000 images of clothing of Fashion-MNIST (Xiao et al. 2017); test accuracy: about 90 %.

./examples/fashion_mnist.py /usr/share/datasets/fashion-mnist

The folder contains the four files of the data set. On Debian, the package dataset-fashion-mnist installs
them.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tinyrs


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Reads a gzipped IDX file of bytes: a magic number and the sizes, both big-endian, then the elements."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder: Path, part: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """The images (rows, 784) in [0, 1] and the labels (rows,) of one part of the data set."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    return images.reshape(len(images), -1).astype(np.float32) / 255, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with the four files")
    parser.add_argument(
        "--epochs", type=int, default=20, help="passes over the training data (default: %(default)s)"
    )
    flags = parser.parse_args()
    X_train, y_train = load(flags.folder, "train")
    X_test, y_test = load(flags.folder, "t10k")

    network = tinyrs.Network([784, 256, 128, 10], activation="relu", output_activation="softmax", seed=0)
    history = network.fit(
        X_train,
        y_train,
        epochs=flags.epochs,
        batch_size=128,
        learning_rate=2e-3,
        schedule="one_cycle",
        dropout=0.2,
        seed=0,
        progress=True,
    )
    accuracy = (network.forward(X_test).argmax(axis=1) == y_test).mean()
    seconds = history["seconds"].sum()
    print(f"test accuracy {accuracy:.2%} on {len(y_test)} images, after {seconds:.1f} s of training")


if __name__ == "__main__":
    main()
