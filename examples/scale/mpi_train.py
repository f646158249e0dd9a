#!/usr/bin/env python3
"""Trains one network in several processes of MPI, in step, with the same bits for any number of processes.

mpiexec -n 2 -bind-to core ./examples/scale/mpi_train.py X.npy y.npy network.safetensors

A batch is cut into blocks of rows. Each process computes the gradients of its blocks, and gradients are added
in pairs: block 0 and 1, 2 and 3, then the sums of both, and so on, first within a process, then between
processes. So the order of the additions depends on the blocks alone. The numbers of blocks and of processes
are powers of two.
"""

from __future__ import annotations

import argparse
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tinyrs
from mpi4py import MPI

Floats = npt.NDArray[np.floating[Any]]


def gradient(network: tinyrs.Network, X: Floats, y: npt.NDArray[Any], blocks: npt.NDArray[np.intp]) -> Floats:
    """The sum, in pairs, of the gradients of blocks of rows, as one array.

    `blocks` holds the indices of the rows, (blocks, rows of a block).
    """
    if len(blocks) > 1:
        first, second = np.split(blocks, 2)
        total = gradient(network, X, y, first)
        total += gradient(network, X, y, second)
        return total
    rows = np.sort(blocks[0])  # a file is read in order
    _, gradients = network.loss_and_gradients(X[rows], y[rows])
    return np.concatenate([values.ravel() for pair in gradients for values in pair])


def all_reduce(comm: MPI.Comm, values: Floats) -> None:
    """Adds the arrays of all processes in pairs, in place.

    Each process adds up a part, then all exchange the parts (Rabenseifner 2004), the nearest processes first.
    """
    rank, received = comm.Get_rank(), np.empty_like(values)
    start, end, others = 0, len(values), []
    for bit in powers_below(comm.Get_size()):
        middle = (start + end) // 2
        kept, given = slice(start, middle), slice(middle, end)
        if rank & bit:
            kept, given = given, kept
        comm.Sendrecv(values[given], rank ^ bit, recvbuf=received[kept], source=rank ^ bit)
        values[kept] += received[kept]
        others.append((bit, given))
        start, end = kept.start, kept.stop
    for bit, given in reversed(others):
        comm.Sendrecv(values[start:end], rank ^ bit, recvbuf=values[given], source=rank ^ bit)
        start, end = min(start, given.start), max(end, given.stop)


def powers_below(n: int) -> list[int]:
    """1, 2, 4 and so on, below n."""
    return [1 << i for i in range((n - 1).bit_length())]


def as_pairs(values: Floats, network: tinyrs.Network) -> list[tuple[Floats, Floats]]:
    """The parts of `values` as (dW, db) for each layer."""
    pairs, sizes = [], network.layer_sizes
    for inputs, outputs in pairwise(sizes):
        dw, db, values = np.split(values, [inputs * outputs, (inputs + 1) * outputs])
        pairs.append((dw.reshape(outputs, inputs), db))
    return pairs


def train(
    comm: MPI.Comm,
    network: tinyrs.Network,
    X: Floats,
    y: npt.NDArray[Any],
    *,
    epochs: int,
    blocks: int,
    block_rows: int,
    learning_rate: float,
    checkpoint: Path | None = None,
) -> tinyrs.Network:
    """The trained network, the same in each process. Continues from `checkpoint` if there is such a file."""
    rank, size = comm.Get_rank(), comm.Get_size()
    if blocks & (blocks - 1) or size & (size - 1) or size > blocks:
        raise ValueError(f"expected powers of two, at most one process a block, got {size} and {blocks}")
    optimizer, done = tinyrs.Optimizer("adam"), 0
    if checkpoint is not None and checkpoint.exists():
        network, optimizer, done = pickle.loads(checkpoint.read_bytes())  # noqa: S301 (written below)
    for epoch in range(done, epochs):
        order = np.random.default_rng(epoch).permutation(len(X))
        steps = len(X) // (blocks * block_rows)  # the rest of the rows has its turn in other epochs
        for batch in order[: steps * blocks * block_rows].reshape(steps, size, -1, block_rows):
            total = gradient(network, X, y, batch[rank])
            all_reduce(comm, total)
            total /= blocks  # a power of two: exact
            network.apply_gradients(as_pairs(total, network), optimizer, learning_rate=learning_rate)
        if checkpoint is not None and rank == 0:
            unfinished = checkpoint.with_suffix(".part")
            unfinished.write_bytes(pickle.dumps((network, optimizer, epoch + 1)))
            unfinished.replace(checkpoint)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("X", help=".npy file of the inputs, float32, (rows, features)")
    parser.add_argument("y", help=".npy file of the classes, 0 and up, (rows,)")
    parser.add_argument("network", help="file to write")
    parser.add_argument(
        "--hidden", type=int, nargs="+", default=[256, 256], help="sizes of the hidden layers"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=8, help="blocks of a batch")
    parser.add_argument("--block-rows", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--checkpoint", type=Path, help="file to continue from, written after each epoch")
    flags = parser.parse_args()
    # A process reads only the rows that it needs.
    X, y = np.load(flags.X, mmap_mode="r"), np.load(flags.y)
    sizes = [X.shape[1], *flags.hidden, int(y.max()) + 1]
    network = tinyrs.Network(sizes, activation="relu", output_activation="softmax", init="he_uniform", seed=0)
    network = train(
        MPI.COMM_WORLD,
        network,
        X,
        y,
        epochs=flags.epochs,
        blocks=flags.blocks,
        block_rows=flags.block_rows,
        learning_rate=flags.learning_rate,
        checkpoint=flags.checkpoint,
    )
    if MPI.COMM_WORLD.Get_rank() == 0:
        network.save(flags.network)


if __name__ == "__main__":
    main()
