"""`tinyrs COMMAND ...`: runs a command and turns its errors into one line and an exit status."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tinyrs.cli.arguments import Parser
from tinyrs.cli.errors import INTERRUPTED, OK, CliError, Interrupted, Terminated, suggestion
from tinyrs.cli.output import warn

# Command -> its line in the help. A command's module is imported only when it runs: pyarrow and
# scikit-learn take about a second. The module of `bench compare` is `bench_compare`.
COMMANDS = {
    "train": "train a model on a table or a folder of images and measure it",
    "predict": "add label and probability to a table of any length",
    "evaluate": "measure a model on rows with known labels",
    "info": "describe a model file",
    "quantize": "write a model with fewer bytes a weight and measure what that costs",
    "export": "convert a model to ONNX or a C header",
    "bench": "measure models as they are served, or run the benchmark that a YAML file describes",
    "bench compare": "compare two results of a benchmark: faster, slower, or not told apart",
}

# The extra that installs each optional package.
EXTRAS = {
    **dict.fromkeys(("pyarrow", "sklearn", "narwhals", "tqdm"), "cli"),
    **dict.fromkeys(("yaml", "threadpoolctl", "scipy"), "bench"),
    "PIL": "images",
    "onnx": "onnx",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: `sys.argv`) and returns the exit status.

    0: success; 1: failure; 2: wrong usage; 130: interrupted by Ctrl-C; 143: terminated by SIGTERM; 129: by
    SIGHUP.
    """
    if argv is None:
        _set_up_process()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        for words in (2, 1):
            command = " ".join(arguments[:words])
            if command in COMMANDS:
                return _run(command, arguments[words:])
        return _run_without_command(arguments)
    except SystemExit as end:
        # Raised by argparse after --help and after errors.
        return end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        status, reason = INTERRUPTED, "interrupted"
    except Terminated as end:
        status, reason = end.status, "terminated"
    # A terminal that has hung up takes no more messages.
    with contextlib.suppress(OSError):
        warn(reason)
    if argv is None:
        # Temporary files are removed by now. A normal exit would wait for the thread that reads a pipe.
        os._exit(status)
    return status


def _set_up_process() -> None:
    """Changes what holds for the whole process: signals, warnings, and characters that cannot be printed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # `nohup` ignores SIGHUP; then it stays ignored.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    warnings.showwarning = lambda message, *_, **__: warn(str(message))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # For a terminal whose encoding lacks a character of a name.
            stream.reconfigure(errors="backslashreplace")


def _terminate(number: int, frame: object) -> None:
    """The handler of signals that end the program. Later ones must not interrupt the removal of files."""
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise Terminated(number)


def _run_without_command(arguments: list[str]) -> int:
    """Handles `tinyrs --help`, `tinyrs --version` and unknown commands."""
    parser = Parser(
        "",
        "A small, fast neural-network classifier for CPUs.",
        "tinyrs train data.csv --target quality -o model.safetensors",
        "tinyrs predict model.safetensors new.csv -o out.csv",
    )
    commands = "\n".join(f"  {command:15}{summary}" for command, summary in COMMANDS.items())
    parser.description = (
        f"{parser.description}\n\ncommands:\n{commands}\n\n"
        "Run `tinyrs COMMAND --help` for the options of a command."
    )
    parser.usage = "tinyrs COMMAND ..."
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", help="one of the commands above")
    options, _ = parser.parse_known_args(arguments)
    if options.version:
        from tinyrs import __version__

        print(f"tinyrs {__version__}")
        return OK
    if options.command is None:
        parser.error("expected a command: " + ", ".join(COMMANDS))
    parser.error(f"unknown command {options.command!r}: {suggestion(options.command, COMMANDS)}")


def _run(command: str, arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        module = import_module(f"tinyrs.cli.{command.replace(' ', '_')}")
        options = module.parser().parse_args(arguments)
        options.command_line = shlex.join(["tinyrs", *command.split(), *arguments])
        result: dict[str, Any] | None = module.run(options)
        if as_json and result is not None:
            print(json.dumps(result, allow_nan=False))
        return OK
    except Interrupted as end:
        if as_json:
            print(json.dumps(end.result, allow_nan=False), flush=True)
        raise
    except CliError as error:
        return _fail(str(error), error.status, as_json, error.result)
    except BrokenPipeError:
        # The reader of our output has closed it (`| head -1`). Python would flush once more at exit and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except ImportError as error:
        return _fail(_import_message(error), CliError.status, as_json)
    except (OSError, ValueError, TypeError, MemoryError) as error:
        return _fail(_message(error), CliError.status, as_json)
    except Exception as error:
        if os.environ.get("TINYRS_TRACEBACK"):
            raise
        message = (
            f"unexpected {type(error).__name__}: {error} (a bug in tinyrs: TINYRS_TRACEBACK=1 shows where)"
        )
        return _fail(message, CliError.status, as_json)


def _fail(message: str, status: int, as_json: bool, result: dict[str, Any] | None = None) -> int:
    # One line, even if a value in the message contains line breaks.
    line = " ".join(message.split())
    warn(line)
    if as_json:
        print(json.dumps({**(result or {}), "error": line}, allow_nan=False))
    return status


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def _import_message(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    if package in EXTRAS:
        return f"this command needs {package}: pip install 'tinyrs[{EXTRAS[package]}]'"
    return str(error)
