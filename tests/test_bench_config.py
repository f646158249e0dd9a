"""Benchmark files: what is accepted, and that every error names its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tinyrs.bench import yaml_config
from tinyrs.bench.config import Case, Output, Plan, UsageError

yaml = pytest.importorskip("yaml")

VERSION_1 = """
version: 1
benchmark:
  name: hello
  nepochs: 5
  shape: {layers: 3, dimension: 64}
  math:
    precision: f4
    epsilons: {epsilon_exp: 4e-6, epsilon_square: "2.5e-3"}
    activation: tanh
  performance: {threads: 1}
"""

VERSION_2 = """
version: 2
benchmark:
  nepochs: 5
  warmup: 0
  repeats: 3
  seed: 7
  engine: [numpy, tinyrs]
  shape: {layers: [1, 2], dimension: 64, batch: [1, 8, 1]}
  math: {precision: [f32, f8], activation: tanh}
  output: {json: a.json, csv: b.csv, markdown: c.md, plot: d.svg}
"""


def load(tmp_path: Path, text: str) -> Plan:
    file = tmp_path / "bench.yaml"
    file.write_text(text)
    return yaml_config.load(file)


def error(tmp_path: Path, text: str) -> str:
    """The error message of the file, without the file name at its start."""
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    prefix = f"{tmp_path / 'bench.yaml'}: "
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def test_version_1(tmp_path: Path) -> None:
    plan = load(tmp_path, VERSION_1)
    case = Case(
        layers=3,
        dimension=64,
        activation="tanh",
        precision="f32",
        threads=1,
        epsilon_exp=4e-6,
        epsilon_square=2.5e-3,
    )
    assert plan.cases == (case,)
    assert (plan.name, plan.nepochs, plan.engines, plan.swept) == ("hello", 5, ("tinyrs",), ())


def test_optional_keys_of_version_1(tmp_path: Path) -> None:
    text = VERSION_1.replace("  name: hello\n", "").replace("  performance: {threads: 1}\n", "")
    plan = load(tmp_path, text.replace("epsilon_exp: 4e-6", "exp: 0.5").replace("epsilon_square", "square"))
    assert plan.name is None
    assert plan.cases[0].threads is None
    assert (plan.cases[0].epsilon_exp, plan.cases[0].epsilon_square) == (0.5, 2.5e-3)


def test_a_sweep_of_precisions(tmp_path: Path) -> None:
    text = VERSION_2.replace("[numpy, tinyrs]", "tinyrs").replace("[f32, f8]", "[f32, f16, bf16, int8]")
    plan = load(tmp_path, text)
    cases = {case.precision: case for case in plan.cases if (case.layers, case.batch) == (2, 8)}
    assert {name: case.weight_bytes for name, case in cases.items()} == {
        "f32": 2 * (64 * 64 + 64) * 4,
        "f16": 2 * (64 * 64 * 2 + 64 * 4),
        "bf16": 2 * (64 * 64 * 2 + 64 * 4),
        "int8": 2 * (64 * 64 + 2 * 64 * 4),
    }
    assert [case.low_precision for case in cases.values()] == [False, True, True, True]


def test_version_2_gives_the_product_of_its_lists(tmp_path: Path) -> None:
    plan = load(tmp_path, VERSION_2)
    points = [(case.layers, case.batch, case.precision) for case in plan.cases]
    assert points == [(layers, b, p) for layers in (1, 2) for b in (1, 8) for p in ("f32", "f64")]
    assert plan.swept == ("layers", "batch", "precision")
    assert plan.engines == ("tinyrs", "numpy")
    assert (plan.warmup, plan.repeats, plan.seed) == (0, 3, 7)
    assert plan.output == Output(Path("a.json"), Path("b.csv"), Path("c.md"), Path("d.svg"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers: 3", "layers: 0", "benchmark.shape.layers: expected an integer of at least 1, got 0"),
        ("layers: 3", "layers: true", "benchmark.shape.layers: expected an integer of at least 1, got True"),
        ("layers: 3", "layers: 3.0", "benchmark.shape.layers: expected an integer of at least 1, got 3.0"),
        ("layers: 3", "layers: '3'", "benchmark.shape.layers: expected an integer of at least 1, got '3'"),
        ("layers: 3", "layers:", "benchmark.shape.layers: expected an integer of at least 1, got None"),
        (
            "layers: 3",
            "layers: 1" + 20 * "0",
            "benchmark.shape.layers: expected an integer of at most 2**63, got 1",
        ),
        ("layers: 3, ", "", "benchmark.shape.layers: expected a value, but the key is missing"),
        ("layers: 3", "layer: 3", "benchmark.shape.layer: unknown key; did you mean layers?"),
        ("nepochs: 5", "epochs: 5", "benchmark.epochs: unknown key; did you mean nepochs?"),
        ("nepochs: 5", "xyz: 5", "benchmark.xyz: unknown key; expected one of name, nepochs, pass, shape,"),
        ("benchmark:", "benchmarks:", "benchmarks: unknown key; did you mean benchmark?"),
        ("layers: 3", "layers: [3, 4]", "expected one value (a list needs version: 2), got [3, 4]"),
        (
            "dimension: 64",
            "dimension: 64, batch: 2",
            "benchmark.shape.batch: needs version: 2, the file has 1",
        ),
        ("nepochs: 5", "nepochs: 5\n  output: {}", "benchmark.output: needs version: 2"),
        ("f4", "f128", "benchmark.math.precision: expected one of f32, f64, f4, f8, f16, bf16, "),
        ("tanh", "[tan]", "benchmark.math.activation: expected one value"),
        (
            "4e-6",
            "nothing",
            "benchmark.math.epsilons.epsilon_exp: expected a number from 0 to 80, got 'nothing'",
        ),
        ("4e-6", ".nan", "benchmark.math.epsilons.epsilon_exp: expected a number from 0 to 80, got nan"),
        (
            "4e-6",
            "4e-6, exp: 1",
            "benchmark.math.epsilons.epsilon_exp: expected epsilon_exp or exp, got both",
        ),
        ("{threads: 1}", "[1]", "benchmark.performance: expected a mapping, got [1]"),
        ("name: hello", "name: 7", "benchmark.name: expected a line of text, got 7"),
        ("version: 1", "version: 3", "version: expected 1 or 2, got 3: run tinyrs bench"),
        ("version: 1", "version: one", "version: expected an integer of at least 1, got 'one'"),
        ("version: 1", "", "version: expected a value, but the key is missing"),
        ("layers: 3", "layers: 3, layers: 4", "has the key layers twice"),
        ("layers: 3", "layers: [3", "invalid YAML: while parsing a flow"),
        ("layers: 3", "layers: 2001-99-99", "invalid YAML: month must be in"),
        ("name: hello", "name: !!python/name:os.system", "invalid YAML: could not determine"),
    ],
)
def test_errors_of_version_1(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in VERSION_1
    assert message in error(tmp_path, VERSION_1.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers: [1, 2]", "layers: []", "benchmark.shape.layers: expected at least one value, got []"),
        (
            "layers: [1, 2]",
            "layers: [1, -2]",
            "benchmark.shape.layers: expected an integer of at least 1, got -2",
        ),
        ("[numpy, tinyrs]", "torch", "benchmark.engine: expected one of tinyrs, numpy, both, got 'torch'"),
        (
            "d.svg",
            "d.xls",
            "benchmark.output.plot: expected a file name that ends in .png, .svg, .pdf, got 'd.xls'",
        ),
        ("csv:", "cvs:", "benchmark.output.cvs: unknown key; did you mean csv?"),
        ("seed: 7", "seed: -1", "benchmark.seed: expected an integer of at least 0, got -1"),
    ],
)
def test_errors_of_version_2(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in VERSION_2
    assert message in error(tmp_path, VERSION_2.replace(old, new, 1))


def test_a_plot_needs_a_swept_key(tmp_path: Path) -> None:
    text = VERSION_2.replace("[1, 2]", "1").replace("[1, 8, 1]", "1").replace("[f32, f8]", "f32")
    assert "benchmark.output.plot: needs a key with a list of several values" in error(tmp_path, text)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_empty_files(tmp_path: Path, text: str) -> None:
    assert error(tmp_path, text) == "the file is empty"


@pytest.mark.parametrize("text", ["- version\n", "version\n", "42\n"])
def test_a_file_that_is_not_a_mapping(tmp_path: Path, text: str) -> None:
    assert error(tmp_path, text).startswith("expected a mapping with the keys version and benchmark, got ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            yaml_config.load(path)
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match="invalid YAML"):
        yaml_config.load(tmp_path / "binary.yaml")


KEYS = sorted({key for section in yaml_config.KEYS.values() for key in section})
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["f32", "both"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=20,
)


@given(benchmark=VALUES, version=st.sampled_from([1, 2]), replace=st.sampled_from(KEYS), value=VALUES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_a_plan_or_an_error(
    tmp_path: Path, benchmark: object, version: int, replace: str, value: object
) -> None:
    """Arbitrary values under `benchmark`, and a valid file in which one value was replaced."""
    good = yaml.safe_load(VERSION_2)

    def put(section: dict[str, Any]) -> None:
        for key, inner in section.items():
            if key == replace:
                section[key] = value
            elif isinstance(inner, dict):
                put(inner)

    put(good)
    for document in ({"version": version, "benchmark": benchmark}, good):
        file = tmp_path / "any.yaml"
        file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        try:
            plan = yaml_config.load(file)
        except UsageError:
            continue
        assert plan.cases


@given(text=st.text())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_plan_or_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        load(tmp_path, text.encode("utf-8", "replace").decode())
