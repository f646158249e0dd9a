"""Which Python module may import which. Dependencies point down, and there are no circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

# What belongs to whom, most special first; and what of the project each may import, itself left out.
ALLOWED = {
    "quick_benchmark": {"tinyrs.bench"},
    "benchmark": {"tinyrs.bench", "tinyrs.cli"},
    "tinyrs.__main__": {"tinyrs.cli"},
    "tinyrs.network_text": {"tinyrs._tinyrs"},
    "tinyrs.cli": {
        "tinyrs.network_text",
        "tinyrs.tabular.shift",
        "tinyrs",
        "tinyrs.bench",
        "tinyrs.budget",
        "tinyrs.classifier",
        "tinyrs.tabular.batches",
        "tinyrs.tabular.column_descriptions",
        "tinyrs.tabular.column_notes",
        "tinyrs.tabular.preprocessor_fit",
        "tinyrs.tabular.row_sample",
        "tinyrs.tabular.row_source",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.times",
        "tinyrs.tabular.values",
        "tinyrs.files.atomic",
        "tinyrs.files.model_file",
        "tinyrs.predictor",
        "tinyrs.ordered_map",
        "tinyrs.history",
        "tinyrs.tuning.basic_metrics",
        "tinyrs.tuning.importance",
        "tinyrs.tuning.intervals",
        "tinyrs.tuning.scores",
    },
    "tinyrs.bench": {
        "tinyrs",
        "tinyrs.oracle",
        "tinyrs.oracle_quantized",
        "tinyrs.files.atomic",
        "tinyrs.tuning.basic_metrics",
    },
    "tinyrs.oracle": set(),
    "tinyrs.oracle_quantized": {"tinyrs.oracle"},
    "tinyrs.classifier": {
        "tinyrs.network_text",
        "tinyrs.oracle",
        "tinyrs.ordered_map",
        "tinyrs.tabular.column_notes",
        "tinyrs.tabular.row_sample",
        "tinyrs.tabular.row_source",
        "tinyrs.tabular.streamed_statistics",
        "tinyrs.tabular.shift",
        "tinyrs._tinyrs",
        "tinyrs.tuning.basic_metrics",
        "tinyrs.tuning.epoch_selection",
        "tinyrs.tuning.importance",
        "tinyrs.tuning.intervals",
        "tinyrs.tuning.metrics",
        "tinyrs.tuning.scores",
        "tinyrs.tuning.calibration",
        "tinyrs.tabular.column_descriptions",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.type_checks",
        "tinyrs.predictor",
        "tinyrs.tabular.preprocessor_fit",
        "tinyrs.tabular.max_abs_scaler",
        "tinyrs.tuning.sklearn_callbacks",
        "tinyrs.tabular.tables",
        "tinyrs.history",
        "tinyrs.files.model_file",
        "tinyrs.files.predictor_file",
    },
    "tinyrs.tuning.sklearn_callbacks": {"tinyrs.history"},
    "tinyrs.tuning.importance": set(),
    "tinyrs.tuning.intervals": set(),
    "tinyrs.tuning.basic_metrics": set(),
    "tinyrs.tuning.metrics": {"tinyrs.tuning.basic_metrics"},
    "tinyrs.tuning.quantization": {"tinyrs._tinyrs", "tinyrs.tuning.basic_metrics"},
    "tinyrs.tuning.scores": {
        "tinyrs.tuning.basic_metrics",
        "tinyrs.tuning.intervals",
        "tinyrs.tuning.metrics",
    },
    "tinyrs.tuning.epoch_selection": {"tinyrs._tinyrs", "tinyrs.history", "tinyrs.tuning.calibration"},
    "tinyrs.tuning.calibration": {"tinyrs._tinyrs"},
    "tinyrs.files.checkpoint": {"tinyrs._tinyrs", "tinyrs.files.model_file"},
    # Where other engines run models.
    "tinyrs.budget": {
        "tinyrs._tinyrs",
        "tinyrs.bench",
        "tinyrs.classifier",
        "tinyrs.history",
        "tinyrs.predictor",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.preprocessor_fit",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.statistics",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.type_checks",
        "tinyrs.tuning.basic_metrics",
        "tinyrs.tuning.calibration",
        "tinyrs.tuning.importance",
    },
    "tinyrs.scale": {"tinyrs.predictor", "tinyrs.tabular.type_checks"},
    "tinyrs.mlflow": {"tinyrs", "tinyrs.history", "tinyrs.predictor"},
    # Where models come from elsewhere.
    "tinyrs.convert": {
        "tinyrs._tinyrs",
        "tinyrs.files.class_labels",
        "tinyrs.oracle",
        "tinyrs.predictor",
    },
    "tinyrs.predictor": {
        "tinyrs._lazy",
        "tinyrs._tinyrs",
        "tinyrs.explanation",
        "tinyrs.export",
        "tinyrs.files.class_labels",
        "tinyrs.files.model_file",
        "tinyrs.files.predictor_file",
        "tinyrs.ordered_map",
        "tinyrs.tabular.batches",
        "tinyrs.tabular.column_names",
        "tinyrs.tabular.few_rows",
        "tinyrs.tabular.prediction_columns",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.shift",
        "tinyrs.tabular.shift_report",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.type_checks",
        "tinyrs.tabular.values",
        "tinyrs.tuning.quantization",
    },
    "tinyrs.explanation": {"tinyrs._tinyrs"},
    "tinyrs.inspection": {
        "tinyrs.predictor",
        "tinyrs.history",
        "tinyrs.tuning",
        "tinyrs.tuning.basic_metrics",
        "tinyrs.tuning.importance",
        "tinyrs.tuning.quantization",
    },
    "tinyrs.ordered_map": set(),
    # Where they go: it is given the parts of a predictor, and knows none.
    "tinyrs.export": {
        "tinyrs._tinyrs",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.times",
        "tinyrs.tabular.values",
    },
    "tinyrs.files.predictor_file": {
        "tinyrs.tabular.statistics",
        "tinyrs._lazy",
        "tinyrs._tinyrs",
        "tinyrs.files.class_labels",
        "tinyrs.files.model_file",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.times",
        "tinyrs.tabular.values",
    },
    "tinyrs.files.class_labels": {"tinyrs._lazy", "tinyrs.files.model_file"},
    "tinyrs.files.model_file": {"tinyrs._tinyrs", "tinyrs.files.atomic"},
    "tinyrs.files.atomic": set(),
    "tinyrs.tabular.column_descriptions": {"tinyrs.tabular.preprocessor", "tinyrs.tabular.values"},
    "tinyrs.tabular.column_notes": {
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.preprocessor_fit": {
        "tinyrs.tabular.column_notes",
        "tinyrs.tabular.statistics",
        "tinyrs.tabular.max_abs_scaler",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.times",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.max_abs_scaler": {
        "tinyrs._tinyrs",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.type_checks",
    },
    "tinyrs.tabular.preprocessor": {
        "tinyrs.tabular.statistics",
        "tinyrs._lazy",
        "tinyrs._tinyrs",
        "tinyrs.tabular.column_names",
        "tinyrs.tabular.few_rows",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.type_checks",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.times",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.few_rows": {"tinyrs.tabular.sources", "tinyrs.tabular.type_checks"},
    "tinyrs.tabular.tables": {
        "tinyrs._tinyrs",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.times",
        "tinyrs.tabular.type_checks",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.sources": {"tinyrs.tabular.column_names", "tinyrs.tabular.type_checks"},
    "tinyrs.tabular.batches": {
        "tinyrs.tabular.column_names",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.type_checks",
    },
    "tinyrs.tabular.row_source": {
        "tinyrs.tabular.batches",
        "tinyrs.tabular.row_sample",
        "tinyrs.tabular.sources",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.type_checks",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.row_sample": set(),
    "tinyrs.tabular.streamed_statistics": {
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.preprocessor_fit",
        "tinyrs.tabular.statistics",
        "tinyrs.tabular.tables",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.prediction_columns": {"tinyrs._tinyrs"},
    "tinyrs.tabular.column_names": set(),
    "tinyrs.tabular.values": {"tinyrs.tabular.times", "tinyrs.tabular.type_checks"},
    "tinyrs.tabular.times": set(),
    "tinyrs.tabular.statistics": set(),
    "tinyrs.tabular.shift_report": {
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.preprocessor_fit",
        "tinyrs.tabular.shift",
        "tinyrs.tabular.statistics",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.shift": {
        "tinyrs._tinyrs",
        "tinyrs.tabular.preprocessor",
        "tinyrs.tabular.times",
        "tinyrs.tabular.values",
    },
    "tinyrs.tabular.type_checks": set(),
    "tinyrs.tabular": set(),
    "tinyrs.files": set(),
    "tinyrs.tuning": set(),
    "tinyrs._lazy": set(),
    # Everything it imports but the extension is imported inside its functions.
    "tinyrs.network": {
        "tinyrs._tinyrs",
        "tinyrs.files.checkpoint",
        "tinyrs.files.model_file",
        "tinyrs.history",
        "tinyrs.predictor",
    },
    "tinyrs": {
        "tinyrs.tabular.shift",
        "tinyrs._tinyrs",
        "tinyrs._threadpool",
        "tinyrs.network",
        "tinyrs.history",
        "tinyrs.budget",
        "tinyrs.classifier",
        "tinyrs.convert",
        "tinyrs.inspection",
        "tinyrs.predictor",
    },
    "tinyrs.history": set(),
    "tinyrs._threadpool": {"tinyrs._tinyrs"},
}
# Within the benchmark: each may import those that stand before it.
BENCH_ORDER = [
    "config",
    "yaml_config",
    "prices",
    "workload",
    "engines",
    "verify",
    "verify_training",
    "harness",
    "latency",
    "isolated",
    "environment",
    "results",
    "runner",
    "report",
    "plot",
    "compare",
    "interleave",
    "cli",
]
SERVING_ORDER = [
    "settings",
    "yaml_file",
    "rows",
    "models",
    "queueing",
    "loads",
    "verdict",
    "companions",
    "energy",
    "worker",
    "outcomes",
    "scenarios",
    "search",
    "text",
    "plot",
    "run",
]
# The oracle needs nothing but NumPy; from the standard library come the words its types are written with,
# and a cache for its bounds.
ORACLE_IMPORTS = {"__future__", "collections.abc", "functools", "math", "numpy", "numpy.typing", "typing"}


def imports(source: str) -> Iterator[str]:
    """The modules that a Python source imports, at its top or deeper; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def owner(module: str, owners: set[str]) -> str | None:
    """The longest of `owners` that `module` is or lies in."""
    return max((name for name in owners if f"{module}.".startswith(f"{name}.")), key=len, default=None)


