"""What to run: frozen dataclasses, and the parsers of their values for the command line and for YAML."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# The formats of weights that are narrower than inputs and outputs, which are f32.
LOW_PRECISIONS = ("f16", "bf16", "int8", "int8_weights")
# f4 and f8 are NumPy's names.
PRECISIONS = {"f32": "f32", "f64": "f64", "f4": "f32", "f8": "f64", **{p: p for p in LOW_PRECISIONS}}
WEIGHT_BYTES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "int8": 1, "int8_weights": 1}
ACTIVATIONS = {name: name for name in ("sigmoid", "tanh")}
ENGINES: dict[str, tuple[str, ...]] = {
    "tinyrs": ("tinyrs",),
    "numpy": ("numpy",),
    "both": ("tinyrs", "numpy"),
}
# `mode` of a Case; users write `pass`, which is a keyword in Python.
MODES = {name: name for name in ("forward", "backward", "train")}
INPUTS = {name: name for name in ("uniform", "denormal")}
DEFAULT_EPSILON = 4e-6
DEFAULT_WARMUP = 2
DEFAULT_SEED = 0


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


class UsageError(Exception):
    """An error in what the user wrote. The message is one line; the exit status is 2."""


class RefusedError(Exception):
    """An invalid value. The caller adds the name of its flag or key."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {_SHORT.repr(got)}")


@dataclass(frozen=True)
class Case:
    """One network and how it is run; a sweep has many cases.

    The network has `layers` weight matrices of dimension x dimension, in the format `precision`. A pass takes
    `batch` samples. With mode "forward" it computes the outputs, with "backward" also the gradients of all
    weights, and with "train" also a step of Adam. `threads` None means all that this process may use.
    """

    layers: int
    dimension: int
    activation: str
    precision: str = "f32"
    batch: int = 1
    mode: str = "forward"
    inputs: str = "uniform"
    threads: int | None = None
    epsilon_exp: float = DEFAULT_EPSILON
    epsilon_square: float = DEFAULT_EPSILON

    @property
    def low_precision(self) -> bool:
        """Whether the weights are narrower than inputs and outputs."""
        return self.precision in LOW_PRECISIONS

    @property
    def value_bytes(self) -> int:
        """Bytes of a number in inputs, outputs and biases."""
        return 8 if self.precision == "f64" else 4

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer's weights and biases, and of the scales of int8 weights."""
        vectors = 2 if self.precision.startswith("int8") else 1
        weights = self.dimension**2 * WEIGHT_BYTES[self.precision]
        return weights + vectors * self.dimension * self.value_bytes

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights and biases."""
        return self.layers * self.layer_bytes

    @property
    def traffic_bytes(self) -> int:
        """The least bytes of weights, gradients and moments that a pass must read and write.

        Forward reads each weight once. Backward reads the weights again for the gradient of the inputs,
        except those of the first layer, and writes their gradients. Adam reads and writes the weights and
        two moments.
        """
        reads_and_writes = {"forward": 1, "backward": 3, "train": 9}[self.mode]
        first_layer = 0 if self.mode == "forward" else self.layer_bytes
        return reads_and_writes * self.weight_bytes - first_layer

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays that a pass reads and writes: weights, gradients, two moments."""
        return {"forward": 1, "backward": 2, "train": 4}[self.mode] * self.weight_bytes

    @property
    def flops(self) -> int:
        """Floating-point operations of a pass: two per weight and sample in each product.

        Forward has one product per layer. Backward adds one for the gradient of the weights and, except
        in the first layer, one for the gradient of the inputs. The few operations of Adam are not
        counted.
        """
        products = self.layers if self.mode == "forward" else 3 * self.layers - 1
        return 2 * products * self.dimension**2 * self.batch

    def head(self, layers: int) -> Case:
        """The same network with at most its first `layers` layers."""
        return replace(self, layers=min(layers, self.layers))


@dataclass(frozen=True)
class Price:
    """What a machine costs per hour. Only prices from prices.csv have the fields after `currency`."""

    per_hour: float
    currency: str
    machine: str | None = None
    provider: str | None = None
    region: str | None = None
    vcpu: int | None = None
    date: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Cost:
    """A price, and the share of the time in which the machine has work, above 0 and up to 1."""

    price: Price
    utilisation: float = 1.0

    def per_million(self, samples_per_s: float) -> float:
        """The cost of a million samples while the machine has work."""
        return self.of_seconds(1e6 / samples_per_s)

    def of_seconds(self, seconds: float) -> float:
        """The cost of the machine for so long."""
        return self.price.per_hour / 3600 * seconds


@dataclass(frozen=True)
class Output:
    """The files to write, None for each that is not wanted."""

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    plot: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that a run needs.

    `swept` holds the names of the fields of `Case` that have several values, in the order of the file.
    """

    cases: tuple[Case, ...]
    nepochs: int
    engines: tuple[str, ...] = ("tinyrs",)
    warmup: int = DEFAULT_WARMUP
    repeats: int = 1
    seed: int = DEFAULT_SEED
    name: str | None = None
    swept: tuple[str, ...] = ()
    output: Output = field(default_factory=Output)
    cost: Cost | None = None


def integer(at_least: int) -> Callable[[object], int]:
    """A parser of integers from `at_least` to 2**63. Refuses bool, although it is a subclass of int."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise RefusedError(f"an integer of at least {at_least}", value)
        if value > 1 << 63:
            raise RefusedError("an integer of at most 2**63", value)
        return value

    return parse


def choice(values: Mapping[str, T]) -> Callable[[object], T]:
    """A parser of the keys of `values`; returns the value of the key."""

    def parse(value: object) -> T:
        if not isinstance(value, str) or value not in values:
            raise RefusedError(f"one of {', '.join(values)}", value)
        return values[value]

    return parse


def epsilon(value: object) -> float:
    """Parses a number from 0 to 80, also as text: in YAML 1.1, 4e-6 is text because it has no dot.

    Above 88, no value would be left of the range in which exp is finite in f32.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 80:
        raise RefusedError("a number from 0 to 80", value)
    return number


def text(value: object) -> str:
    """Parses one line of text."""
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise RefusedError("a line of text", value)
    return value


def file_path(*suffixes: str) -> Callable[[object], Path]:
    """A parser of file names. If `suffixes` are given, the name must end in one of them."""

    def parse(value: object) -> Path:
        path = Path(text(value))
        if suffixes and path.suffix.lower() not in suffixes:
            raise RefusedError(f"a file name that ends in {', '.join(suffixes)}", value)
        return path

    return parse
