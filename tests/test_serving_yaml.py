"""Benchmark files of version 3."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyrs.bench.config import UsageError
from tinyrs.bench.serving import yaml_file
from tinyrs.bench.serving.settings import Company, ModelFile, Outputs, ServingPlan, Settings

ALL = """
version: 3
benchmark:
  name: two models
  models: [a.safetensors, {path: b.safetensors, training_seconds: 12}]
  data: held.csv
  target: kind
  scenarios: [server, offline]
  seconds: 2.5
  streams: 4
  qps: 1000
  slo_us: 500
  workers: 2
  worker_kind: threads
  threads: 1
  company: busy:1
  seed: 7
  price: 0,05 EUR
  utilisation: 0.3
  output: {json: x.json, csv: x.csv, html: x.html, plot: x.png}
"""
LEAST = "version: 3\nbenchmark:\n  models: a.safetensors\n"


def load(tmp_path: Path, text: str) -> ServingPlan:
    (tmp_path / "b.yaml").write_text(text)
    return yaml_file.load(tmp_path / "b.yaml")


def test_all_keys(tmp_path: Path) -> None:
    plan = load(tmp_path, ALL)
    assert plan.models == (ModelFile(Path("a.safetensors")), ModelFile(Path("b.safetensors"), 12.0))
    assert plan.settings == Settings(
        ("server", "offline"), 2.5, 4, 1000.0, 500.0, 2, "threads", 1, Company(busy=1), 7
    )
    assert (plan.name, plan.data, plan.target) == ("two models", Path("held.csv"), "kind")
    assert plan.cost is not None
    assert (plan.cost.price.per_hour, plan.cost.price.currency, plan.cost.utilisation) == (0.05, "EUR", 0.3)
    assert plan.outputs == Outputs(*map(Path, ("x.json", "x.csv", "x.html", "x.png")))


def test_the_least(tmp_path: Path) -> None:
    plan = load(tmp_path, LEAST)
    assert (plan.settings, plan.cost, plan.outputs) == (Settings(), None, Outputs())
    assert yaml_file.is_serving(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models:", "modells:", "benchmark.modells: unknown key; did you mean models?"),
        ("a.safetensors, {path: b.safetensors, training_seconds: 12}", "", "expected at least one model"),
        ("training_seconds: 12", "training_seconds: 0", "training_seconds: expected a number above 0, got 0"),
        ("path: b.safetensors, ", "", "benchmark.models.path: expected a value, but the key is missing"),
        ("[server, offline]", "[]", "benchmark.scenarios: expected at least one value, got []"),
        ("[server, offline]", "online", "benchmark.scenarios: expected one of offline, single_stream"),
        ("[server, offline]", "offline", "a rate (qps) and a deadline (slo_us) need the scenario server"),
        ("  qps: 1000\n  slo_us: 500\n", "", "the scenario server needs a rate (qps), or a"),
        ("seconds: 2.5", "seconds: -1", "benchmark.seconds: expected a number above 0, got -1"),
        ("workers: 2", "workers: 0", "benchmark.workers: expected an integer of at least 1, got 0"),
        ("worker_kind: threads", "worker_kind: fork", "worker_kind: expected one of processes, threads"),
        ("busy:1", "idle:1", "company: expected busy:N, copies:N or both, with N at least 1, got"),
        ("  price: 0,05 EUR\n", "", "benchmark.utilisation: needs a price"),
        ("x.png", "x.gif", "output.plot: expected a file name that ends in .png, .svg, .pdf, got"),
        ("csv: x.csv", "cvs: x.csv", "benchmark.output.cvs: unknown key; did you mean csv?"),
    ],
)  # fmt: skip
def test_errors(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ALL
    with pytest.raises(UsageError) as raised:
        load(tmp_path, ALL.replace(old, new, 1))
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "b.yaml"))


def test_the_example(root: Path) -> None:
    plan = yaml_file.load(root / "example_serving.yaml")
    assert [model.path.name for model in plan.models] == ["model.safetensors", "small.safetensors"]
    assert plan.settings.slo_us == 1000
