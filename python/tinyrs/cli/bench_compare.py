"""`tinyrs bench compare`: compares two programs by the results of their benchmarks."""

from __future__ import annotations

import argparse
import math
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tinyrs.bench import compare, interleave, report
from tinyrs.bench.compare import Comparison, Run
from tinyrs.bench.config import UsageError as BenchError
from tinyrs.cli.arguments import Parser, integer_at_least
from tinyrs.cli.errors import CliError, UsageError
from tinyrs.cli.output import progress_bar, say


def parser() -> Parser:
    parser = Parser(
        "bench compare",
        "Compare the cases that two programs have in common: faster, slower or not told apart.",
        "tinyrs bench compare --runs 20 'old/bin/python benchmark.py -c x.yaml' "
        "'new/bin/python benchmark.py -c x.yaml'",
        "tinyrs bench compare before.json after.json --fail-slower 5%",
        "tinyrs bench compare before/ after/",
    )
    for name in ("before", "after"):
        parser.add_argument(
            name,
            help="JSON results of quick_benchmark.py, benchmark.py or `tinyrs bench`; a folder with those of "
            "several runs; or, with --runs, the command to run",
        )
    parser.add_argument(
        "--runs",
        type=integer_at_least(2),
        metavar="N",
        help="BEFORE and AFTER are commands: run each N times, in turn, with --json FILE at its end. At "
        "least 8; 20 find a change of 3 %% on a busy machine",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="with --runs: keep the results in this folder"
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
    if options.keep is not None and options.runs is None:
        raise UsageError("argument --keep: needs --runs")
    try:
        before, after = _runs(options)
        comparisons = compare.compare(before, after)
    except BenchError as error:
        raise UsageError(str(error)) from None
    say(_text(before[0], after[0], comparisons), quiet=options.json)
    if len(before) == 1:
        say(
            "One run each cannot show how much runs of the same program differ: --runs runs both in turn.",
            quiet=options.json,
        )
    result = {"alpha": compare.ALPHA, "comparisons": [c.row() for c in comparisons]}
    if options.fail_slower is not None:
        _check(comparisons, options.fail_slower, result)
    return result


def _runs(options: argparse.Namespace) -> tuple[list[Run], list[Run]]:
    """The runs of each program, which --runs makes. Raises BenchError."""
    if options.runs is None:
        return compare.load_all(Path(options.before)), compare.load_all(Path(options.after))
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        progress = stack.enter_context(progress_bar("runs", quiet=options.json))
        folders = interleave.run(options.before, options.after, options.runs, folder, progress)
        before, after = map(compare.load_all, folders)
    return before, after


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
            f"{len(few)} of {len(comparisons)} cases have too few {few[0].unit} to be judged: use more",
            result,
        )


def _text(before: Run, after: Run, comparisons: list[Comparison]) -> str:
    table = [["", "before", "after", "change", "95 % interval", "noise", "p", comparisons[0].unit, ""]]
    table += [
        [
            _name(c),
            report.duration(c.before_ms),
            report.duration(c.after_ms),
            _percent(c.ratio),
            f"{_percent(c.low)} to {_percent(c.high)}",
            f"{100 * c.noise:.1f} %",
            f"{c.p:.2g}",
            f"{c.counts[0]}, {c.counts[1]}",
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
    cases = f"corrected for {len(comparisons)} case{'s' if len(comparisons) > 1 else ''}"
    if comparisons[0].unit == compare.TURNS:
        lines.append(
            f"Faster or slower: p < {compare.ALPHA} (Mann-Whitney test of the medians of turns, {cases}), "
            "and a change above the noise, the difference between the halves of a run."
        )
    else:
        lines.append(
            f"Faster or slower: p < {compare.ALPHA} (Wilcoxon test of pairs of runs, {cases}). A tenth of "
            "the passes were at least as fast as the times. Noise: of consecutive runs of the same program."
        )
    return "\n".join(lines)


def _name(comparison: Comparison) -> str:
    return f"{report.describe(comparison.case)}, {comparison.engine}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
