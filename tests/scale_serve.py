"""The examples of servers under load from several real HTTP connections, also while workers end.

Run by `make scale`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cases_of_scale
import httpx
import numpy as np
import psutil
import pytest
import tinyrs
from conftest import ROOT

CONNECTIONS, REQUESTS = 8, 50
ROWS = cases_of_scale.make_rows(CONNECTIONS * REQUESTS).select(["length", "width", "colour"]).to_pylist()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return cases_of_scale.make_case(tmp_path_factory.mktemp("model")).model


@contextmanager
def server(app: str, model: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the parent process of a server of `examples/serve/APP.py` with two workers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    command = ["uvicorn", "--app-dir", ROOT / "examples/serve", f"{app}:app", "--port", port]
    # By default, a new worker has five seconds to start, too few on a busy machine.
    command += ["--workers", 2, "--timeout-worker-healthcheck", 60, "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, "-m", *map(str, command)], env={**os.environ, "MODEL": model})
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            httpx.get(url).raise_for_status()
            return
        except httpx.TransportError:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.2)


class Load:
    """The answers to all requests, sent over a few connections at once, and their times in milliseconds.

    `disturb` is called in the middle, in a thread, while the other connections send and wait. A request whose
    connection ends without an answer is sent again, and counted in `repeated`.
    """

    def __init__(self, url: str, bodies: list[Any], disturb: Callable[[], None] = lambda: None) -> None:
        self.url, self.bodies, self.disturb = url, bodies, disturb
        self.answers: list[Any] = [None] * len(bodies)
        self.times: list[float] = []
        self.repeated = 0
        self.todo = iter(range(len(bodies)))
        asyncio.run(self.send_all())

    async def send_all(self) -> None:
        # A lost request would end the test by the timeout, which is not repeated.
        async with httpx.AsyncClient(timeout=60) as client:
            await asyncio.gather(*(self.send_some(client) for _ in range(CONNECTIONS)))

    async def send_some(self, client: httpx.AsyncClient) -> None:
        for i in self.todo:
            start = time.perf_counter()
            answer = await self.send(client, self.bodies[i])
            self.times.append((time.perf_counter() - start) * 1e3)
            assert answer.status_code == 200, answer.text
            self.answers[i] = answer.json()
            if len(self.times) == len(self.bodies) // 2:
                await asyncio.to_thread(self.disturb)

    async def send(self, client: httpx.AsyncClient, body: Any) -> httpx.Response:
        for _ in range(3):
            try:
                return await client.post(self.url, json=body)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                self.repeated += 1
        pytest.fail("the connection ended three times")


def say(app: str, times: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    p50, p99 = np.percentile(times, [50, 99])
    shown = f"{len(times)} requests over {CONNECTIONS} connections: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    with capsys.disabled():
        print(f"\n{app}: {shown}")


def test_fastapi_answers_as_the_model_does(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = tinyrs.load(model)
    assert isinstance(predictor, tinyrs.Predictor)
    with server("fastapi_app", model) as (address, _):
        wait_until_ready(f"{address}/health")
        load = Load(f"{address}/predict", [[row] for row in ROWS])
        assert load.answers == [[predictor.predict_proba_one(row)] for row in ROWS]
        assert load.repeated == 0
        say("fastapi_app", load.times, capsys)
        answer = httpx.post(f"{address}/predict", json=[{"length": 1}])
        assert answer.status_code == 422
        assert "missing columns: 'width', 'colour'" in answer.json()["detail"]


def v2_request(rows: list[dict[str, Any]], number: int = 7) -> dict[str, Any]:
    types = {"length": "FP64", "width": "FP32", "colour": "BYTES"}
    inputs = [
        {"name": name, "shape": [len(rows), 1], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in types.items()
    ]
    return {"id": str(number), "inputs": inputs}


def check_v2_answers(answers: list[Any], model: str) -> None:
    """Each request has the one answer with its number, which is that of the model."""
    predictor = tinyrs.load(model)
    assert isinstance(predictor, tinyrs.Predictor)
    for i, (answer, expected) in enumerate(zip(answers, predictor.predict_proba(ROWS), strict=True)):
        label, probabilities = answer["outputs"]
        assert answer["id"] == str(i)
        assert label["data"] == [predictor.classes_[expected.argmax()]]
        assert np.float32(probabilities["data"]).tolist() == expected.tolist()


V2_REQUESTS = [v2_request([row], i) for i, row in enumerate(ROWS)]


def test_the_v2_protocol_answers_as_the_model_does(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with server("v2_app", model) as (address, _):
        url = f"{address}/v2/models/tinyrs"
        wait_until_ready(f"{url}/ready")
        assert [column["name"] for column in httpx.get(url).json()["inputs"]] == ["length", "width", "colour"]
        load = Load(f"{url}/infer", V2_REQUESTS)
        check_v2_answers(load.answers, model)
        assert load.repeated == 0
        say("v2_app", load.times, capsys)
        answer = httpx.post(f"{url}/infer", json=v2_request([{"length": "x", "width": 1, "colour": "red"}]))
        assert answer.status_code == 400
        assert "'length'" in answer.json()["detail"]


def workers(parent: psutil.Process) -> dict[int, int]:
    """The number of open connections of each worker, by process id."""
    found = {}
    for child in parent.children():
        connections = child.net_connections("tcp")
        if connections:  # not the resource tracker of multiprocessing
            found[child.pid] = sum(c.status == psutil.CONN_ESTABLISHED for c in connections)
    return found


def wait_for_other_workers(parent: psutil.Process, gone: set[int]) -> None:
    end = time.monotonic() + 60
    while len(workers(parent)) < 2 or gone & workers(parent).keys():
        assert time.monotonic() < end, "the workers were not replaced"
        time.sleep(0.2)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs the signals of POSIX")
def test_a_dead_worker_is_replaced_and_no_request_is_lost(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server("v2_app", model) as (address, parent):
        url = f"{address}/v2/models/tinyrs"
        wait_until_ready(f"{url}/ready")
        wait_for_other_workers(parent, set())
        killed: dict[int, int] = {}

        def kill_the_busiest() -> None:
            pid, connections = max(workers(parent).items(), key=lambda worker: worker[1])
            killed[pid] = connections
            os.kill(pid, signal.SIGKILL)

        # Twice: in the second round, a worker that was started meanwhile answers too.
        for _ in range(2):
            load = Load(f"{url}/infer", V2_REQUESTS, kill_the_busiest)
            check_v2_answers(load.answers, model)
            # At most the one request that is under way on each connection of the killed worker.
            assert 0 < load.repeated <= list(killed.values())[-1]
            say(f"v2_app, a worker killed, {load.repeated} requests sent again", load.times, capsys)
            wait_for_other_workers(parent, set(killed))
        # A new model file is loaded by new workers.
        old = set(workers(parent))
        load = Load(f"{url}/infer", V2_REQUESTS, lambda: parent.send_signal(signal.SIGHUP))
        check_v2_answers(load.answers, model)
        say(f"v2_app, both workers replaced, {load.repeated} requests sent again", load.times, capsys)
        wait_for_other_workers(parent, old)
        check_v2_answers(Load(f"{url}/infer", V2_REQUESTS).answers, model)
