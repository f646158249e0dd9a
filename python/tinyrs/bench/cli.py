"""What the two command lines share: flags, errors of one line, the run itself, the files it leaves."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

from tinyrs.bench import environment, plot, report, runner
from tinyrs.bench.config import Case, Output, Plan, RefusedError, UsageError
from tinyrs.bench.harness import Progress
from tinyrs.bench.results import Measurement, Results

T = TypeVar("T")

OK, WRONG_ANSWER, USAGE, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a --help away."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def number(parse: Callable[[object], T]) -> Callable[[str], T]:
    """`parse` for a flag whose value is an integer."""

    def convert(value: str) -> T:
        try:
            return word(parse)(int(value))
        except ValueError:
            return word(parse)(value)

    return convert


def word(parse: Callable[[object], T]) -> Callable[..., T]:
    """`parse` for a flag, whose name argparse puts before the message."""

    def convert(value: object) -> T:
        try:
            return parse(value)
        except RefusedError as refused:
            raise argparse.ArgumentTypeError(str(refused)) from None

    return convert


def run_tool(name: str, tool: Callable[[], int]) -> int:
    """The exit status of `tool`; what the user can do something about becomes one line on standard error."""
    try:
        return tool()
    except UsageError as error:
        # One line, whatever the file's keys and YAML's messages have in them.
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `| head -1` has had enough. Python would try to flush once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (OSError, MemoryError) as error:
        print(f"{name}: error: {str(error) or 'out of memory'}", file=sys.stderr)
        return USAGE


def execute(plan: Plan, *, place: Callable[[str], str], folder: Path, quiet: bool) -> int:
    """Runs the plan, prints its results and writes its files; returns the exit status.

    `place` gives what the user calls "shape" or "output.json"; `folder` is where the tool lies.
    Raises UsageError, before anything runs, for what cannot run.
    """
    _check_memory(plan, place("shape"))
    _check_output(plan.output, place)
    results = Results(plan, environment.describe(folder))
    try:
        if plan.swept:
            _sweep(results, quiet)
        else:
            _single(results, quiet)
    finally:
        # What was measured before an interruption cost time, too.
        _write(results)
    for failure in results.failures:
        print(f"error: wrong answer, so not timed: {failure}", file=sys.stderr)
    return WRONG_ANSWER if results.failures else OK


def _single(results: Results, quiet: bool) -> None:
    """One network: the line with the total, then everything about it."""
    _measure(results, results.plan.cases[0])
    lines = []
    if any(m.engine == results.plan.engines[0] for m in results.measurements):
        lines.append(report.headline(results))
    if results.measurements and not quiet:
        lines += ["", report.details(results.measurements), "", report.environment(results.environment)]
    if lines:
        print("\n".join(lines), flush=True)


def _sweep(results: Results, quiet: bool) -> None:
    """Many networks: a table that grows while they run, then the line with the total."""
    swept = results.plan.swept
    if not quiet:
        print(report.fixed_columns(report.sweep_header(swept)), flush=True)
    for case in results.plan.cases:
        for measurement in _measure(results, case):
            if not quiet:
                print(report.fixed_columns(report.sweep_cells(swept, measurement)), flush=True)
    if not quiet:
        print(f"\n{report.environment(results.environment)}\n")
    if results.measurements:
        print(report.headline(results), flush=True)


def _measure(results: Results, case: Case) -> list[Measurement]:
    """Runs one case and adds what came of it to `results`."""
    with _progress_bar(results.plan) as progress:
        measurements, failures = runner.run(case, results.plan, progress)
    results.measurements += measurements
    results.failures += [f"{report.describe(case)}: {failure}" for failure in failures]
    return measurements


@contextmanager
def _progress_bar(plan: Plan) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal, tqdm is installed and the run takes over a second."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield lambda passes: None
        return
    # tqdm's watchdog thread would wake up within somebody's timed pass.
    tqdm.monitor_interval = 0
    total = plan.nepochs * plan.repeats * len(plan.engines)
    with tqdm(total=total, unit="pass", delay=1, leave=False, disable=None, file=sys.stderr) as bar:
        yield bar.update


def _check_memory(plan: Plan, place: str) -> None:
    """Raises UsageError if a case of the plan needs more memory than there is."""
    available = environment.available_memory()
    for case in plan.cases:
        # The weights of each engine and a layer on its way to it; with gradients, packed copies and the
        # verifier's in f64 beside them; with moments, and copies of all to go back to. And for the samples of
        # a batch, at most, a dozen arrays in the verifier, or as many a layer.
        copies = {"forward": 1, "backward": 8, "train": 16}[case.mode]
        samples = 12 * 8 * case.batch * case.dimension * (1 if case.mode == "forward" else case.layers)
        needed = copies * case.weight_bytes * len(plan.engines) + 2 * case.layer_bytes + samples
        if available is not None and needed > available:
            raise UsageError(
                f"{place}: expected to fit in the {available / 2**30:.1f} GiB of memory that are "
                f"available, got {needed / 2**30:.1f} GiB: {report.describe(case)}, "
                f"{' and '.join(plan.engines)}"
            )


def _check_output(output: Output, place: Callable[[str], str]) -> None:
    """Raises UsageError if a file could not be written after the run."""
    for name, path in vars(output).items():
        if path is None:
            continue
        existed = path.exists()
        try:
            # Only opening it for writing tells for sure; "a" keeps what is there until there is something
            # new.
            path.open("a").close()
        except OSError as error:
            raise UsageError(f"{place('output.' + name)}: cannot write {path}: {error.strerror}") from None
        if not existed:
            path.unlink()
    if output.plot is not None:
        plot.require()


def _write(results: Results) -> None:
    output = results.plan.output
    if not results.measurements:
        return
    if output.json is not None:
        output.json.write_text(results.to_json())
    if output.csv is not None:
        output.csv.write_text(results.to_csv())
    if output.markdown is not None:
        output.markdown.write_text(report.markdown(results))
    if output.plot is not None:
        plot.draw(results, output.plot)