def violations(module: str, source: str) -> list[str]:
    """What `module` imports of the project though it may not."""
    owners = set(ALLOWED) | {"tinyrs._tinyrs"}
    me = owner(module, owners)
    assert me in ALLOWED, f"{module}: a new part of the house; say in ALLOWED what it may import"
    used = {owner(name, owners) for name in imports(source)} - {None, me}
    return [f"{module} imports {name}" for name in sorted(filter(None, used - ALLOWED[me]))]


def bench_violations(
    name: str, source: str, order: Sequence[str] = BENCH_ORDER, package: str = "tinyrs.bench"
) -> list[str]:
    """What a module of the benchmark imports of those after it."""
    before = order[: order.index(name)]
    tails = [
        found.removeprefix(f"{package}.") for found in imports(source) if found.startswith(f"{package}.")
    ]
    used = {tail.partition(".")[0] for tail in tails}
    return [f"{name} imports {other}" for other in sorted(used & set(order) - set(before))]


def python_modules(root: Path) -> dict[str, str]:
    """The sources of the project by module name."""
    files = [*root.glob("python/**/*.py"), root / "quick_benchmark.py", root / "benchmark.py"]
    modules = {}
    for file in files:
        below = file.relative_to(root / "python" if "python" in file.relative_to(root).parts else root)
        modules[".".join(below.with_suffix("").parts).removesuffix(".__init__")] = file.read_text()
    return modules


