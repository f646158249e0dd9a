"""The networks that every library trains, and their data: seeded, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tinyrs

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Parameters = list[tuple[Floats, Floats]]


@dataclass(frozen=True)
class TrainingWorkload:
    """A classifier with a softmax output, and the batches of one epoch that it is trained on."""

    sizes: tuple[int, ...]
    batch: int
    activation: str
    steps: int = 40

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {self.activation}"

    @property
    def rows(self) -> int:
        """Samples in an epoch."""
        return self.batch * self.steps

    def data(self) -> tuple[Floats, Labels]:
        """X (rows, features) and y (rows,): normally distributed points around one centre per class."""
        rng = np.random.default_rng(0)
        classes = self.sizes[-1]
        y = rng.integers(0, classes, self.rows)
        centres = rng.normal(size=(classes, self.sizes[0])) * 0.3
        return (centres[y] + rng.normal(size=(self.rows, self.sizes[0]))).astype(np.float32), y

    def parameters(self) -> Parameters:
        """The initial W (outputs, inputs) and b (outputs,) of each layer."""
        return self.network().parameters()

    def network(self) -> tinyrs.Network:
        """The network before training."""
        return tinyrs.Network(
            self.sizes, activation=self.activation, output_activation="softmax", init="he_uniform", seed=0
        )


TRAINING_WORKLOADS = (
    TrainingWorkload((784, 512, 512, 10), 256, "relu"),
    TrainingWorkload((784, 256, 128, 10), 200, "tanh"),
    TrainingWorkload((64, 64, 64, 10), 32, "relu", steps=200),
    TrainingWorkload((784, 64, 64, 10), 32, "relu", steps=200),
)
