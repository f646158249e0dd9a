"""Runs two programs in turn, so that both meet the same load of the machine, and keeps their results."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tinyrs.bench.config import UsageError

# The folders of the results of each program.
BEFORE, AFTER = "before", "after"


def run(
    before: str, after: str, runs: int, folder: Path, progress: Callable[[int], object] = lambda runs: None
) -> tuple[Path, Path]:
    """Runs each command `runs` times, with `--json FILE` at its end.

    The command that runs first alternates from pair to pair, so that a drift of the machine cancels. The
    results are written to two new folders in `folder`, which are returned; pairs have files of the same name.

    Raises
    ------
    UsageError
        If a command cannot be run or fails, or a folder exists already.
    """
    commands = {BEFORE: shlex.split(before), AFTER: shlex.split(after)}
    for name in commands:
        try:
            (folder / name).mkdir(parents=True)
        except FileExistsError:
            raise UsageError(f"{folder / name}: expected a folder to create, but it exists") from None
    width = len(str(runs))
    for number in range(runs):
        names = (BEFORE, AFTER) if number % 2 == 0 else (AFTER, BEFORE)
        for name in names:
            _run([*commands[name], "--json", str(folder / name / f"{number + 1:0{width}}.json")])
            progress(1)
    return folder / BEFORE, folder / AFTER


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise UsageError(f"{shlex.join(command)}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise UsageError(f"{shlex.join(command)}: exit status {done.returncode}: {lines[-1]}")
