#!/usr/bin/env python3
"""Times the examples of `examples/scale` with one and two processes on this machine, and what they cost.

    ./benchmarks/scale.py --rows 20_000_000        # scoring, Parquet to Parquet
    ./benchmarks/scale.py --training               # training in step with MPI

Scoring: the rows have 16 numbers in f32. The limit is the number of processes times the speed of
`predict_proba` with one thread. Each engine scores twice, in new processes of one thread: with the model, and
with a model of almost no arithmetic, which shows what the engine needs to read, move and write the rows. The
memory is the peak of all processes of an engine together; what they share counts once. Ray gives a process
128 MiB of rows at a time, which takes many such parts to share out well: 20 million rows are ten.

Training: a step is the gradients, their sum over the processes, and the optimizer. What was measured with one
and two processes says what to expect of more: the gradients take their share of the time of one process, and
a sum sends 2 (1 - 1/P) times the bytes of the gradient, here or over a network of 10 Gbit/s.

Needs what `make scale` installs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tinyrs
from stream import numbers, one_thread_speed, score_dataset, train, write_rows
from tinyrs.scale import Scorer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "scale"
FILES = 16
NETWORK_BYTES_PER_SECOND = 10e9 / 8
NETWORK_LATENCY = 50e-6

sys.path.append(str(EXAMPLES))


def example(name: str) -> Any:
    """The module `examples/scale/NAME.py`."""
    return importlib.import_module(name)


# Scoring. A way takes the number of processes, and gives a function of the model, the folder to read and the
# one to write.
Score = Callable[[tinyrs.Predictor, str, str], object]


@contextmanager
def no_engine(processes: int) -> Iterator[Score]:
    """Threads instead of processes."""

    def score(model: tinyrs.Predictor, source: str, target: str) -> None:
        os.mkdir(target)
        tinyrs.set_num_threads(processes)
        score_dataset(model, source, f"{target}/0.parquet")

    yield score


@contextmanager
def polars(processes: int) -> Iterator[Score]:
    """Threads instead of processes."""
    os.environ["POLARS_MAX_THREADS"] = str(processes)

    def score(model: tinyrs.Predictor, source: str, target: str) -> None:
        os.mkdir(target)
        scorer = Scorer(model, columns=[], n_threads=1)
        example("polars_score").score(scorer, f"{source}/*.parquet", f"{target}/0.parquet")

    yield score


@contextmanager
def dask(processes: int) -> Iterator[Score]:
    from distributed import Client

    with Client(n_workers=processes, threads_per_worker=1, dashboard_address=":0"):
        yield lambda model, source, target: example("dask_score").score(
            Scorer(model, columns=[]), source, target
        )


@contextmanager
def ray(processes: int) -> Iterator[Score]:
    import ray

    ray.init(num_cpus=processes, include_dashboard=False, log_to_driver=False)
    yield lambda model, source, target: example("ray_score").score(Scorer(model, columns=[]), source, target)
    ray.shutdown()


@contextmanager
def spark(processes: int) -> Iterator[Score]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(f"local[{processes}]").config("spark.ui.enabled", "false")
    with builder.getOrCreate() as session:

        def score(model: tinyrs.Predictor, source: str, target: str) -> None:
            scored = example("spark_score").scored(session.read.parquet(source), Scorer(model, columns=[]))
            scored.write.parquet(target)

        yield score


WAYS = {"none": no_engine, "polars": polars, "dask": dask, "ray": ray, "spark": spark}


def score_once(way: str, processes: int, folder: Path) -> None:
    """Scores with both models, and prints the seconds as JSON; runs in a process of its own."""
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:processes])
    start = time.perf_counter()
    found: dict[str, float] = {}
    with WAYS[way](processes) as score:
        found["start"] = time.perf_counter() - start
        for name in ("small", "model"):  # the first also starts the processes
            model = tinyrs.load(folder / name)
            assert isinstance(model, tinyrs.Predictor)
            start = time.perf_counter()
            score(model, str(folder / "rows"), str(folder / f"{way}-{processes}-{name}"))
            found[name] = time.perf_counter() - start
    print(json.dumps(found))


def output_and_memory(command: list[str]) -> tuple[str, float]:
    """What a command prints, and the peak memory of its processes in MB."""
    process, peak = psutil.Popen(command, stdout=subprocess.PIPE, text=True), 0.0
    while process.poll() is None:
        found = []
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):  # it has ended
                found.append(one.memory_info())
        shared = max((memory.shared for memory in found), default=0)
        peak = max(peak, shared + sum(memory.rss - memory.shared for memory in found))
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return process.stdout.read(), peak / 1e6


def compare_scoring(rows: int, hidden: tuple[int, ...], ways: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder / "model", hidden)
        train(folder / "small", (1,))
        (folder / "rows").mkdir()
        write_rows(folder / "rows" / "00.parquet", rows // FILES)
        for i in range(1, FILES):  # the same rows: what they hold does not matter
            os.link(folder / "rows" / "00.parquet", folder / "rows" / f"{i:02}.parquet")
        model = tinyrs.load(folder / "model")
        assert isinstance(model, tinyrs.Predictor)
        rows = rows // FILES * FILES
        print("| engine | processes | rows a second | of the limit | MB | s to start | s without the model |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for way, processes in product(ways, (1, 2)):
            before = one_thread_speed(model)
            command = [sys.executable, __file__, "--one", way, str(processes), str(folder)]
            output, memory = output_and_memory(command)
            found = json.loads(output.splitlines()[-1])
            speed = rows / found["model"]
            share = speed / processes / ((before + one_thread_speed(model)) / 2)
            costs = f"{found['start']:.1f} | {found['small']:.1f}"
            print(
                f"| {way} | {processes} | {speed:,.0f} | {share:.2f} | {memory:,.0f} | {costs} |", flush=True
            )


# Training.


def time_steps(width: int, batch_rows: int) -> None:
    """Prints the medians of the parts of a step as JSON; runs in each process of MPI."""
    from mpi4py import MPI

    comm, blocks = MPI.COMM_WORLD, 8
    X, y = numbers(batch_rows, 0), np.arange(batch_rows) % 10
    network = tinyrs.Network(
        [X.shape[1], width, width, 10], activation="relu", output_activation="softmax", seed=0
    )
    optimizer = tinyrs.Optimizer("adam")
    own = np.arange(batch_rows).reshape(comm.Get_size(), -1, batch_rows // blocks)[comm.Get_rank()]
    times = []
    for _ in range(12):
        comm.Barrier()
        start = time.perf_counter()
        total = example("mpi_train").gradient(network, X, y, own)
        comm.Barrier()
        summed = time.perf_counter()
        example("mpi_train").all_reduce(comm, total)
        comm.Barrier()
        applied = time.perf_counter()
        network.apply_gradients(example("mpi_train").as_pairs(total / blocks, network), optimizer)
        times.append((summed - start, applied - summed, time.perf_counter() - applied))
    if comm.Get_rank() == 0:
        gradient, reduce, update = np.median(times[2:], axis=0)
        print(json.dumps({"gradient": gradient, "sum": reduce, "update": update, "bytes": total.nbytes}))


def modelled(one: dict[str, float], processes: int, bytes_per_second: float, latency: float) -> float:
    """The seconds of a step of this many processes, from those of one."""
    sent = 2 * (1 - 1 / processes) * one["bytes"] / bytes_per_second
    rounds = 2 * int(np.log2(processes))
    return one["gradient"] / processes + sent + rounds * latency + one["update"]


def compare_training(widths: list[int], batches: list[int]) -> None:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    print(
        "| width | rows of a step | ms of 1 process | ms of 2: gradients + sum + update | speed-up |", end=""
    )
    print(" 8, 10 Gbit/s | 64, 10 Gbit/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for width, rows in product(widths, batches):
        found = []
        for processes in (1, 2):
            command = [mpiexec, "-n", processes, "-bind-to", "core", sys.executable, __file__]
            command += ["--steps", width, rows]
            output = subprocess.run(
                list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            found.append(json.loads(output.splitlines()[-1]))
        totals = [part["gradient"] + part["sum"] + part["update"] for part in found]
        parts = " + ".join(f"{found[1][name] * 1e3:.1f}" for name in ("gradient", "sum", "update"))
        line = f"| {width} | {rows} | {totals[0] * 1e3:.1f} | {parts} | {totals[0] / totals[1]:.2f} |"
        for processes in (8, 64):
            expected = modelled(found[0], processes, NETWORK_BYTES_PER_SECOND, NETWORK_LATENCY)
            line += f" {totals[0] / expected:.1f} |"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000_000, help="rows to score (default: %(default)s)")
    widths = tinyrs.TinyClassifier().hidden_layer_sizes
    parser.add_argument("--hidden", nargs="+", type=int, default=widths, help="widths of the hidden layers")
    parser.add_argument("--way", choices=WAYS, nargs="+", default=list(WAYS), help="engines to measure")
    parser.add_argument("--training", action="store_true", help="measure training instead")
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 512, 2048])
    parser.add_argument("--batches", nargs="+", type=int, default=[1024, 8192], help="rows of a step")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--steps", nargs=2, type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        score_once(flags.one[0], int(flags.one[1]), Path(flags.one[2]))
    elif flags.steps:
        time_steps(*flags.steps)
    elif flags.training:
        compare_training(flags.widths, flags.batches)
    else:
        compare_scoring(flags.rows, tuple(flags.hidden), flags.way)


if __name__ == "__main__":
    main()
