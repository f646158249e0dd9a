"""What every verb shares: its parser, its errors, what it prints and how it writes files."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from tinyrs.files import atomic as files

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
STREAM = "-"


class CliError(Exception):
    """What the user can do something about: one line on standard error, and exit status 1."""

    status = FAILED


class UsageError(CliError):
    """Options that do not go together: exit status 2."""

    status = USAGE


class Parser(argparse.ArgumentParser):
    """Of one verb: says what is wrong in one line, and shows an example in its help."""

    def __init__(self, verb: str, description: str, *examples: str) -> None:
        shown = "\n".join(f"  {example}" for example in examples)
        super().__init__(
            prog=f"tinyrs {verb}".rstrip(),
            description=description,
            epilog=f"for example:\n{shown}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def add_model(self) -> None:
        self.add_argument("model", type=Path, help="a file that `tinyrs train` or `save` wrote")

    def add_delimiter(self) -> None:
        self.add_argument(
            "--delimiter",
            type=_one_character,
            help="what stands between the columns of a CSV file (default: a comma; a tab in .tsv)",
        )

    def add_threads(self) -> None:
        self.add_argument("--threads", type=whole(1), help="at most so many (default: all that it may use)")

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def whole(least: int) -> Callable[[str], int]:
    """The type of a flag: a whole number that is not less."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return value

    return convert


def seconds(text: str) -> float:
    """The type of a flag: a time that is not 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def _one_character(text: str) -> str:
    text = {"tab": "\t", r"\t": "\t"}.get(text, text)
    if len(text.encode()) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"expected one character, or tab, got {text!r}")
    return text


def say(text: str = "", *, quiet: bool = False) -> None:
    """A line for the reader, at once; `quiet` where standard output belongs to a program."""
    if not quiet:
        print(text, flush=True)


def warn(text: str) -> None:
    print(f"tinyrs: {text}", file=sys.stderr, flush=True)


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """What to say after a name that is none of those that are known."""
    known = list(known)
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    if not close:
        # difflib finds Quality nowhere near quality.
        close = [name for name in known if name.casefold() == wrong.casefold()][:1]
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(map(repr, known[:12]))
    return f"there is {shown}{', ...' if len(known) > 12 else ''}" if known else "there is none"


@contextmanager
def writing(path: str) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all: written under another name, renamed at the end.

    `-` is standard output.
    """
    if path == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.exists() and not target.is_file():
        # /dev/null, a named pipe: nothing to rename. A folder says itself what is wrong with it.
        with target.open("wb") as file:
            yield file
        return
    check_folder(path)
    with files.writing(target) as file:
        yield file


def check_folder(path: str | os.PathLike[str]) -> None:
    """CliError if a file cannot be written there: before the work, not after it."""
    folder = Path(path).parent
    if Path(path).is_dir():
        raise CliError(f"{path}: expected a file to write to, got a folder")
    if not folder.is_dir():
        raise CliError(f"{path}: there is no folder {str(folder)!r} to write to")
    if not os.access(folder, os.W_OK):
        raise CliError(f"{path}: no permission to write to the folder {str(folder)!r}")


@contextmanager
def counter(unit: str, *, quiet: bool = False) -> Iterator[Callable[[int], object]]:
    """Counts on standard error, if that is a terminal, what takes longer than a second."""
    if quiet or not sys.stderr.isatty():
        yield lambda more: None
        return
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", unit_scale=True, delay=1, leave=False, file=sys.stderr) as bar:
        yield bar.update
