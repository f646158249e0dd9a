"""Reads a benchmark file of version 3, which measures model files:

version: 3
benchmark:
  models: [a.safetensors, {path: b.safetensors, training_seconds: 12}]
  name: ...                                        # this and all that follows is optional
  data: held_out.csv                               # rows with labels; without it, rows are drawn
  target: ...                                      # the column with the labels; default: that of training
  scenarios: [offline, single_stream, multi_stream, server]
  seconds: 10                                      # the least length of a measurement
  streams: 8                                       # rows of a query in multi_stream
  qps: 1000                                        # server: the rate of requests; without it, the highest
  slo_us: 500                                      # that keeps the 99th percentile under this deadline
  workers: 2                                       # server: default: one for each core
  worker_kind: processes                           # or threads
  threads: 2                                       # offline: default: all
  company: busy:1                                  # or copies:2, or both
  seed: 0
  price: 0.0425                                    # or a machine of prices.csv
  utilisation: 0.3
  output: {json: ..., csv: ..., html: ..., plot: ...}

Paths are relative to the working directory.
"""

from __future__ import annotations

from pathlib import Path

from tinyrs.bench import config, prices
from tinyrs.bench.config import Cost, RefusedError
from tinyrs.bench.serving import settings as values
from tinyrs.bench.serving.settings import Company, ModelFile, Outputs, ServingPlan, Settings
from tinyrs.bench.yaml_config import SERVING_VERSION, Keys, Section, read

_PLAIN = (
    *("models", "name", "data", "target", "scenarios", "seconds", "streams", "qps", "slo_us", "workers"),
    *("worker_kind", "threads", "company", "seed", "price", "utilisation", "output"),
)
KEYS: Keys = {
    "": {"version": 3, "benchmark": 3},
    "benchmark": dict.fromkeys(_PLAIN, 3),
    "benchmark.output": dict.fromkeys(("json", "csv", "html", "plot"), 3),
    "benchmark.models": {"path": 3, "training_seconds": 3},
}
PLOTS = (".png", ".svg", ".pdf")


def is_serving(path: Path) -> bool:
    """Whether the file at `path` has version 3. Raises UsageError if it is not a benchmark file."""
    return read(path)[1] == SERVING_VERSION


def load(path: Path) -> ServingPlan:
    """The plan in the file at `path`.

    Raises UsageError with the file, the key, the expected and the actual value.
    """
    document, _ = read(path)
    benchmark = Section(document, "", path, KEYS, SERVING_VERSION).section("benchmark")
    scenarios = benchmark.take(
        "scenarios", values.several(config.choice(values.SCENARIOS)), Settings().scenarios
    )
    positive, number = config.integer(1), values.positive
    settings = Settings(
        scenarios=scenarios,
        seconds=benchmark.take("seconds", number, values.DEFAULT_SECONDS),
        streams=benchmark.take("streams", positive, Settings().streams),
        qps=benchmark.take("qps", number, None),
        slo_us=benchmark.take("slo_us", number, None),
        workers=benchmark.take("workers", positive, None),
        kind=benchmark.take("worker_kind", config.choice(values.WORKERS), Settings().kind),
        threads=benchmark.take("threads", positive, None),
        company=benchmark.take("company", values.company, Company()),
        seed=benchmark.take("seed", config.integer(0), config.DEFAULT_SEED),
    )
    problem = values.problem(settings)
    if problem:
        raise benchmark.error("scenarios", problem)
    return ServingPlan(
        models=benchmark.take("models", lambda value: _models(value, benchmark)),
        settings=settings,
        name=benchmark.take("name", config.text, None),
        data=benchmark.take("data", config.file_path(), None),
        target=benchmark.take("target", config.text, None),
        cost=_cost(benchmark),
        outputs=_outputs(benchmark.section("output", required=False)),
    )


def _models(value: object, benchmark: Section) -> tuple[ModelFile, ...]:
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise RefusedError("at least one model file", value)
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            section = Section(entry, "benchmark.models", benchmark.source, KEYS, SERVING_VERSION)
            path = section.take("path", config.file_path())
            found.append(ModelFile(path, section.take("training_seconds", values.positive, None)))
        else:
            found.append(ModelFile(config.file_path()(entry)))
    return tuple(found)


def _cost(benchmark: Section) -> Cost | None:
    price = benchmark.take("price", prices.parse, None)
    utilisation = benchmark.take("utilisation", prices.utilisation, None)
    if price is None:
        if utilisation is not None:
            raise benchmark.error("utilisation", "needs a price")
        return None
    return Cost(price, utilisation or 1.0)


def _outputs(section: Section) -> Outputs:
    return Outputs(
        json=section.take("json", config.file_path(), None),
        csv=section.take("csv", config.file_path(), None),
        html=section.take("html", config.file_path(), None),
        plot=section.take("plot", config.file_path(*PLOTS), None),
    )
