"""The argument parser of every command, and the types of its options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tinyrs.cli.errors import USAGE
from tinyrs.cli.output import printable

BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
# What `--to` and `--quantize` take.
FORMATS = ("f16", "bf16", "int8", "int8_weights")


class Parser(argparse.ArgumentParser):
    """The argument parser of one command. Errors are one line; the help ends with examples."""

    def __init__(self, command: str, description: str, *examples: str) -> None:
        shown = "\n".join(f"  {example}" for example in examples)
        super().__init__(
            prog=f"tinyrs {command}".rstrip(),
            description=description,
            epilog=f"examples:\n{shown}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n")

    def add_model(self) -> None:
        self.add_argument(
            "model", type=Path, help="model file, written by `tinyrs train` or a `save` method in Python"
        )

    def add_threshold(self) -> None:
        self.add_argument(
            "--threshold",
            metavar="NUMBER",
            type=probability,
            help="for two classes: predict the second one from this probability (default: as in training, "
            "or the more probable class)",
        )

    def add_threads(self) -> None:
        self.add_argument(
            "--threads",
            metavar="N",
            type=integer_at_least(1),
            help="maximum number of threads (default: all available)",
        )

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print the result as one JSON object")


def integer_at_least(minimum: int) -> Callable[[str], int]:
    """The type of an option: an integer >= `minimum`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {minimum}, got {text!r}")
        return value

    return convert


def positive_seconds(text: str) -> float:
    """The type of an option: a finite number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def class_weights(text: str) -> str | dict[str, float]:
    """The type of an option: `balanced`, or the weights of classes by name."""
    if text == "balanced":
        return text
    weights = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = 0.0
        if not (name and 0 < weights[name] < float("inf")):
            raise argparse.ArgumentTypeError(
                f"expected `balanced` or positive numbers such as yes=5,no=1, got {text!r}"
            )
    return weights


def probability(text: str) -> float:
    """The type of an option: a number between 0 and 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return number


def share(text: str) -> float:
    """The type of an option: a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return number


def size(text: str) -> int:
    """The type of an option: a number of bytes, such as 50KB or 2GB."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]+)", text)
    bytes_of_unit = BYTES.get(match[2].upper()) if match else None
    if match is None or bytes_of_unit is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a size such as 50KB or 2GB, got {text!r}")
    return int(float(match[1]) * bytes_of_unit)


def threshold(text: str) -> float | str:
    """The type of an option: a probability, or the name of a score that chooses it."""
    return text if text in ("f1", "balanced_accuracy") else probability(text)


def one_byte_character(text: str) -> str:
    """The type of an option: a CSV delimiter, which pyarrow needs to be one byte in UTF-8."""
    text = {"tab": "\t", r"\t": "\t"}.get(text, text)
    if len(text.encode()) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"expected one ASCII character or `tab`, got {text!r}")
    return text
