"""What to run: the scenarios and their settings, and the parsers of their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinyrs.bench.config import Cost, RefusedError

OFFLINE, SINGLE, MULTI, SERVER = "offline", "single_stream", "multi_stream", "server"
SCENARIOS = {name: name for name in (OFFLINE, SINGLE, MULTI, SERVER)}
WORKERS = {name: name for name in ("processes", "threads")}
DEFAULT_SECONDS = 10.0


@dataclass(frozen=True)
class Company:
    """What else runs: `busy` processes that only compute, and the scenario in `copies` copies at once."""

    busy: int = 0
    copies: int = 1

    def __str__(self) -> str:
        parts = [f"busy:{self.busy}"] if self.busy else []
        return " ".join([*parts, f"copies:{self.copies}"] if self.copies > 1 else parts) or "alone"

    @property
    def alone(self) -> bool:
        return self == Company()


@dataclass(frozen=True)
class Settings:
    """How the scenarios run.

    Attributes
    ----------
    scenarios : tuple of str
        What to run, in this order.
    seconds : float
        The least length of a measurement.
    streams : int
        The rows of a query in multi_stream.
    qps : float or None
        The rate of the requests in server, per second. None to search for the highest that meets `slo_us`.
    slo_us : float or None
        The deadline of the 99th percentile in server, in microseconds.
    workers : int or None
        How many workers answer requests in server; None for one per core.
    kind : {"processes", "threads"}
        What the workers are.
    threads : int or None
        The most threads of a job in offline; None for all.
    company : Company
    seed : int
        The seed of arrival times and of rows that are drawn.
    """

    scenarios: tuple[str, ...] = (OFFLINE, SINGLE, MULTI)
    seconds: float = DEFAULT_SECONDS
    streams: int = 8
    qps: float | None = None
    slo_us: float | None = None
    workers: int | None = None
    kind: str = "processes"
    threads: int | None = None
    company: Company = field(default_factory=Company)
    seed: int = 0


@dataclass(frozen=True)
class ModelFile:
    """A model file to measure, and how long its training took, if that is known."""

    path: Path
    training_s: float | None = None


@dataclass(frozen=True)
class ServingPlan:
    """The content of a benchmark file of version 3: models, rows, settings and outputs."""

    models: tuple[ModelFile, ...]
    settings: Settings = field(default_factory=Settings)
    name: str | None = None
    data: Path | None = None
    target: str | None = None
    cost: Cost | None = None
    outputs: Outputs = field(default_factory=lambda: Outputs())


@dataclass(frozen=True)
class Outputs:
    """The files to write, None for each that is not wanted."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None
    plot: Path | None = None


def positive(value: object) -> float:
    """Parses a finite number above 0."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise RefusedError("a number above 0", value)
    return number


def company(value: object) -> Company:
    """Parses text such as "busy:1", "copies:2" or both."""
    found = Company()
    words = value.replace(",", " ").split() if isinstance(value, str) else []
    for word in words:
        name, _, number = word.partition(":")
        if name not in ("busy", "copies") or not number.isdecimal() or int(number) < 1:
            words = []
            break
        found = Company(
            int(number) if name == "busy" else found.busy, int(number) if name == "copies" else found.copies
        )
    if not words:
        raise RefusedError("busy:N, copies:N or both, with N at least 1", value)
    return found


def several(parse: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """A parser of one value or a list of values, without duplicates."""

    def parse_all(value: object) -> tuple[str, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise RefusedError("at least one value", value)
        return tuple(dict.fromkeys(parse(item) for item in values))

    return parse_all


def problem(settings: Settings) -> str | None:
    """Why the settings do not fit together; None if they do."""
    given = settings.qps is not None or settings.slo_us is not None
    if SERVER in settings.scenarios and not given:
        return "the scenario server needs a rate (qps), or a deadline to search the highest rate for (slo_us)"
    if SERVER not in settings.scenarios and given:
        return "a rate (qps) and a deadline (slo_us) need the scenario server"
    return None
