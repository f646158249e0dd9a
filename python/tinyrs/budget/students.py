"""Students: small networks that learn the probabilities that a teacher predicts (distillation).

Bucila, Caruana, Niculescu-Mizil, "Model compression", 2006; Hinton, Vinyals, Dean, "Distilling the knowledge
in a neural network", 2015. The teacher also labels new rows, in which some cells come from other rows: a
small table says too little about the teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.budget.teacher import Teacher, take, teacher_probabilities
from tinyrs.classifier.data import Dataset, Floats, Indices, read_table
from tinyrs.classifier.recipe import (
    TrainingOptions,
    default_epochs,
    initial_network,
    logits,
    new_optimizer,
    train,
)
from tinyrs.history import Record
from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor
from tinyrs.tabular.statistics import TrainingStatistics
from tinyrs.tuning.calibration import divide_logits, fit_temperature

# A cell of a new row comes from another row with this probability.
SWAPPED = 0.15
# The number of rows to train a student on, of which at most this many for each row of the table.
ROWS, ROWS_PER_ROW = 20_000, 5
# The share of the true label in the target of a row of the table; the rest is the teacher's probability.
TRUE_LABEL = 0.3


@dataclass(frozen=True)
class DistillationData:
    """What students learn, and the rows that they are measured on.

    Attributes
    ----------
    rows : tuple of array
        Encoded rows (rows, encoded columns) to train on, and their targets (rows, classes).
    held_out : tuple of array or None
        Encoded rows and class indices (rows,); None if there are none.
    preprocessor : Preprocessor
    classes : array of shape (n_classes,)
    seed : int
    n_threads : int or None
    """

    rows: tuple[npt.NDArray[Any], Floats]
    held_out: tuple[npt.NDArray[Any], Indices] | None
    preprocessor: Preprocessor
    classes: npt.NDArray[Any]
    seed: int
    n_threads: int | None

    @cached_property
    def digest(self) -> str:
        """A digest of all that a student's training depends on, besides its own shape."""
        return str(joblib.hash((self.rows, self.held_out, self.seed)))

    @property
    def epochs(self) -> int:
        """The number of epochs of a full training."""
        return default_epochs(len(self.rows[0]))


def distillation_data(
    teacher: Teacher,
    X: Any,
    targets: Indices,
    train_rows: Indices,
    held_out: Indices | None,
    preprocessor: Preprocessor,
    classes: npt.NDArray[Any],
    *,
    seed: int,
    n_threads: int | None,
) -> DistillationData:
    """The data of the rows `train_rows` of the table X, and of new rows made of them."""
    rng = np.random.default_rng(seed)
    new = max(0, min(ROWS - len(train_rows), (ROWS_PER_ROW - 1) * len(train_rows)))
    cells = np.tile(rng.choice(train_rows, new)[:, np.newaxis], (1, preprocessor.n_columns))
    swapped = rng.random(cells.shape) < SWAPPED
    cells[swapped] = rng.choice(train_rows, int(swapped.sum()))
    p = teacher_probabilities(teacher, table := take(X, train_rows), classes)
    p = TRUE_LABEL * np.eye(len(classes))[targets[train_rows]] + (1 - TRUE_LABEL) * p
    encoded = preprocessor.encode(read_table(table))
    if new:
        table = take(X, cells)
        p = np.concatenate([p, teacher_probabilities(teacher, table, classes)])
        encoded = np.concatenate([encoded, preprocessor.encode(read_table(table))])
    measured = None
    if held_out is not None:
        measured = (preprocessor.encode(read_table(take(X, held_out))), targets[held_out])
    return DistillationData((encoded, p), measured, preprocessor, classes, seed, n_threads)


def only_columns(preprocessor: Preprocessor, columns: Indices) -> Preprocessor:
    """A preprocessor for the same table that makes features only of these columns.

    Other categories are not read at all.
    """
    kept = set(columns.tolist())
    used = [category.column in kept for category in preprocessor.categories]
    statistics = preprocessor.statistics
    if statistics is not None:
        counts = tuple(n if k else () for n, k in zip(statistics.counts, used, strict=True))
        statistics = TrainingStatistics(statistics.n_rows, statistics.missing, statistics.quartiles, counts)
    table_column = [*range(preprocessor.n_columns), *(column for column, _ in preprocessor.parts)]
    return Preprocessor(
        preprocessor.n_columns,
        tuple(
            n if table_column[n.column] in kept else NumberColumn(n.column, n.centre, 0.0, False, n.kind)
            for n in preprocessor.numbers
        ),
        tuple(
            c if k else CategoryColumn(c.column, (), 0, c.kind)
            for c, k in zip(preprocessor.categories, used, strict=True)
        ),
        preprocessor.parts,
        statistics,
    )


def new_student(hidden: tuple[int, ...], preprocessor: Preprocessor, n_classes: int, seed: int) -> Network:
    """An untrained student."""
    sizes = [preprocessor.feature_encoder.n_features, *hidden, n_classes]
    return initial_network(sizes, activation="selu", output_activation="softmax", precision="f32", seed=seed)


def train_student(
    network: Network,
    data: DistillationData,
    preprocessor: Preprocessor,
    epochs: int,
    callback: Callable[[Record], object],
) -> None:
    """Trains `network` in place on the features of `preprocessor`, and calibrates it on held-out rows.

    Training stops after an epoch for which `callback` returns True.
    """
    encoded, p = data.rows
    features = Dataset(preprocessor.transform(encoded, "f32"), p.astype(np.float32))
    options = TrainingOptions(
        learning_rate=0.04,
        schedule="coslog4",
        batch_size=256,
        epochs=epochs,
        weight_decay=0.0,
        dropout=0.0,
        label_smoothing=0.0,
        smoothing_prior=np.full(len(data.classes), 1 / len(data.classes)).tolist(),
        seed=data.seed,
        n_threads=data.n_threads,
    )
    train(network, new_optimizer(), features, options, callback=callback)
    if data.held_out is not None:
        rows, targets = data.held_out
        z = logits(network, preprocessor.transform(rows, "f32"), data.n_threads)
        divide_logits(network, fit_temperature(z, targets))
