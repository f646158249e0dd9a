"""What quick_benchmark.py and benchmark.py share: flags, one-line errors, the run, and its output files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

from tinyrs.bench import environment, plot, prices, report, runner
from tinyrs.bench.config import Case, Cost, Output, Plan, RefusedError, UsageError
from tinyrs.bench.harness import Progress
from tinyrs.bench.results import Measurement, Results
from tinyrs.files import atomic

T = TypeVar("T")

OK, WRONG_ANSWER, USAGE, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def integer_flag(parse: Callable[[object], T]) -> Callable[[str], T]:
    """The argparse type of a flag whose value is an integer that `parse` checks."""

    def convert(value: str) -> T:
        try:
            return flag(parse)(int(value))
        except ValueError:
            return flag(parse)(value)

    return convert


def flag(parse: Callable[[object], T]) -> Callable[..., T]:
    """The argparse type of a flag whose value `parse` checks. argparse adds the flag's name to the error."""

    def convert(value: object) -> T:
        try:
            return parse(value)
        except RefusedError as refused:
            raise argparse.ArgumentTypeError(str(refused)) from None

    return convert


def add_cost_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `cost` reads."""
    parser.add_argument(
        "--price",
        type=flag(prices.parse),
        metavar="PRICE",
        help="what the machine costs per hour, such as 0.0425, '0,05 EUR' or c7g.large: print the cost of "
        "a million predictions",
    )
    parser.add_argument(
        "--utilisation",
        type=flag(prices.utilisation),
        metavar="SHARE",
        help="share of the time in which the machine has work, such as 0.3 (default: 1)",
    )


def cost(flags: argparse.Namespace) -> Cost | None:
    """The cost that the flags describe; None without a price. Raises UsageError."""
    if flags.price is None:
        if flags.utilisation is not None:
            raise UsageError("argument --utilisation: needs --price")
        return None
    return Cost(flags.price, flags.utilisation or 1.0)


def run_tool(name: str, tool: Callable[[], int]) -> int:
    """Runs `tool` and returns its exit status. Errors of the user become one line on standard error."""
    try:
        return tool()
    except UsageError as error:
        # Keys of the file and messages of YAML may contain line breaks.
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head -1`, has closed the pipe. Python would flush again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (OSError, MemoryError) as error:
        print(f"{name}: error: {str(error) or 'out of memory'}", file=sys.stderr)
        return USAGE


def execute(plan: Plan, *, setting_name: Callable[[str], str], folder: Path, quiet: bool) -> int:
    """Runs the plan, prints its results and writes its files; returns the exit status.

    `setting_name` translates "shape" or "output.json" to the flag or key that the user knows. `folder`
    contains the tool. Raises UsageError before anything runs if the plan cannot run.
    """
    _check_precision(plan, setting_name("math.precision"))
    _check_memory(plan, setting_name("shape"))
    _check_output(plan.output, setting_name)
    results = Results(plan, environment.describe(folder))
    try:
        if plan.swept:
            _sweep(results, quiet)
        else:
            _single(results, quiet)
    finally:
        # Also after an interruption: keeps what was measured until then.
        _write(results)
    for failure in results.failures:
        print(f"error: wrong answer, not timed: {failure}", file=sys.stderr)
    return WRONG_ANSWER if results.failures else OK


def _single(results: Results, quiet: bool) -> None:
    """Runs one network; prints the line with the total, then the details."""
    _measure(results, results.plan.cases[0])
    lines = []
    if any(m.engine == results.plan.engines[0] for m in results.measurements):
        lines.append(report.headline(results))
    if results.measurements and not quiet:
        lines += [
            "",
            report.details(results.measurements, results.plan.cost),
            "",
            report.environment(results.environment),
        ]
    if lines:
        print("\n".join(lines), flush=True)


def _sweep(results: Results, quiet: bool) -> None:
    """Runs many networks; prints a row of the table after each, then the line with the total."""
    swept, cost = results.plan.swept, results.plan.cost
    if not quiet:
        print(report.fixed_columns(report.sweep_header(swept, cost)), flush=True)
    for case in results.plan.cases:
        for measurement in _measure(results, case):
            if not quiet:
                print(report.fixed_columns(report.sweep_cells(swept, measurement, cost)), flush=True)
    if not quiet:
        if results.measurements:
            print(f"\n{report.sweep_note(results.measurements)}")
            if cost is not None:
                print(report.cost_note(cost))
        print(f"\n{report.environment(results.environment)}\n")
    if results.measurements:
        print(report.headline(results), flush=True)


def _measure(results: Results, case: Case) -> list[Measurement]:
    """Runs one case and adds its measurements and failures to `results`."""
    with _progress_bar(results.plan) as progress:
        measurements, failures = runner.run(case, results.plan, progress)
    results.measurements += measurements
    results.failures += [f"{report.describe(case)}: {failure}" for failure in failures]
    return measurements


@contextmanager
def _progress_bar(plan: Plan) -> Iterator[Progress]:
    """A progress bar on standard error, if it is a terminal and the run takes over a second. Needs tqdm."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield lambda passes: None
        return
    # Disables the monitor thread of tqdm: it would wake up during a timed pass.
    tqdm.monitor_interval = 0
    total = plan.nepochs * plan.repeats * len(plan.engines)
    with tqdm(total=total, unit="pass", delay=1, leave=False, disable=None, file=sys.stderr) as bar:
        yield bar.update


