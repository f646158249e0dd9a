#!/usr/bin/env python3
"""tinyrs beside onnxruntime, openvino, scikit-learn, NumPy, jax and PyTorch, as far as they are installed:
the same weights, the same inputs, every answer checked.

    ./benchmarks/compare.py                               # everything: about a quarter of an hour
    ./benchmarks/compare.py --only small medium --json a.json --markdown a.md --plot a.png
    ./benchmarks/compare.py --quick                       # does it work at all: networks cut short, one round
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import tinyrs
import training
from peers import processes, report
from peers.engines import ENGINES
from peers.running import Settings, compare
from peers.targets import Measured
from peers.workloads import WORKS

GROUPS = (*dict.fromkeys(work.group for work in WORKS), "training", "process")
# Of a network that is only to be seen working.
QUICK_LAYERS = 4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP", help=", ".join(GROUPS)
    )
    parser.add_argument("--rounds", type=int, default=11, help="turns of each engine (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round, deep networks cut short")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    return parser.parse_args()


def main() -> int:
    flags = arguments()
    all_threads = tinyrs.get_num_threads()
    settings = Settings(
        rounds=1 if flags.quick else flags.rounds,
        turn_s=0.02 if flags.quick else 0.2,
        threads=tuple(sorted({1, all_threads})),
    )
    # scikit-learn says that one epoch at a time does not converge.
    warnings.filterwarnings("ignore", module="sklearn")
    measured = Measured(settings)
    # Fresh processes first, before any engine has threads here.
    if "process" in flags.only:
        measured.processes = processes.measure(1 if flags.quick else 7)
        report.show([report.process_table(measured.processes)])
    for work in WORKS:
        if work.group in flags.only:
            shown = work.head(QUICK_LAYERS) if flags.quick else work
            measured.outcomes.append(compare(shown, ENGINES, settings))
            report.show([report.outcome_table(measured.outcomes[-1])])
    if "training" in flags.only:
        for lesson in training.WORKS:
            measured.trainings.append(training.compare(lesson, settings.rounds, settings.threads))
            report.show([report.training_table(measured.trainings[-1])])
    report.show(report.summary(measured))
    about = report.describe(Path(__file__).resolve().parent.parent)
    if flags.json:
        flags.json.write_text(report.json(measured, about))
    if flags.markdown:
        flags.markdown.write_text(report.markdown(measured, about))
    if flags.plot:
        report.plot(measured, flags.plot)
    # What else gave a wrong answer is in the tables, and its makers' business.
    return 1 if any("tinyrs" in outcome.failures for outcome in measured.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
