"""Reads a benchmark file: YAML to a `Plan`, with errors that name the key, the expected and the actual value.

Version 1 is one network:

    version: 1
    benchmark:
      name: ...                                    # optional
      nepochs: ...
      pass: ...                                    # optional: forward, backward or train
      shape: {layers: ..., dimension: ...}
      math: {precision: ..., activation: ..., epsilons: {epsilon_exp: ..., epsilon_square: ...}}
      performance: {threads: ...}                  # optional

Version 2 adds `shape.batch`, `math.inputs`, `engine`, `warmup`, `repeats`, `seed` and `output: {json, csv,
markdown, plot}`. It takes a list for each value that can be swept; the run is the product of the lists.

Version 3 measures model files instead of networks; `serving.yaml_file` has its keys.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from tinyrs.bench import config
from tinyrs.bench.config import Case, Output, Plan, RefusedError, UsageError

T = TypeVar("T")
Keys: TypeAlias = Mapping[str, Mapping[str, int]]

NEWEST_VERSION = 3
# The version of files about models, which have keys of their own.
SERVING_VERSION = 3
# The keys of each section, with the version that introduced them.
KEYS: Keys = {
    "": {"version": 1, "benchmark": 1},
    "benchmark": {
        "name": 1,
        "nepochs": 1,
        "pass": 1,
        "shape": 1,
        "math": 1,
        "performance": 1,
        "engine": 2,
        "warmup": 2,
        "repeats": 2,
        "seed": 2,
        "output": 2,
    },
    "benchmark.shape": {"layers": 1, "dimension": 1, "batch": 2},
    "benchmark.math": {"precision": 1, "activation": 1, "epsilons": 1, "inputs": 2},
    "benchmark.math.epsilons": {"epsilon_exp": 1, "epsilon_square": 1, "exp": 1, "square": 1},
    "benchmark.performance": {"threads": 1},
    "benchmark.output": {"json": 2, "csv": 2, "markdown": 2, "plot": 2},
}
_REQUIRED: Any = object()


def load(path: Path) -> Plan:
    """The plan in the file at `path`, of version 1 or 2.

    Raises UsageError with the file, the key, the expected and the actual value.
    """
    document, version = read(path)
    if version == SERVING_VERSION:
        raise UsageError(f"{path}: version: expected 1 or 2, got {version}: run tinyrs bench {path}")
    # If the version is missing or invalid, `take` raises the error.
    top = Section(document, "", path, KEYS, version if version in (1, 2) else 2)
    top.take("version", config.integer(1))
    return _plan(top.section("benchmark"))


def read(path: Path) -> tuple[dict[object, object], object]:
    """The content of the file, and its version as it stands there. Raises UsageError."""
    document = _read(path)
    if document is None:
        raise UsageError(f"{path}: the file is empty")
    if not isinstance(document, dict):
        refused = RefusedError("a mapping with the keys version and benchmark", document)
        raise UsageError(f"{path}: {refused}")
    # First, because a newer version may have other keys.
    version = document.get("version")
    if isinstance(version, int) and version > NEWEST_VERSION:
        raise UsageError(f"{path}: version: expected at most {NEWEST_VERSION}, got {version}: update tinyrs")
    return document, version


def _read(path: Path) -> object:
    """The document as PyYAML reads it. Duplicate keys are refused, which PyYAML accepts."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError("PyYAML is not installed: pip install 'tinyrs[bench]'") from None

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key in keys:
                if keys.count(key) > 1:
                    line = node.start_mark.line + 1
                    raise UsageError(f"{path}: the mapping at line {line} has the key {key} twice")
            return super().construct_mapping(node, deep)

    try:
        # Safe: Loader is a subclass of SafeLoader.
        return yaml.load(path.read_bytes(), Loader)  # noqa: S506
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates such as 2001-99-99
        raise UsageError(f"{path}: invalid YAML: {' '.join(str(error).split())}") from None


