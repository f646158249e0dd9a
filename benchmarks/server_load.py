#!/usr/bin/env python3
"""Compares the latency of requests that arrive at random with what queueing theory predicts: M/D/c.

    ./benchmarks/server_load.py                 # three minutes; prints a Markdown table
    ./benchmarks/server_load.py --seconds 1     # checks that it works

The load is the rate of requests divided by the highest rate that the workers can answer, which is measured
first, with more requests than they can answer. From it follows the service time of the prediction.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import tinyrs
from tinyrs.bench import cli, environment
from tinyrs.bench.report import duration
from tinyrs.bench.serving import queueing, rows, scenarios, text, verdict
from tinyrs.bench.serving.models import Subject, tinyrs_subject
from tinyrs.bench.serving.outcomes import Outcome
from tinyrs.bench.serving.settings import Company, ModelFile, Settings, company

# The sizes of the layers: a small classifier, and one whose weights fill a second-level cache.
NETWORKS = ((64, 128, 128, 10), (256, 512, 512, 10))
LOADS = (0.3, 0.6, 0.9)
HEADER = ["network", "load", "requests / s", "median", "p99", "p99, M/D/c", "p99, same times", ""]
# Requests a second that no worker keeps up with, and for how long they come.
_TOO_MANY, _SATURATED_S = 2e6, 1.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of a measurement (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, help="worker processes (default: one for each core)")
    parser.add_argument(
        "--company", type=cli.flag(company), default=Company(), help="what else runs, such as busy:1"
    )
    return parser.parse_args()


def subject(sizes: tuple[int, ...], folder: Path) -> Subject:
    """A network with random weights, in a file."""
    network = tinyrs.Network(sizes, activation="relu", output_activation="softmax", seed=0)
    name = "-".join(map(str, sizes))
    path = folder / f"{name}.safetensors"
    network.save(path)
    chosen = folder / f"{name}.json"
    rows.draw(network, seed=0).write(chosen)
    return tinyrs_subject(name, ModelFile(path), chosen, labelled=False)


def row(model: Subject, load: float, capacity: float, settings: Settings) -> list[str]:
    """The cells of one load. `capacity` is the highest number of requests a second."""
    workers = settings.workers or environment.usable_cores()
    rate, busy_us = load * capacity, 1e6 * workers / capacity
    outcome = scenarios.run_server(model, settings, rate, settings.seconds)
    waiting_us = queueing.waiting_time(0.99, rate / 1e6, busy_us, workers)
    return [
        model.name,
        f"{load:.0%}",
        f"{rate:,.0f}",
        *(duration(us / 1e3) for us in verdict.percentiles(outcome.latency_us)[::2]),
        duration((waiting_us + float(np.median(outcome.service_us))) / 1e3),
        duration(replayed_p99(outcome, busy_us, rate, settings) / 1e3),
        "; ".join([outcome.verdict, *outcome.reasons]),
    ]


def replayed_p99(outcome: Outcome, busy_us: float, rate: float, settings: Settings) -> float:
    """The p99 in microseconds of a queue with the same arrivals and the measured service times.

    A worker is busy with each request for its service time and a constant, for what it does between requests.
    """
    workers = settings.workers or environment.usable_cores()
    arrivals = queueing.poisson_arrivals(rate, outcome.seconds, settings.seed)[: outcome.queries] / 1e3
    services = outcome.service_us[: len(arrivals)]
    between = max(0.0, busy_us - float(np.median(services)))
    found = queueing.latencies(arrivals.tolist(), (services + between).tolist(), workers) - between
    return float(np.percentile(found, 99))


def saturated(model: Subject, settings: Settings) -> float:
    """The requests a second that the workers answer if there are always more."""
    # More than any worker answers: those of the first seconds are enough.
    return scenarios.run_server(model, settings, _TOO_MANY, _SATURATED_S).rows_per_s


def main() -> int:
    flags = arguments()
    chosen = Settings(seconds=flags.seconds, workers=flags.workers, company=flags.company)
    table = [HEADER]
    with tempfile.TemporaryDirectory() as folder:
        for sizes in NETWORKS:
            model = subject(sizes, Path(folder))
            capacity = saturated(model, chosen)
            for load in LOADS:
                table.append(row(model, load, capacity, chosen))
                print("\t".join(table[-1]), file=sys.stderr, flush=True)
    print(text.markdown(table))
    about = environment.describe(Path(__file__).resolve().parent.parent)
    workers = chosen.workers or environment.usable_cores()
    print(
        f"\n{workers} worker processes, company: {chosen.company}; {about['cpu']}, commit {about['commit']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
