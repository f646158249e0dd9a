"""`tinyrs VERB ...`: finds the verb, runs it, and turns what goes wrong into a line and an exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tinyrs.cli.shell import INTERRUPTED, OK, CliError, Parser, suggestion, warn

# What each verb does. Its module is imported when it is asked for: pyarrow and scikit-learn take a while.
VERBS = {
    "train": "learn from a table or a folder of images, and say how good it is",
    "predict": "add label and probability to a table of any length",
    "evaluate": "how good a model is on a table with the right answers",
    "info": "what is in a model file",
    "export": "write a model as ONNX or as a C header",
    "bench": "run the benchmark that a YAML file describes",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv`, by default the process's own, and returns its exit status: 0, 1 (failed),
    2 (usage) or 130 (Ctrl-C)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if not arguments or arguments[0] not in VERBS:
            return _no_verb(arguments)
        return _run(arguments[0], arguments[1:])
    except SystemExit as end:
        # argparse's way to stop.
        return end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        warn("interrupted")
        if argv is None:
            # All that was half done is undone. Only a thread is left that may wait for somebody's pipe; an
            # orderly end would wait with it.
            os._exit(INTERRUPTED)
        return INTERRUPTED


def _no_verb(arguments: list[str]) -> int:
    parser = Parser(
        "",
        "A tiny, fast classifier for CPUs.",
        "tinyrs train data.csv --target quality -o model.safetensors",
        "tinyrs predict model.safetensors new.csv -o out.csv",
    )
    verbs = "\n".join(f"  {verb:10}{does}" for verb, does in VERBS.items())
    parser.description = f"{parser.description}\n\nverbs:\n{verbs}\n\n`tinyrs VERB --help` says more."
    parser.usage = "tinyrs VERB ..."
    parser.add_argument("--version", action="store_true", help="print it")
    parser.add_argument("verb", nargs="?", help="what to do: see above")
    options, _ = parser.parse_known_args(arguments)
    if options.version:
        from tinyrs import __version__

        print(f"tinyrs {__version__}")
        return OK
    if options.verb is None:
        parser.error("expected a verb: " + ", ".join(VERBS))
    parser.error(f"unknown verb {options.verb!r}: {suggestion(options.verb, VERBS)}")


def _run(verb: str, arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        module = import_module(f"tinyrs.cli.{verb}")
        options = module.parser().parse_args(arguments)
        result: dict[str, Any] | None = module.run(options)
        if as_json and result is not None:
            print(json.dumps(result, allow_nan=False))
        return OK
    except CliError as error:
        return _failed(str(error), error.status, as_json)
    except BrokenPipeError:
        # `| head -1` has had enough. Python would try to flush once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except ImportError as error:
        return _failed(_missing(error), CliError.status, as_json)
    except (OSError, ValueError, TypeError, MemoryError) as error:
        return _failed(_message(error), CliError.status, as_json)


def _failed(message: str, status: int, as_json: bool) -> int:
    # One line, whatever is in somebody's file.
    line = " ".join(message.split())
    warn(line)
    if as_json:
        print(json.dumps({"error": line}))
    return status


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def _missing(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    extras = {"pyarrow": "cli", "sklearn": "cli", "narwhals": "cli", "tqdm": "cli", "PIL": "images"}
    extras |= {"yaml": "bench", "threadpoolctl": "bench", "onnx": "onnx"}
    if package in extras:
        return f"this needs {package}, which is not installed: pip install 'tinyrs[{extras[package]}]'"
    return str(error)
