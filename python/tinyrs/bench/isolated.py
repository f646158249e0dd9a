"""Runs a function in a fresh Python process and exchanges JSON messages with it.

Engines in separate processes share no threads, no libraries and no start-up time.

    # module engines_here, importable from the parent's sys.path:
    def measure(channel: Channel, dimension: int) -> object:
        channel.send("ready")
        channel.receive()  # waits for the parent's signal to start
        return {"median_ms": ...}

    with Worker("engines_here:measure", 1024) as worker:
        worker.receive()
        worker.send("start")
        print(worker.receive())  # what `measure` returned
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

# Messages go through the standard input and output of the child.
_COMMAND = ("-c", "from tinyrs.bench import isolated; isolated.serve()")


class WorkerError(Exception):
    """A worker that ended early or did not answer in time, with its last line on standard error."""


class Channel:
    """One end of a connection: messages are JSON values, one per line."""

    def __init__(self, reader: IO[str], writer: IO[str]) -> None:
        self._reader, self._writer = reader, writer

    def send(self, message: object) -> None:
        """Sends a JSON value."""
        self._writer.write(json.dumps(message) + "\n")
        self._writer.flush()

    def receive(self) -> Any:
        """The next message. Raises EOFError if the other end is closed."""
        line = self._reader.readline()
        if not line.endswith("\n"):
            raise EOFError("expected a message, but the other process has ended")
        return json.loads(line)


class Worker:
    """A Python process that runs one function; a context manager that ends the process.

    `target` is "module:function". The function is called with its Channel and `arguments`, which are JSON
    values; what it returns is its last message. `environment` adds to the parent's environment variables.
    The child inherits the open `files`, file descriptors that keep their numbers; not on Windows.
    """

    def __init__(
        self,
        target: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        files: Sequence[int] = (),
    ) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.target = target
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, *_COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **(environment or {}), "PYTHONPATH": path},
            text=True,
            encoding="utf-8",
            pass_fds=files,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin)
        self.send([target, arguments])

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, message: object) -> None:
        """Sends a JSON value. Raises WorkerError if the process has ended."""
        try:
            self._channel.send(message)
        except OSError:
            raise self._error("has ended") from None

    def receive(self, timeout_s: float | None = None) -> Any:
        """The next message.

        Raises WorkerError if the process ends first, or is killed because `timeout_s` seconds have passed.
        """
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, expire) if timeout_s is not None else None
        if timer:
            timer.start()
        try:
            return self._channel.receive()
        except (EOFError, json.JSONDecodeError):
            problem = f"sent nothing within {timeout_s:g} s" if expired.is_set() else "has ended"
            raise self._error(problem) from None
        finally:
            if timer:
                timer.cancel()

    def _error(self, problem: str) -> WorkerError:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return WorkerError(f"{self.target} {problem}{f': {lines[-1]}' if lines else ''}")

    def close(self) -> None:
        """Ends the process if it still runs."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                # Closing flushes a message that the process never read.
                with suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(
    target: str,
    *arguments: object,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """What the function `target` returns when it runs in a new process. Raises WorkerError."""
    with Worker(target, *arguments, environment=environment) as worker:
        return worker.receive(timeout_s)


def serve() -> None:
    """The child's side: reads the target and its arguments, calls it, sends what it returns."""
    # What libraries print goes to standard error: standard output carries the messages.
    writer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    reader = os.fdopen(os.dup(0), encoding="utf-8")
    channel = Channel(reader, writer)
    target, arguments = channel.receive()
    module, _, function = target.partition(":")
    channel.send(getattr(importlib.import_module(module), function)(channel, *arguments))
