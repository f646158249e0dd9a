"""Each library's training of a workload: an epoch of Adam, on the same batches in the same order.

ENGINES maps a name to a function of a workload, its data and a number of threads. It returns a function that
trains one epoch and returns its mean loss, and raises ImportError if the library is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import tinyrs
from threadpoolctl import threadpool_limits
from tinyrs import oracle

from peers.engines import on_one_core
from peers.training.workloads import Floats, Labels, TrainingWorkload

# Trains one epoch; returns its mean loss.
Epoch = Callable[[], float]

LEARNING_RATE = 1e-3


def tinyrs_engine(workload: TrainingWorkload, X: Floats, y: Labels, threads: int) -> Epoch:
    network, optimizer = workload.network(), tinyrs.Optimizer("adam")

    def epoch() -> float:
        history = network.fit(
            X,
            y,
            epochs=1,
            batch_size=workload.batch,
            learning_rate=LEARNING_RATE,
            optimizer=optimizer,
            shuffle=False,
            n_threads=threads,
        )
        return float(history["loss"][0])

    return epoch


def oracle_engine(workload: TrainingWorkload, X: Floats, y: Labels, threads: int) -> Epoch:
    layers, optimizer = workload.parameters(), oracle.Optimizer("adam")

    def epoch() -> float:
        with threadpool_limits(threads):
            (loss,) = oracle.fit(
                X,
                y,
                layers,
                loss="cross_entropy",
                activation=workload.activation,
                output_activation="softmax",
                optimizer=optimizer,
                learning_rate=LEARNING_RATE,
                batch_size=workload.batch,
                epochs=1,
                shuffle=False,
            )
        return loss

    return epoch


def sklearn_engine(workload: TrainingWorkload, X: Floats, y: Labels, threads: int) -> Epoch:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        workload.sizes[1:-1],
        activation=workload.activation,
        alpha=0,
        batch_size=workload.batch,
        learning_rate_init=LEARNING_RATE,
        shuffle=False,
        random_state=0,
    )
    # The first call creates the parameters and the optimizer; the parameters are replaced, the optimizer
    # reset.
    model.partial_fit(X[: workload.batch], y[: workload.batch], classes=np.arange(workload.sizes[-1]))
    for i, (weight, bias) in enumerate(workload.parameters()):
        model.coefs_[i][:], model.intercepts_[i][:] = weight.T, bias
    optimizer = model._optimizer
    optimizer.t = 0
    for moment in (*optimizer.ms, *optimizer.vs):
        moment[:] = 0

    def epoch() -> float:
        with threadpool_limits(threads):
            model.partial_fit(X, y)
        return float(model.loss_)

    return epoch


def torch_engine(workload: TrainingWorkload, X: Floats, y: Labels, threads: int) -> Epoch:
    import torch

    layers: list[torch.nn.Module] = []
    for weight, bias in workload.parameters():
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, torch.nn.ReLU() if workload.activation == "relu" else torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    batches = list(
        zip(torch.from_numpy(X).split(workload.batch), torch.from_numpy(y).split(workload.batch), strict=True)
    )

    def epoch() -> float:
        torch.set_num_threads(threads)
        total = torch.zeros(())
        for x, target in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / len(batches)

    return epoch


def jax_engine(workload: TrainingWorkload, X: Floats, y: Labels, threads: int) -> Epoch:
    import jax
    import jax.numpy as jnp

    # An earlier comparison in f64 may have enabled it.
    jax.config.update("jax_enable_x64", False)
    activation = jax.nn.relu if workload.activation == "relu" else jnp.tanh
    parameters = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in workload.parameters()]
    zeros = jax.tree.map(jnp.zeros_like, parameters)

    def loss_of(parameters, x, target):  # type: ignore[no-untyped-def]
        for w, b in parameters[:-1]:
            x = activation(x @ w + b)
        w, b = parameters[-1]
        return -jnp.take_along_axis(jax.nn.log_softmax(x @ w + b), target[:, None], 1).mean()

    @jax.jit
    def step(parameters, m, v, t, x, target):  # type: ignore[no-untyped-def]
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, target)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)

        def update(p, m, v):  # type: ignore[no-untyped-def]
            return p - LEARNING_RATE * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

        return jax.tree.map(update, parameters, m, v), m, v, loss

    state = [parameters, zeros, zeros, 0]
    batches = [
        (jnp.asarray(X[i : i + workload.batch]), jnp.asarray(y[i : i + workload.batch]))
        for i in range(0, len(X), workload.batch)
    ]
    # Compiles before anything is timed.
    step(parameters, zeros, zeros, 1.0, *batches[0])

    def epoch() -> float:
        with on_one_core() if threads == 1 else nullcontext():
            total = jnp.zeros(())
            for x, target in batches:
                state[3] += 1
                *state[:3], loss = step(*state[:3], float(state[3]), x, target)
                total += loss
            return float(total) / len(batches)

    return epoch


ENGINES: dict[str, Callable[[TrainingWorkload, Floats, Labels, int], Epoch]] = {
    "tinyrs": tinyrs_engine,
    "numpy": oracle_engine,
    "scikit-learn": sklearn_engine,
    "PyTorch": torch_engine,
    "jax": jax_engine,
}