def test_nothing_in_python_points_back(root: Path) -> None:
    modules = python_modules(root)
    assert {"quick_benchmark", "benchmark", "tinyrs", "tinyrs.oracle", "tinyrs.bench.runner"} <= set(modules)
    assert sum("tinyrs" in name for source in modules.values() for name in imports(source)) > 20
    assert [fault for name, source in modules.items() for fault in violations(name, source)] == []


def test_the_rules_have_no_circles() -> None:
    """Nothing may import what may import it, by however many steps; `tinyrs` hands out what is below it."""
    below: dict[str, set[str]] = {name: allowed - {"tinyrs"} for name, allowed in ALLOWED.items()}
    while below:
        leaves = {name for name, allowed in below.items() if not allowed & set(below)}
        assert leaves, f"a circle among {sorted(below)}"
        below = {name: allowed for name, allowed in below.items() if name not in leaves}


def test_the_benchmark_has_an_order(root: Path) -> None:
    sources = {file.stem: file.read_text() for file in root.glob("python/tinyrs/bench/*.py")}
    assert set(sources) == {*BENCH_ORDER, "__init__"}
    assert [f for name in BENCH_ORDER for f in bench_violations(name, sources[name])] == []


def test_the_benchmark_of_models_has_an_order(root: Path) -> None:
    """It uses the rest of the benchmark, and nothing there uses it."""
    below = {file.stem: file.read_text() for file in root.glob("python/tinyrs/bench/*.py")}
    assert [name for name, source in below.items() if "bench.serving" in source] == []
    sources = {file.stem: file.read_text() for file in root.glob("python/tinyrs/bench/serving/*.py")}
    assert set(sources) == {*SERVING_ORDER, "__init__"}
    faults = [
        fault
        for name in SERVING_ORDER
        for fault in bench_violations(name, sources[name], SERVING_ORDER, "tinyrs.bench.serving")
    ]
    assert faults == []


def test_the_oracle_imports_numpy_alone(root: Path) -> None:
    tree = ast.parse((root / "python/tinyrs/oracle.py").read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "numpy" in found
    assert found <= ORACLE_IMPORTS


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tinyrs", "from tinyrs.bench import cli"),
        ("tinyrs", "from tinyrs.cli.main import main"),
        ("tinyrs.bench.runner", "from tinyrs.cli.output import say"),
        ("tinyrs", "def f():\n    import tinyrs.oracle"),
        ("tinyrs.oracle", "import tinyrs"),
        ("tinyrs.bench.runner", "from tinyrs import _tinyrs"),
        ("tinyrs.bench.runner", "import quick_benchmark"),
        ("quick_benchmark", "import tinyrs"),
        ("benchmark", "from quick_benchmark import parser"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1
    assert violations(module, "import numpy, json") == []


def test_a_planted_import_against_the_order_of_the_benchmark_is_found() -> None:
    assert bench_violations("config", "from tinyrs.bench import runner") == ["config imports runner"]
    assert bench_violations("runner", "from tinyrs.bench.config import Case") == []
