"""How `TinyClassifier` initialises and trains a network.

The recipe is close to RealMLP (Holzmuller, Grinsztajn, Steinwart, "Better by default", NeurIPS 2024).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from tinyrs._tinyrs import Network, Optimizer
from tinyrs.classifier.data import Dataset, Floats, Indices
from tinyrs.history import History, Record

# The defaults for up to SMALL_TABLE rows; see "The default: four small networks" in BENCHMARKING.md.
SMALL_TABLE, EPOCHS, DROPOUT = 2000, 256, 0.15
# The schedule of weight decay and dropout.
DECAY_SCHEDULE = "flat_cosine"

# The numeric embedding of RealMLP: cosines and sums of each number, and the standard deviation of the initial
# frequencies, in turns per unit.
FREQUENCIES, EMBEDDED, INITIAL_FREQUENCY = 16, 3, 0.1
# numeric_embedding="auto" embeds no numbers of a table with more than these: it would take most of the time.
MAX_EMBEDDED = 100


def default_epochs(rows: int) -> int:
    """The epochs if `max_iter` is None: 256 up to 2,000 rows, then proportional to 1 / sqrt(rows)."""
    return max(round(EPOCHS * min(1.0, math.sqrt(SMALL_TABLE / rows))), 1)


def dropout_rate(dropout: float | str, rows: float) -> float:
    """The dropout that a table of `rows` rows is trained with: "auto" is 0.15 up to 2,000 rows, else 0."""
    if isinstance(dropout, str):
        return DROPOUT if rows <= SMALL_TABLE else 0.0
    return dropout


def new_optimizer() -> Optimizer:
    """The optimizer of the recipe, without moments."""
    return Optimizer("adamw", beta2=0.95)


def initial_network(
    sizes: Sequence[int],
    *,
    activation: str,
    output_activation: str,
    precision: str,
    seed: int,
    n_embedded: int = 0,
) -> Network:
    """A network with W ~ N(0, 1) / sqrt(inputs) and b ~ N(0, 1); its last layer is 0.

    Parameters
    ----------
    sizes : sequence of int
        The number of features, the sizes of the hidden layers, and the number of outputs.
    n_embedded : int
        The number of features with a numeric embedding, which are the first ones.
    """
    rng = np.random.default_rng(seed)
    parameters = _initial_embedding(n_embedded, rng) if n_embedded else []
    sizes = [sizes[0] + EMBEDDED * n_embedded, *sizes[1:]]
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        factor = 0.0 if i == len(sizes) - 2 else 1.0
        weight = rng.normal(size=(fan_out, fan_in)) * (factor / math.sqrt(fan_in))
        parameters.append((weight, rng.normal(size=fan_out) * factor))
    return Network.from_parameters(
        parameters,
        activation=activation,
        output_activation=output_activation,
        precision=precision,
        numeric_embedding="pbld" if n_embedded else None,
    )


def _initial_embedding(n: int, rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
    """The initial parameters of the embedding of n features: slow cosines of all phases."""
    cosines, bound = n * FREQUENCIES, 1 / math.sqrt(FREQUENCIES)
    return [
        (INITIAL_FREQUENCY * rng.normal(size=(cosines, 1)), rng.uniform(-0.5, 0.5, cosines)),
        (
            rng.uniform(-bound, bound, (n * EMBEDDED, FREQUENCIES)),
            rng.uniform(-bound, bound, n * EMBEDDED),
        ),
    ]


def _learning_rate_factors(network: Network) -> list[tuple[float, float]]:
    """The NTK parametrisation under Adam, and a tenth of the learning rate for biases and the embedding."""
    weights = [weight for weight, _ in network.parameters()]
    of_embedding = [] if network.numeric_embedding is None else [(0.1, 0.1)] * 2
    return of_embedding + [(1 / math.sqrt(w.shape[1]), 0.1) for w in weights[len(of_embedding) :]]


@dataclass(frozen=True)
class TrainingOptions:
    """The hyperparameters of one training; `Network.fit` documents them."""

    learning_rate: float
    schedule: str
    batch_size: int
    epochs: int
    weight_decay: float
    dropout: float
    label_smoothing: float
    smoothing_prior: Sequence[float]
    seed: int
    n_threads: int | None
    decay_schedule: str = DECAY_SCHEDULE


def train(
    network: Network,
    optimizer: Optimizer,
    data: Dataset,
    options: TrainingOptions,
    *,
    validation: Dataset | None = None,
    callback: Callable[[Record], object] | None = None,
    n_threads: int | None = None,
) -> History:
    """Trains `network` in place on `data`. It stops after an epoch for which `callback` returns True."""
    return network.fit(
        data.features,
        data.targets,
        optimizer=optimizer,
        learning_rate=options.learning_rate,
        schedule=options.schedule,
        learning_rate_factors=_learning_rate_factors(network),
        batch_size=options.batch_size,
        epochs=options.epochs,
        weight_decay=options.weight_decay,
        weight_decay_schedule=options.decay_schedule,
        dropout=options.dropout,
        dropout_schedule=options.decay_schedule,
        label_smoothing=options.label_smoothing,
        smoothing_prior=options.smoothing_prior,
        sample_weight=data.weights,
        validation=None if validation is None else (validation.features, validation.targets),
        restore_best=False,
        seed=options.seed,
        callback=callback,
        n_threads=n_threads or options.n_threads,
    )


def logits(network: Network, features: Floats, n_threads: int | None = None) -> Floats:
    """The outputs (rows, outputs) of `network` before its output activation, for features (rows, inputs).

    Those of an ensemble are the logarithms of its mean probabilities, or for the labels of a multilabel model
    the logarithms of their odds.
    """
    each = []
    for member in network.members:
        linear = Network.from_parameters(
            member.parameters(), **member.options | {"output_activation": "identity"}
        )
        each.append(linear.forward(features, n_threads=n_threads))
    if len(each) == 1:
        return each[0]
    z = np.stack(each).astype(np.float64)
    if network.output_activation == "softmax":
        mean = logsumexp(log_softmax(z, axis=2), axis=0) - math.log(len(each))
    else:
        mean = logsumexp(-np.logaddexp(0, -z), axis=0) - logsumexp(-np.logaddexp(0, z), axis=0)
    return np.asarray(mean, dtype=each[0].dtype)


def add_outputs(network: Network, indices: Indices, n_outputs: int) -> Network:
    """A copy of `network` with `n_outputs` outputs: the present ones at `indices`, others of weight 0."""
    *hidden, (weight, bias) = network.parameters()
    all_weights = np.zeros((n_outputs, weight.shape[1]), weight.dtype)
    all_biases = np.zeros(n_outputs, bias.dtype)
    all_weights[indices], all_biases[indices] = weight, bias
    return Network.from_parameters(
        [*hidden, (all_weights, all_biases)],
        activation=network.activation,
        output_activation=network.output_activation,
        precision=network.precision,
        numeric_embedding=network.numeric_embedding,
    )
