"""Runs the Python of a Markdown document: each block `python`; a block `text` right after it is its output.

The blocks of a document run one after the other in one namespace. In an output `...` stands for anything, and
numbers with a decimal point may differ by 2 %: trained networks differ between instruction sets, which round
differently.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import math
import re
import warnings
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

NUMBER = re.compile(r"[-+]?\d+\.\d+")


def same(expected: str, got: str) -> bool:
    """Whether an output is as expected."""
    expected_numbers, got_numbers = NUMBER.findall(expected), NUMBER.findall(got)
    if "..." not in expected and len(expected_numbers) == len(got_numbers):
        pairs = zip(expected_numbers, got_numbers, strict=True)
        if all(math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=1e-12) for a, b in pairs):
            expected, got = NUMBER.sub("#", expected), NUMBER.sub("#", got)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, got, flags)


def run_python(example: Example) -> None:
    """Runs a block and remembers what it printed, and where it ends."""
    printed = io.StringIO()
    code = compile(example.parsed, f"{example.path}:{example.line}", "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, example.namespace)  # noqa: S102
    example.namespace["_printed"] = printed.getvalue(), example.region.end


def compare_output(example: Example) -> str | None:
    """What is wrong with a block `text`; None if all is well, or if it does not follow a block `python`."""
    got, end = example.namespace.pop("_printed", ("", -1))
    if end < 0 or example.document.text[end : example.region.start].strip(" \n`"):
        return None
    if same(example.parsed, got):
        return None
    return f"expected the output\n{example.parsed}\ngot\n{got}"


def run_document(path: Path) -> int:
    """Runs all blocks of a document; returns their number. Raises SybilFailure, or what a block raises."""
    parsers: list[Any] = [CodeBlockParser("python", run_python), CodeBlockParser("text", compare_output)]
    examples = list(Sybil(parsers, path=str(path.parent), filenames=[path.name]).parse(path).examples())
    for example in examples:
        example.evaluate()
    return len(examples)
