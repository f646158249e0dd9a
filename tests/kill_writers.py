#!/usr/bin/env python3
"""Kills processes that write files, at random moments: `make kill KILLS=1000`.

Each process replaces a file again and again, until it gets SIGKILL or SIGTERM. The file must then be whole. A
temporary file may be left, unless the command line was terminated: it removes its own. Prints what was tried.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from io_faults import WRITERS, content_of, prepare, temporaries

TERMINATED = 143
# Parquet is read by threads of pyarrow, after whose start a process must not fork.
NAMES = [name for name in WRITERS if name != "Parquet"]


def write_for_ever(name: str, path: Path) -> NoReturn:
    """Runs in the child: replaces the contents 1 by 2, 2 by 1, and so on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    try:
        for content in itertools.cycle((2, 1)):
            WRITERS[name][1](path, content)
    except OSError as error:
        # The command line ends with a status.
        os._exit(error.errno if error.errno == TERMINATED else 99)
    except BaseException:
        os._exit(98)
    os._exit(97)


def kill_one(name: str, folder: Path, number: signal.Signals, delay: float) -> bool:
    """Kills one writer `delay` seconds after its start; returns whether it left a temporary file."""
    path = folder / WRITERS[name][0]
    child = os.fork()
    if child == 0:
        write_for_ever(name, path)
    time.sleep(delay)
    os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    is_command = name == "CSV"
    allowed = {-number, TERMINATED} if is_command and number == signal.SIGTERM else {-number}
    assert status in allowed, f"{name}: the writer ended with status {status} before {number.name}"
    assert content_of(path) in (1, 2), f"{name}: there is no file after {number.name}"
    left = temporaries(folder)
    assert len(left) <= (0 if status == TERMINATED else 1), f"{name}: {left} after {number.name}"
    for temporary in left:
        (folder / temporary).unlink()
    return bool(left)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where to write (default: a new folder)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    kills = collections.Counter[str]()
    left, start = 0, time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        inputs = prepare(folder)
        seconds = {writer: time_of_writing(writer, folder) for writer in NAMES}
        for i in range(options.kills):
            writer = NAMES[i % len(NAMES)]
            number = chance.choice([signal.SIGKILL, signal.SIGTERM])
            left += kill_one(writer, folder, number, chance.uniform(0, 2 * seconds[writer]))
            kills[f"{number.name} of {writer}"] += 1
        files = {WRITERS[writer][0] for writer in NAMES}
        assert set(os.listdir(folder)) == files | inputs, "other files were left"
    duration = time.monotonic() - start
    for what, count in sorted(kills.items()):
        print(f"{count:6} {what}")
    print(
        f"{options.kills} kills survived in {duration:.0f} s (seed {options.seed}): each file was the old or "
        f"the new one; {left} kills came while a temporary file existed"
    )
    return 0


def time_of_writing(name: str, folder: Path) -> float:
    """The duration in seconds of the first write, in a child: this process must not start threads."""
    begin, child = time.perf_counter(), os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        WRITERS[name][1](folder / WRITERS[name][0], 1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
