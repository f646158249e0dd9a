"""The networks that every library runs, and their inputs: seeded, the same on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from tinyrs.oracle import Array, Layer

# Inputs take about this many bytes: enough that consecutive passes differ, little enough that the weights
# stay in the caches.
_INPUT_BYTES = 4_000_000
_MIN_INPUTS, _MAX_INPUTS = 4, 256


@dataclass(frozen=True)
class Workload:
    """Forward passes through one network; `group` is its name for `--only`."""

    group: str
    sizes: tuple[int, ...]
    batch: int
    activation: str
    output_activation: str
    precision: str = "f32"

    @property
    def name(self) -> str:
        if len(set(self.sizes)) == 1:
            shape = f"{len(self.sizes) - 1} x {self.sizes[0]}"
        else:
            shape = "-".join(map(str, self.sizes))
        return f"{shape}, batch {self.batch}, {self.activation}, {self.precision}"

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return np.dtype(np.float32 if self.precision == "f32" else np.float64)

    @property
    def n_parameters(self) -> int:
        return sum(i * o + o for i, o in pairwise(self.sizes))

    @property
    def nbytes(self) -> int:
        """Bytes of weights and biases."""
        return self.n_parameters * self.dtype.itemsize

    @property
    def flops(self) -> int:
        """Floating-point operations of a pass; a multiply-add counts as two."""
        return 2 * self.batch * sum(i * o for i, o in pairwise(self.sizes))

    def head(self, layers: int) -> Workload:
        """The same network with at most its first `layers` layers."""
        return replace(self, sizes=self.sizes[: layers + 1])

    def parameters(self) -> list[Layer]:
        """W (outputs, inputs) and b (outputs,) of each layer, distributed as in `tinyrs.bench.workload`."""
        layers = []
        for layer, (i, o) in enumerate(pairwise(self.sizes)):
            rng, scale = np.random.default_rng([0, layer]), self.dtype.type(1 / math.log(1 + i))
            weight, bias = rng.random((o, i), self.dtype.type), rng.random(o, self.dtype.type)
            layers.append(((weight - self.dtype.type(0.5)) * scale, bias - self.dtype.type(0.5) * scale))
        return layers

    def inputs(self) -> list[Array]:
        """Different batches (batch, inputs) from U(-1, 1), without zeros."""
        fitting = _INPUT_BYTES // (self.batch * self.sizes[0] * self.dtype.itemsize)
        count = min(max(fitting, _MIN_INPUTS), _MAX_INPUTS)
        values = np.random.default_rng([0, 0, 1]).random((count, self.batch, self.sizes[0]), self.dtype.type)
        values = 2 * values - 1
        values[values == 0] = 1
        return list(values)


def _square(group: str, layers: int, width: int, batch: int, precision: str = "f32") -> Workload:
    """A network of equally wide layers with relu: most of its time goes to the matrix products."""
    return Workload(group, (width,) * (layers + 1), batch, "relu", "identity", precision)


HEADLINE_F32, HEADLINE_F64 = (
    Workload("headline", (1024,) * 101, 1, "sigmoid", "same", precision) for precision in ("f32", "f64")
)
SMALL_TANH = Workload("small", (64, 128, 128, 10), 1, "tanh", "softmax")
SMALL_RELU = Workload("small", (16, 64, 64, 3), 1, "relu", "softmax")
MEDIUM_32, MEDIUM_256 = (_square("medium", 4, 128, batch) for batch in (32, 256))
LARGE_F32, LARGE_F64 = (_square("large", 10, 1024, 256, precision) for precision in ("f32", "f64"))

WORKLOADS = (
    HEADLINE_F32,
    HEADLINE_F64,
    SMALL_TANH,
    SMALL_RELU,
    MEDIUM_32,
    MEDIUM_256,
    LARGE_F32,
    LARGE_F64,
    *(_square("large", 3, 1024, 1024, precision) for precision in ("f32", "f64")),
)
# The weights are f32 before they are quantized.
LOW_PRECISION_WORKLOADS = (HEADLINE_F32, SMALL_TANH, MEDIUM_256, LARGE_F32)
