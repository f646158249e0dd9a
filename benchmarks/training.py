#!/usr/bin/env python3
"""Compares training: tinyrs, the NumPy oracle and scikit-learn; also PyTorch and jax if they are installed.

    ./benchmarks/training.py                  # samples per second and the loss reached, on four networks
    ./benchmarks/training.py --scaling a.png  # time of a step against batch and parameters, as a plot

Every engine starts from the same parameters and trains on the same batches in the same order, with Adam at a
learning rate of 0.001. In each round it trains one epoch with one thread and one with all threads. The table
shows the median over the rounds, for the faster number of threads, and the mean loss of the last epoch. An
engine whose loss differs from the oracle's is not timed.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from pathlib import Path

import tinyrs
from peers.training import report, scaling
from peers.training.running import compare
from peers.training.workloads import TRAINING_WORKLOADS


def main() -> None:
    default = sorted({1, tinyrs.get_num_threads()})
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=11, help="timed epochs per engine (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=default,
        help="numbers of threads to try (default: one, and all)",
    )
    parser.add_argument(
        "--scaling",
        type=Path,
        metavar="FILE",
        help="instead plot how the time of a step grows with the batch and the number of parameters",
    )
    flags = parser.parse_args()
    isa, threads = tinyrs.build_info()["isa"], " and ".join(map(str, flags.threads))
    print(f"{platform.machine()}, {isa}, {threads} threads, {time.strftime('%Y-%m-%d')}\n")
    if flags.scaling:
        scaling.plot(flags.scaling, max(flags.threads))
        return
    # scikit-learn warns that training for one epoch does not converge.
    warnings.filterwarnings("ignore", module="sklearn")
    for workload in TRAINING_WORKLOADS:
        table = [
            [workload.name, *report.HEADER],
            ["---"] * (1 + len(report.HEADER)),
            *report.rows(compare(workload, flags.rounds, flags.threads)),
        ]
        print("\n".join(f"| {' | '.join(row)} |" for row in table), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
