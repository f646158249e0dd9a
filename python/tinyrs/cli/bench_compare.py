"""`tinyrs bench compare`: compares two results of a benchmark."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from tinyrs.bench import compare, report
from tinyrs.bench.compare import Comparison, Run
from tinyrs.bench.config import UsageError as BenchError
from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.output import say


def parser() -> Parser:
    parser = Parser(
        "bench compare",
        "Compare the cases that two results of a benchmark have in common: faster, slower or not told apart.",
        "tinyrs bench compare before.json after.json",
        "tinyrs bench compare before.json after.json --fail-slower 5%",
        "tinyrs bench compare before.json after.json --same before2.json before3.json before4.json",
    )
    for name in ("before", "after"):
        parser.add_argument(
            name, type=Path, help="JSON results of quick_benchmark.py, benchmark.py or `tinyrs bench`"
        )
    parser.add_argument(
        "--same",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="more results of the program of BEFORE, at least two: a change must exceed their differences",
    )
    parser.add_argument(
        "--fail-slower",
        type=percentage,
        metavar="PERCENT",
        help="exit with status 1 if a case is slower by more than this, such as 5%%",
    )
    parser.add_json()
    return parser


def percentage(text: str) -> float:
    """The type of an option: a percentage of at least 0, as a share."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = math.nan
    if not (text.endswith("%") and 0 <= share < math.inf):
        raise argparse.ArgumentTypeError(f"expected a percentage such as 5%, got {text!r}")
    return share


def run(options: argparse.Namespace) -> dict[str, Any]:
    try:
        before, after, *same = map(compare.load, [options.before, options.after, *options.same])
        comparisons = compare.compare(before, after, same)
    except BenchError as error:
        raise UsageError(str(error)) from None
    say(_text(before, after, comparisons), quiet=options.json)
    if not same:
        say("Noise between processes is unknown: --same takes more runs of BEFORE.", quiet=options.json)
    result = {"alpha": compare.ALPHA, "comparisons": [c.row() for c in comparisons]}
    if options.fail_slower is not None:
        _check(comparisons, options.fail_slower, result)
    return result


def _check(comparisons: list[Comparison], allowed: float, result: dict[str, Any]) -> None:
    """Raises CliError if a case is slower by more than `allowed`, or cannot be judged."""
    slower = [c for c in comparisons if c.verdict == compare.SLOWER and c.ratio > 1 + allowed]
    few = [c for c in comparisons if c.verdict == compare.TOO_FEW]
    if slower:
        worst = max(slower, key=lambda c: c.ratio)
        raise CliError(
            f"{len(slower)} of {len(comparisons)} cases are slower by more than {100 * allowed:.4g} %, "
            f"the worst by {_percent(worst.ratio)}: {_name(worst)}",
            result,
        )
    if few:
        raise CliError(
            f"{len(few)} of {len(comparisons)} cases have too few turns to be judged: use more passes",
            result,
        )


def _text(before: Run, after: Run, comparisons: list[Comparison]) -> str:
    table = [["", "before", "after", "change", "95 % interval", "noise", "p", "turns", ""]]
    table += [
        [
            _name(c),
            report.duration(c.before_ms),
            report.duration(c.after_ms),
            _percent(c.ratio),
            f"{_percent(c.low)} to {_percent(c.high)}",
            f"{100 * c.noise:.1f} %",
            f"{c.p:.2g}",
            f"{c.turns[0]}, {c.turns[1]}",
            c.verdict,
        ]
        for c in comparisons
    ]
    lines = [report.columns(table), ""]
    lines += [
        f"{name.replace('_', ' ')}: {old} before, {after.environment.get(name)} after"
        for name, old in before.environment.items()
        if old != after.environment.get(name)
    ]
    for run, other in ((before, after), (after, before)):
        alone = len(run.turns.keys() - other.turns.keys())
        if alone:
            lines.append(f"Only in {run.path}: {alone} case{'s' if alone > 1 else ''}")
    lines.append(
        f"Faster or slower: p < {compare.ALPHA} (Mann-Whitney test of the medians of turns, corrected for "
        f"{len(comparisons)} case{'s' if len(comparisons) > 1 else ''}), and a change above the noise."
    )
    return "\n".join(lines)


def _name(comparison: Comparison) -> str:
    return f"{report.describe(comparison.case)}, {comparison.engine}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