class Section:
    """A mapping of the file, whose keys must be in `keys`.

    Keys are checked before values: for the typing error `nepoch`, "unknown key" is a better message than
    "`nepochs` is missing".
    """

    def __init__(self, value: object, path: str, source: Path, keys: Keys, version: int) -> None:
        self.path, self.source, self.keys, self.version = path, source, keys, version
        if not isinstance(value, dict):
            raise self.error("", str(RefusedError("a mapping", value)))
        self._values: dict[object, object] = value
        known = [key for key, since in keys[path].items() if since <= version]
        for key in map(str, value):
            if key in known:
                continue
            if key in keys[path]:
                raise self.error(key, f"needs version: {keys[path][key]}, the file has {version}")
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise self.error(key, f"unknown key; {hint}")

    def error(self, key: str, problem: str) -> UsageError:
        return UsageError(f"{self.source}: {'.'.join(filter(None, (self.path, key)))}: {problem}")

    def take(
        self, key: str, parse: Callable[[object], T], default: T = _REQUIRED, *, alias: str | None = None
    ) -> T:
        """The parsed value of `key` or of its `alias`."""
        given = [name for name in (key, alias) if name in self._values]
        if not given:
            if default is _REQUIRED:
                raise self.error(key, "expected a value, but the key is missing")
            return default
        if len(given) > 1:
            raise self.error(key, f"expected {key} or {alias}, got both")
        try:
            return parse(self._values[given[0]])
        except RefusedError as refused:
            raise self.error(given[0] or key, str(refused)) from None

    def take_axis(self, key: str, parse: Callable[[object], T], default: T = _REQUIRED) -> tuple[T, ...]:
        """As `take`, but since version 2 a list is accepted as several values. Duplicates are dropped."""

        def parse_all(value: object) -> tuple[T, ...]:
            if not isinstance(value, list):
                return (parse(value),)
            if self.version < 2:
                raise RefusedError("one value (a list needs version: 2)", value)
            if not value:
                raise RefusedError("at least one value", value)
            return tuple(dict.fromkeys(parse(item) for item in value))

        return self.take(key, parse_all, default if default is _REQUIRED else (default,))

    def section(self, key: str, *, required: bool = True) -> Section:
        """The mapping under `key`; an empty one if it is missing and not required."""
        value: object = self.take(key, lambda value: value, _REQUIRED if required else {})
        return Section(value, ".".join(filter(None, (self.path, key))), self.source, self.keys, self.version)


def _plan(benchmark: Section) -> Plan:
    axes = _axes(benchmark)
    epsilons = benchmark.section("math").section("epsilons", required=False)
    default, both = config.DEFAULT_EPSILON, config.ENGINES["both"]
    fixed: dict[str, Any] = {
        "epsilon_exp": epsilons.take("epsilon_exp", config.epsilon, default, alias="exp"),
        "epsilon_square": epsilons.take("epsilon_square", config.epsilon, default, alias="square"),
    }
    engines = benchmark.take_axis("engine", config.choice(config.ENGINES), config.ENGINES["tinyrs"])
    plan = Plan(
        cases=tuple(
            Case(**dict(zip(axes, values, strict=True)), **fixed)
            for values in itertools.product(*axes.values())
        ),
        nepochs=benchmark.take("nepochs", config.integer(1)),
        # Not in the order of the file: the headline is the time of the first engine.
        engines=tuple(name for name in both if any(name in names for names in engines)),
        warmup=benchmark.take("warmup", config.integer(0), config.DEFAULT_WARMUP),
        repeats=benchmark.take("repeats", config.integer(1), 1),
        seed=benchmark.take("seed", config.integer(0), config.DEFAULT_SEED),
        name=benchmark.take("name", config.text, None),
        swept=tuple(axis for axis, values in axes.items() if len(values) > 1),
        output=_output(benchmark.section("output", required=False)),
    )
    if plan.output.plot and not plan.swept:
        raise benchmark.error("output.plot", "needs a key with a list of several values, but there is none")
    return plan


def _axes(benchmark: Section) -> dict[str, tuple[Any, ...]]:
    """The values of each field of `Case` that can be swept."""
    shape = benchmark.section("shape")
    maths = benchmark.section("math")
    performance = benchmark.section("performance", required=False)
    positive = config.integer(1)
    return {
        "layers": shape.take_axis("layers", positive),
        "dimension": shape.take_axis("dimension", positive),
        "batch": shape.take_axis("batch", positive, 1),
        "precision": maths.take_axis("precision", config.choice(config.PRECISIONS)),
        "activation": maths.take_axis("activation", config.choice(config.ACTIVATIONS)),
        "mode": benchmark.take_axis("pass", config.choice(config.MODES), "forward"),
        "inputs": maths.take_axis("inputs", config.choice(config.INPUTS), "uniform"),
        "threads": performance.take_axis("threads", positive, None),
    }


def _output(section: Section) -> Output:
    return Output(
        json=section.take("json", config.file_path(), None),
        csv=section.take("csv", config.file_path(), None),
        markdown=section.take("markdown", config.file_path(), None),
        plot=section.take("plot", config.file_path(".png", ".svg", ".pdf"), None),
    )