def _check_precision(plan: Plan, setting: str) -> None:
    """Raises UsageError if a network of low precision is to be trained, or computed by NumPy."""
    for case in plan.cases:
        if case.low_precision and case.mode != "forward":
            raise UsageError(
                f"{setting}: {case.precision} networks have forward passes only, got {case.mode}: use f32"
            )
        if case.low_precision and "numpy" in plan.engines:
            raise UsageError(
                f"{setting}: the engine numpy has no {case.precision} networks: use the engine tinyrs"
            )


def _check_memory(plan: Plan, setting: str) -> None:
    """Raises UsageError if a case of the plan needs more memory than is available."""
    available = environment.available_memory()
    for case in plan.cases:
        # Forward: the weights of each engine, and one layer that is being made. Backward: also gradients,
        # packed weights and the verifier's f64 arrays. Training: also moments and copies of everything.
        # The samples of a batch take at most 12 arrays in the verifier, for gradients 12 per layer.
        copies = {"forward": 1, "backward": 8, "train": 16}[case.mode]
        samples = 12 * 8 * case.batch * case.dimension * (1 if case.mode == "forward" else case.layers)
        needed = copies * case.weight_bytes * len(plan.engines) + 2 * case.layer_bytes + samples
        if case.low_precision:
            # The f32 network that is quantized.
            needed += replace(case, precision="f32").weight_bytes
        if available is not None and needed > available:
            raise UsageError(
                f"{setting}: needs {needed / 2**30:.1f} GiB of memory, but only {available / 2**30:.1f} GiB "
                f"are available: {report.describe(case)}, {' and '.join(plan.engines)}"
            )


def _check_output(output: Output, setting_name: Callable[[str], str]) -> None:
    """Raises UsageError if an output file cannot be written."""
    for name, path in vars(output).items():
        if path is None:
            continue
        try:
            # What is written is the target of a link, which need not exist.
            target = Path(atomic.follow_links(path))
            existed = target.exists()
            # Only opening a file for writing shows that it can be written. "a" keeps its content.
            target.open("a").close()
        except OSError as error:
            raise UsageError(
                f"{setting_name('output.' + name)}: cannot write {path}: {error.strerror}"
            ) from None
        if not existed:
            target.unlink()
    if output.plot is not None:
        plot.require()


def _write(results: Results) -> None:
    output = results.plan.output
    if not results.measurements:
        return
    if output.json is not None:
        _write_text(output.json, results.to_json())
    if output.csv is not None:
        _write_text(output.csv, results.to_csv())
    if output.markdown is not None:
        _write_text(output.markdown, report.markdown(results))
    if output.plot is not None:
        plot.draw(results, output.plot)


def _write_text(path: Path, text: str) -> None:
    with atomic.writing(path) as file:
        file.write(text.encode())
