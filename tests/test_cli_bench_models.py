"""`tinyrs bench` on model files, and benchmark.py on files of version 3."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest
import tinyrs
from conftest import Run, csv_text, flowers
from report_pages import Page
from tinyrs.bench.serving import models
from tinyrs.bench.serving.rows import Rows

QUICK = ("--seconds", "0.02")


@pytest.fixture
def model(flower_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model and held-out rows in the working directory."""
    # Measuring the limits takes half a second.
    limits = {"read_bandwidth": 1e10, "fma_f32": 1e11}
    monkeypatch.setattr(tinyrs, "machine_limits", lambda: limits)
    monkeypatch.chdir(tmp_path)
    shutil.copy(flower_model, tmp_path / "m.safetensors")
    (tmp_path / "held.csv").write_text(csv_text(flowers(60, seed=5)))
    return "m.safetensors"


def test_all_scenarios_and_outputs(tinyrs_cli: Run, model: str) -> None:
    done = tinyrs_cli(
        *("bench", model, "--data", "held.csv", "--price", "c7g.large", "--utilisation", "0.5"),
        *("--qps", "5000", "--workers", "1", "--training-seconds", "2", *QUICK),
        *("--html", "r.html", "--csv", "r.csv", "--json"),
    )  # fmt: skip
    assert done.status == 0, done.err
    results = done.json["results"]
    assert [r["scenario"] for r in results] == ["offline", "single_stream", "multi_stream", "server"]
    assert {r["verdict"] for r in results} == {"INVALID"}
    assert all(any(reason.startswith("too short") for reason in r["reasons"]) for r in results)
    evaluated = tinyrs_cli("evaluate", model, "held.csv", "--json").json
    assert all(r["error"] == pytest.approx(1 - evaluated["accuracy"]) for r in results)
    assert all(r["log_loss"] == pytest.approx(evaluated["log_loss"], rel=1e-5) for r in results)
    assert all(r["queries"] >= 662 for r in results[1:])
    assert results[3]["p99_us"] >= results[3]["median_us"] > 0
    assert results[2]["rows"] == 8 * results[2]["queries"]
    assert all(0 < r["per_million"] == r["per_million_utilised"] / 2 for r in results)
    page = Page(Path("r.html").read_text())
    for words in ("Scenarios", "Invalid measurements", "Latency, single stream", "Machine", "2026-07-20"):
        assert words in page.text
    assert "tinyrs bench m.safetensors --data held.csv" in page.text
    assert Path("r.csv").read_text().count("\n") == 5


def test_without_data_rows_are_drawn(tinyrs_cli: Run, model: str) -> None:
    done = tinyrs_cli(
        *("bench", model, "--qps", "2000", "--slo-us", "0.001", "--scenario", "server", *QUICK),
        *("--worker-kind", "threads", "--workers", "2", "--company", "busy:1"),
    )
    assert (done.status, done.err) == (0, "")
    assert "m.safetensors: server at 2,000 requests a second: INVALID\n    too short: 0." in done.out
    assert "deadline missed: 99th percentile" in done.out
    assert "Company: busy:1." in done.out
    assert "Rows: rows drawn like those of training." in done.out
    assert "Energy: not readable" in done.out or "J / M" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.safetensors", "--scenario", "server"), "the scenario server needs a rate (qps), or a deadline"),
        (("m.safetensors", "--scenario", "offline", "--qps", "9"), "need the scenario server"),
        (("m.safetensors", "--company", "idle:1"), "argument --company: expected busy:N, copies:N or both"),
        (("m.safetensors", "--plot", "x.gif"), "argument --plot: expected a file name that ends in .png"),
        (("m.safetensors", "--plot", "x.png"), "it needs rows with labels (data)"),
        (("m.safetensors", "--slo-us", "0"), "argument --slo-us: expected a number above 0, got '0'"),
        (("m.safetensors", "--training-seconds", "1", "2"), "expected one for each of 1 models, got 2"),
        (("m.safetensors", "--save-baseline"), "argument --save-baseline: expected a YAML file"),
        (("x.yaml", "m.safetensors"), "expected model files or one YAML file, got 2 files"),
        (("x.yaml", "--seconds", "3"), "argument --seconds: expected model files, got a YAML file"),
    ],
)
def test_wrong_usage(tinyrs_cli: Run, model: str, arguments: tuple[str, ...], message: str) -> None:
    Path("x.yaml").write_text("version: 3\nbenchmark: {models: m.safetensors}\n")
    done = tinyrs_cli("bench", *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_model_that_predicts_something_else_is_not_measured(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-test of the file is run before anything is timed."""
    Rows([[1.0, 2.0, "red"]]).write(Path("rows.json"))
    assert models.load_tinyrs(model, "rows.json").one([1.0, 2.0, "red"]) in (9, 10, 11)
    monkeypatch.setattr(tinyrs.Predictor, "verify", lambda self: 0.5)
    with pytest.raises(models.WrongModelError, match=r"wrong answer: the outputs differ by 0\.5 from"):
        models.load_tinyrs(model, "rows.json")


def test_benchmark_py(model: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("b.yaml").write_text(
        f"version: 3\nbenchmark:\n  models: {model}\n  scenarios: offline\n  seconds: 0.02\n"
        "  output: {json: out.json}\n"
    )
    main = runpy.run_path(str(root / "benchmark.py"))["main"]
    assert main(["-c", "b.yaml"]) == 0
    assert "m.safetensors: offline: INVALID" in capfd.readouterr().out
    assert json.loads(Path("out.json").read_text())["kind"] == "serving"
