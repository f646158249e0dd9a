#!/usr/bin/env python3
"""Compares tinyrs with onnxruntime, openvino, scikit-learn, NumPy, jax and PyTorch.

    ./benchmarks/compare.py                               # everything: about half an hour
    ./benchmarks/compare.py --only small medium --json a.json --markdown a.md --plot a.png
    ./benchmarks/compare.py --quick                       # checks that it works: small networks, one round

All engines compute with the same weights on the same inputs, and every answer is checked. Libraries that
are not installed are left out.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import tinyrs
from peers import processes, report
from peers.engines import ENGINES
from peers.low_precision import running as low_precision
from peers.low_precision.engines import ENGINES as LOW_PRECISION_ENGINES
from peers.running import Settings, compare
from peers.targets import Measured
from peers.training import running as training
from peers.training.workloads import TRAINING_WORKLOADS
from peers.workloads import LOW_PRECISION_WORKLOADS, WORKLOADS, Workload

GROUPS = (*dict.fromkeys(workload.group for workload in WORKLOADS), "low-precision", "training", "process")
# The most layers of a network with --quick.
QUICK_LAYERS = 4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only",
        nargs="+",
        choices=GROUPS,
        default=GROUPS,
        metavar="GROUP",
        help=f"what to measure: {', '.join(GROUPS)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=11, help="turns per engine (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help=f"one short round, networks of at most {QUICK_LAYERS} layers"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all results, with the time of each pass"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the medians of the forward passes")
    return parser.parse_args()


def main() -> int:
    flags = arguments()
    all_threads = tinyrs.get_num_threads()
    settings = Settings(
        rounds=1 if flags.quick else flags.rounds,
        turn_s=0.02 if flags.quick else 0.2,
        threads=tuple(sorted({1, all_threads})),
    )
    # scikit-learn warns that training for one epoch does not converge.
    warnings.filterwarnings("ignore", module="sklearn")
    measured = Measured(settings)
    # New processes first, before any engine has threads in this one.
    if "process" in flags.only:
        measured.processes = processes.measure(1 if flags.quick else 7)
        report.show([report.process_table(measured.processes)])

    def shown(workloads: Iterable[Workload]) -> Iterator[Workload]:
        return (workload.head(QUICK_LAYERS) if flags.quick else workload for workload in workloads)

    for workload in shown(w for w in WORKLOADS if w.group in flags.only):
        measured.outcomes.append(compare(workload, ENGINES, settings))
        report.show([report.outcome_table(measured.outcomes[-1])])
    for workload in shown(LOW_PRECISION_WORKLOADS if "low-precision" in flags.only else ()):
        measured.low_precision.append(low_precision.compare(workload, LOW_PRECISION_ENGINES, settings))
        report.show([report.low_precision_table(measured.low_precision[-1])])
    if "training" in flags.only:
        for training_workload in TRAINING_WORKLOADS:
            measured.trainings.append(training.compare(training_workload, settings.rounds, settings.threads))
            report.show([report.training_table(measured.trainings[-1])])
    report.show(report.summary(measured))
    about = report.describe(Path(__file__).resolve().parent.parent)
    if flags.json:
        flags.json.write_text(report.json(measured, about))
    if flags.markdown:
        flags.markdown.write_text(report.markdown(measured, about))
    if flags.plot:
        report.plot(measured, flags.plot)
    # Wrong answers of other libraries are in the tables; only ours are an error.
    outcomes = (*measured.outcomes, *measured.low_precision)
    return 1 if any(low_precision.is_ours(name) for outcome in outcomes for name in outcome.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
