"""benchmark.py and the example files, run as commands."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from conftest import Tool, one_line
from tinyrs.bench import yaml_config

yaml = pytest.importorskip("yaml")

SWEEP = """
version: 2
benchmark:
  name: small
  nepochs: 3
  warmup: 1
  repeats: 2
  engine: both
  shape: {layers: 2, dimension: [16, 8]}
  math: {precision: [f32, f64], activation: tanh}
  output: {json: out.json, csv: out.csv, markdown: out.md}
"""


def smaller(text: str) -> str:
    """An example file with smaller networks, which run quickly."""
    for old, new in (
        ("layers: 100", "layers: 3"),
        ("dimension: 1024", "dimension: 16"),
        ("dimension: 256", "dimension: 16"),
        ("batch: 64", "batch: 8"),
        ("nepochs: 50", "nepochs: 4"),
        ("nepochs: 40", "nepochs: 4"),
    ):
        assert text.count(old) <= 1
        text = text.replace(old, new)
    return text.replace("[32, 128, 512, 2048]", "[8, 16]")


def test_the_example_says_what_its_comments_say(root: Path) -> None:
    plan = yaml_config.load(root / "example_benchmark.yaml")
    (case,) = plan.cases
    assert (plan.nepochs, case.layers, case.dimension, case.precision) == (50, 100, 1024, "f32")
    assert (case.activation, case.threads, case.epsilon_exp, case.epsilon_square) == (
        "sigmoid",
        2,
        4e-6,
        4e-6,
    )


@pytest.mark.parametrize("name", ["example_benchmark.yaml", "example_sweep.yaml", "example_training.yaml"])
def test_every_key_of_the_examples_is_explained(root: Path, name: str) -> None:
    """Each key has a comment above it, except keys that another example explains."""
    lines = (root / name).read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r" *[a-z_]+:", line)]
    known = {key for section in yaml_config.KEYS.values() for key, since in section.items() if since == 1}
    for number in keys:
        key = lines[number].split(":")[0].strip()
        explained = lines[number - 1].lstrip().startswith("#")
        assert explained or (name != "example_benchmark.yaml" and key in known | {"engine", "batch"}), key


def test_all_keys_of_the_schema_are_in_an_example(root: Path) -> None:
    text = "".join((root / f"example_{name}.yaml").read_text() for name in ("benchmark", "sweep", "training"))
    for section in yaml_config.KEYS.values():
        for key in section:
            assert re.search(rf"\b{key}\b", text), key


def test_the_example_runs(run_tool: Tool, root: Path, tmp_path: Path) -> None:
    text = smaller((root / "example_benchmark.yaml").read_text())
    (tmp_path / "a.yaml").write_text(text)
    done = run_tool("benchmark.py", "-c", "a.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch(r'Completed "100 layers of 1024 x 1024" in \d+\.\d{6} ms', first)
    assert any("3 layers of 16 x 16" in line for line in rest)
    (tmp_path / "b.yaml").write_text(re.sub("  name: .*", "", text))
    done = run_tool("benchmark.py", "--config", "b.yaml", "--quiet")
    assert re.fullmatch(r"Total time for 4 run\(s\) was \d+\.\d{6} ms\n", done.stdout)


def test_the_training_example_runs(run_benchmark: Tool, root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(smaller((root / "example_training.yaml").read_text()))
    done = run_benchmark("benchmark.py", "-c", "a.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    for mode in ("forward", "backward", "train"):
        for inputs in ("uniform", "denormal"):
            assert len(re.findall(rf"^ *{mode} +{inputs} ", done.stdout, re.MULTILINE)) == 2


def test_the_sweep_example_runs(run_benchmark: Tool, root: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "a.yaml").write_text(smaller((root / "example_sweep.yaml").read_text()))
    done = run_benchmark("benchmark.py", "-c", "a.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads((tmp_path / "sweep.json").read_text())["results"]) == 2 * 2 * 2


def test_a_sweep_is_the_product_of_its_lists_in_every_output(run_benchmark: Tool, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SWEEP)
    done = run_benchmark("benchmark.py", "-c", "a.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    points = [(d, p, e) for d in (16, 8) for p in ("f32", "f64") for e in ("tinyrs", "numpy")]
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [(r["dimension"], r["precision"], r["engine"]) for r in results] == points
    assert {len(r["times_ms"]) for r in results} == {3 * 2}
    header, *lines = done.stdout.splitlines()
    assert header.split()[:3] == ["dimension", "precision", "engine"]
    assert [tuple(line.split()[:3]) for line in lines[: len(points)]] == [
        (str(d), p, e) for d, p, e in points
    ]
    total = sum(r["total_ms"] for r in results if r["engine"] == "tinyrs")
    assert lines[-1] == f'Completed "small" in {total:.6f} ms'
    with (tmp_path / "out.csv").open() as file:
        assert [(int(r["dimension"]), r["precision"], r["engine"]) for r in csv.DictReader(file)] == points
    assert "| 8 | f64 | numpy |" in (tmp_path / "out.md").read_text()


def test_a_wrong_answer_in_a_sweep_does_not_stop_the_other_cases(run_benchmark: Tool, tmp_path: Path) -> None:
    wrong = """
