"""The examples of servers under load from several real HTTP connections; run by `make scale`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases_of_scale
import httpx
import numpy as np
import pytest
import tinyrs
from conftest import ROOT

CONNECTIONS, REQUESTS = 8, 50
ROWS = cases_of_scale.make_rows(CONNECTIONS * REQUESTS).select(["length", "width", "colour"]).to_pylist()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return cases_of_scale.make_case(tmp_path_factory.mktemp("model")).model


@contextmanager
def server(app: str, model: str) -> Iterator[str]:
    """The address of a server of `examples/serve/APP.py` in two processes."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    command = ["uvicorn", "--app-dir", ROOT / "examples/serve", f"{app}:app", "--port", port]
    command += ["--workers", 2, "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, "-m", *map(str, command)], env={**os.environ, "MODEL": model})
    try:
        yield f"http://127.0.0.1:{port}"
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


async def load(url: str, bodies: list[Any]) -> tuple[list[Any], list[float]]:
    """The answers to all requests, sent over a few connections at once, and their times in milliseconds."""
    answers: list[Any] = [None] * len(bodies)
    times: list[float] = []
    todo = iter(range(len(bodies)))

    async def send(client: httpx.AsyncClient) -> None:
        for i in todo:
            start = time.perf_counter()
            answer = await client.post(url, json=bodies[i])
            times.append((time.perf_counter() - start) * 1e3)
            assert answer.status_code == 200, answer.text
            answers[i] = answer.json()

    async with httpx.AsyncClient(timeout=60) as client:
        await asyncio.gather(*(send(client) for _ in range(CONNECTIONS)))
    return answers, times


def say(app: str, times: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    p50, p99 = np.percentile(times, [50, 99])
    shown = f"{len(times)} requests over {CONNECTIONS} connections: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    with capsys.disabled():
        print(f"\n{app}: {shown}")


def test_fastapi_answers_as_the_model_does(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = tinyrs.load(model)
    assert isinstance(predictor, tinyrs.Predictor)
    with server("fastapi_app", model) as address:
        wait_until_ready(f"{address}/health")
        answers, times = asyncio.run(load(f"{address}/predict", [[row] for row in ROWS]))
        assert answers == [[predictor.predict_proba_one(row)] for row in ROWS]
        say("fastapi_app", times, capsys)
        answer = httpx.post(f"{address}/predict", json=[{"length": 1}])
        assert answer.status_code == 422
        assert "missing columns: 'width', 'colour'" in answer.json()["detail"]


def test_the_v2_protocol_answers_as_the_model_does(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = tinyrs.load(model)
    assert isinstance(predictor, tinyrs.Predictor)

    def request(rows: list[dict[str, Any]]) -> dict[str, Any]:
        types = {"length": "FP64", "width": "FP32", "colour": "BYTES"}
        inputs = [
            {"name": name, "shape": [len(rows), 1], "datatype": kind, "data": [row[name] for row in rows]}
            for name, kind in types.items()
        ]
        return {"id": "7", "inputs": inputs}

    with server("v2_app", model) as address:
        url = f"{address}/v2/models/tinyrs"
        wait_until_ready(f"{url}/ready")
        assert [column["name"] for column in httpx.get(url).json()["inputs"]] == ["length", "width", "colour"]
        answers, times = asyncio.run(load(f"{url}/infer", [request([row]) for row in ROWS]))
        p = predictor.predict_proba(ROWS)
        for answer, expected in zip(answers, p, strict=True):
            label, probabilities = answer["outputs"]
            assert answer["id"] == "7"
            assert label["data"] == [predictor.classes_[expected.argmax()]]
            assert np.float32(probabilities["data"]).tolist() == expected.tolist()
        say("v2_app", times, capsys)
        answer = httpx.post(f"{url}/infer", json=request([{"length": "x", "width": 1, "colour": "red"}]))
        assert answer.status_code == 400
        assert "'length'" in answer.json()["detail"]
