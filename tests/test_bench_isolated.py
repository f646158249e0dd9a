"""Functions in new processes: messages arrive, and the error of a failed process says why it failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tinyrs.bench import isolated
from tinyrs.bench.isolated import Worker, WorkerError

CODE = """
import os, sys, time

def add(channel, a, b):
    print("printed by a library")
    os.write(1, b"printed by a C library")
    return {"sum": a + b, "pid": os.getpid(), "variable": os.environ.get("SOME_VARIABLE")}

def echo(channel):
    channel.send("ready")
    for message in iter(channel.receive, None):
        channel.send(message)
    return "done"

def fail(channel):
    raise ValueError("the answer is wrong")

def end(channel):
    os._exit(3)

def hang(channel):
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isolated_functions.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_a_result_comes_from_another_process() -> None:
    result = isolated.run("isolated_functions:add", 2, 3, environment={"SOME_VARIABLE": "7"})
    assert (result["sum"], result["variable"]) == (5, "7")
    assert result["pid"] != os.getpid()


def test_messages_go_both_ways_to_several_workers() -> None:
    with Worker("isolated_functions:echo") as a, Worker("isolated_functions:echo") as b:
        assert (a.receive(), b.receive()) == ("ready", "ready")
        messages: list[object] = [{"text": "two\nlines", "numbers": [1, 2.5]}, [], "é"]
        for message in messages:
            a.send(message)
            b.send([message])
            assert (a.receive(), b.receive()) == (message, [message])
        a.send(None)
        assert a.receive() == "done"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("isolated_functions:fail", "isolated_functions:fail has ended: ValueError: the answer is wrong"),
        ("isolated_functions:end", "isolated_functions:end has ended"),
        ("isolated_functions:missing", "has ended: AttributeError: .*missing"),
        ("no_such_module:f", "has ended: ModuleNotFoundError: .*no_such_module"),
    ],
)
def test_a_process_that_fails_says_why(function: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        isolated.run(function)


def test_a_process_that_does_not_answer_is_ended() -> None:
    with Worker("isolated_functions:hang") as worker:
        with pytest.raises(WorkerError, match=r"hang sent nothing within 0\.2 s"):
            worker.receive(timeout_s=0.2)
        with pytest.raises(WorkerError, match="has ended"):
            worker.receive()


def test_a_busy_process_ends_with_its_context() -> None:
    with Worker("isolated_functions:hang") as worker:
        assert worker.pid != os.getpid()
    assert worker._process.returncode is not None