import tinyrs.bench.engines as e
right = e.ENGINES["tinyrs"]
def wrong(case, layers, target):
    engine = right(case, layers, target)
    if case.dimension != 16:
        return engine
    return e.Engine(lambda x: [y * 0 for y in engine.answer(x)], engine.run)
e.ENGINES["tinyrs"] = wrong
"""
    (tmp_path / "a.yaml").write_text(SWEEP)
    done = run_benchmark("benchmark.py", "-c", "a.yaml", before=wrong)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert all("16 x 16" in line and "off by" in line for line in done.stderr.splitlines())
    document = json.loads((tmp_path / "out.json").read_text())
    assert [(r["dimension"], r["engine"]) for r in document["results"]] == (
        [(16, "numpy")] * 2 + [(8, "tinyrs"), (8, "numpy")] * 2
    )
    assert len(document["failures"]) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nepochs: 3", "nepochs: 0", "a.yaml: benchmark.nepochs: expected an integer of at least 1, got 0"),
        ("[16, 8]", "[16, 10000000]", "a.yaml: benchmark.shape: needs "),
        ("out.csv", "missing/out.csv", "a.yaml: benchmark.output.csv: cannot write missing/out.csv"),
        (
            "[f32, f64]",
            "[f32, f16]",
            "benchmark.math.precision: the engine numpy has no f16 networks",
        ),
        ("version: 2", "version: 2\n? 'a\n\n  b'\n: 1", "unknown key"),
    ],
)
def test_errors_are_one_line(run_tool: Tool, tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(SWEEP.replace(old, new))
    done = run_tool("benchmark.py", "-c", "a.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr)
    assert message in done.stderr


def test_outputs_are_written_through_links(run_benchmark: Tool, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SWEEP)
    (tmp_path / "out.json").symlink_to("latest.json")
    assert run_benchmark("benchmark.py", "-c", "a.yaml").returncode == 0
    assert (tmp_path / "out.json").is_symlink()
    assert json.loads((tmp_path / "latest.json").read_text())["results"]
    assert list(tmp_path.glob(".tinyrs-*")) == []


def test_the_error_of_a_missing_package_says_how_to_install_it(run_tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SWEEP.replace("{json: out.json", "{plot: out.png, json: out.json"))
    for module, extra in (("yaml", "bench"), ("matplotlib", "plot")):
        done = run_tool("benchmark.py", "-c", "a.yaml", before=f"sys.modules['{module}'] = None")
        assert (done.returncode, done.stdout) == (2, "")
        assert one_line(done.stderr)
        assert f"pip install 'tinyrs[{extra}]'" in done.stderr
    assert run_tool("benchmark.py").returncode == 2
