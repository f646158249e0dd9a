"""Exit statuses and the errors that a user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SIGNALLED = 128  # plus the number of the signal, as in a shell


class CliError(Exception):
    """An error that the user can correct: one line on standard error, exit status 1.

    `result` is what the command found nevertheless; `--json` prints it with the error.
    """

    status = FAILED

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result


class UsageError(CliError):
    """A missing option, or options that exclude each other: exit status 2."""

    status = USAGE


class Interrupted(KeyboardInterrupt):
    """Raised by a command that was interrupted by Ctrl-C, but has a result."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__()
        self.result = result


class Terminated(BaseException):
    """Raised by the handler of a signal that ends the program, so that temporary files are removed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.status = SIGNALLED + signal_number


def suggestion(unknown: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the closest known name, or else a list of known names."""
    known = list(known)
    close = difflib.get_close_matches(unknown, known, n=1, cutoff=0.6)
    if not close:
        # difflib is case-sensitive.
        close = [name for name in known if name.casefold() == unknown.casefold()][:1]
    if close:
        return f"did you mean {close[0]!r}?"
    if not known:
        return "there are none"
    return f"expected one of {', '.join(map(repr, known[:12]))}{', ...' if len(known) > 12 else ''}"
