#!/usr/bin/env python3
"""Training side by side: tinyrs, the NumPy oracle, scikit-learn; PyTorch and jax where installed.

    ./benchmarks/training.py                  # samples a second and the loss reached, on three networks
    ./benchmarks/training.py --scaling a.png  # time a step against batch and parameters, as a plot

Every engine starts from the same parameters and sees the same batches in the same order, with Adam at a rate
of 0.001. In a round each trains one epoch with one thread and one with all, one engine after the other, so
that what drifts hits all; the medians are over the rounds, and the faster number of threads counts. Beside
each speed stands the loss that the engine had reached after all rounds: the same work, or no number.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tinyrs
from peers.engines import on_one_core
from threadpoolctl import threadpool_limits
from tinyrs import oracle
from tinyrs.bench.runner import rest

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Parameters = list[tuple[Floats, Floats]]
# Trains one epoch; returns its mean loss.
Epoch = Callable[[], float]

RATE = 1e-3
# A mean loss that is further than this from the oracle's, relative to it, is of other work. Rounding alone
# makes trajectories drift apart by about 1e-4 in so few steps.
SAME_LOSS = 0.01


@dataclass(frozen=True)
class Work:
    """A network, and the data that it learns."""

    sizes: tuple[int, ...]
    batch: int
    activation: str
    steps: int = 40

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {self.activation}"

    def data(self) -> tuple[Floats, Labels]:
        """Points around a centre for each class: something that can be learnt."""
        rng = np.random.default_rng(0)
        rows, classes = self.batch * self.steps, self.sizes[-1]
        y = rng.integers(0, classes, rows)
        centres = rng.normal(size=(classes, self.sizes[0])) * 0.3
        return (centres[y] + rng.normal(size=(rows, self.sizes[0]))).astype(np.float32), y

    def parameters(self) -> Parameters:
        return self.network().parameters()

    def network(self) -> tinyrs.Network:
        return tinyrs.Network(
            self.sizes, activation=self.activation, output_activation="softmax", init="he_uniform", seed=0
        )


WORKS = (
    Work((784, 512, 512, 10), 256, "relu"),
    Work((784, 256, 128, 10), 200, "tanh"),
    Work((64, 64, 64, 10), 32, "relu", steps=200),
    Work((784, 64, 64, 10), 32, "relu", steps=200),
)


def tinyrs_engine(work: Work, X: Floats, y: Labels, threads: int) -> Epoch:
    network, optimizer = work.network(), tinyrs.Optimizer("adam")

    def epoch() -> float:
        history = network.fit(
            X,
            y,
            epochs=1,
            batch_size=work.batch,
            learning_rate=RATE,
            optimizer=optimizer,
            shuffle=False,
            n_threads=threads,
        )
        return float(history["loss"][0])

    return epoch


def oracle_engine(work: Work, X: Floats, y: Labels, threads: int) -> Epoch:
    layers, optimizer = work.parameters(), oracle.Optimizer("adam")

    def epoch() -> float:
        with threadpool_limits(threads):
            (loss,) = oracle.fit(
                X,
                y,
                layers,
                loss="cross_entropy",
                activation=work.activation,
                output_activation="softmax",
                optimizer=optimizer,
                learning_rate=RATE,
                batch_size=work.batch,
                epochs=1,
                shuffle=False,
            )
        return loss

    return epoch


def sklearn_engine(work: Work, X: Floats, y: Labels, threads: int) -> Epoch:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        work.sizes[1:-1],
        activation=work.activation,
        alpha=0,
        batch_size=work.batch,
        learning_rate_init=RATE,
        shuffle=False,
        random_state=0,
    )
    # It makes its parameters at the first call; then they are replaced, and its optimizer begins anew.
    model.partial_fit(X[: work.batch], y[: work.batch], classes=np.arange(work.sizes[-1]))
    for i, (weight, bias) in enumerate(work.parameters()):
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


def torch_engine(work: Work, X: Floats, y: Labels, threads: int) -> Epoch:
    import torch

    layers: list[torch.nn.Module] = []
    for weight, bias in work.parameters():
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, torch.nn.ReLU() if work.activation == "relu" else torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    batches = list(
        zip(torch.from_numpy(X).split(work.batch), torch.from_numpy(y).split(work.batch), strict=True)
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


def jax_engine(work: Work, X: Floats, y: Labels, threads: int) -> Epoch:
    import jax
    import jax.numpy as jnp

    # A comparison in f64 may have been here before.
    jax.config.update("jax_enable_x64", False)
    activation = jax.nn.relu if work.activation == "relu" else jnp.tanh
    parameters = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in work.parameters()]
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
            return p - RATE * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

        return jax.tree.map(update, parameters, m, v), m, v, loss

    state = [parameters, zeros, zeros, 0]
    batches = [
        (jnp.asarray(X[i : i + work.batch]), jnp.asarray(y[i : i + work.batch]))
        for i in range(0, len(X), work.batch)
    ]
    # Compiled before the clock runs.
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


ENGINES: dict[str, Callable[[Work, Floats, Labels, int], Epoch]] = {
    "tinyrs": tinyrs_engine,
    "numpy": oracle_engine,
    "scikit-learn": sklearn_engine,
    "PyTorch": torch_engine,
    "jax": jax_engine,
}


@dataclass(frozen=True)
class Trained:
    """What an engine did with one number of threads: the seconds of each epoch, the last one's mean loss."""

    engine: str
    threads: int
    seconds: tuple[float, ...]
    loss: float

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


@dataclass
class Comparison:
    """What came of one work; `other_work` are the losses of those that did not do it."""

    work: Work
    trained: list[Trained] = field(default_factory=list)
    other_work: dict[str, float] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def best(self, engine: str) -> Trained | None:
        """The engine's faster number of threads."""
        found = [t for t in self.trained if t.engine == engine]
        return min(found, key=lambda t: t.median, default=None)

    def ratio(self, *engines: str) -> float | None:
        """How many times as long as tinyrs the fastest of `engines` takes."""
        ours, theirs = self.best("tinyrs"), [t for t in map(self.best, engines) if t]
        return min(t.median for t in theirs) / ours.median if ours and theirs else None

    def speed(self, seconds: float) -> float:
        """Samples a second."""
        return self.work.batch * self.work.steps / seconds


def compare(work: Work, rounds: int, thread_counts: Sequence[int]) -> Comparison:
    """Trains with every engine."""
    X, y = work.data()
    comparison, engines = Comparison(work), dict[tuple[str, int], Epoch]()
    for name, make in ENGINES.items():
        try:
            engines |= {(name, n): make(work, X, y, n) for n in thread_counts}
        except ImportError:
            comparison.absent.append(name)
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in engines}
    losses = dict.fromkeys(engines, 0.0)
    for _ in range(rounds):
        for key, epoch in engines.items():
            rest()
            start = time.perf_counter()
            losses[key] = epoch()
            seconds[key].append(time.perf_counter() - start)
    right = losses["numpy", thread_counts[0]]
    for (name, n), loss in losses.items():
        if abs(loss - right) > SAME_LOSS * right + 1e-4:
            comparison.other_work[name] = loss
        else:
            comparison.trained.append(Trained(name, n, tuple(seconds[name, n]), loss))
    comparison.trained = [t for t in comparison.trained if t.engine not in comparison.other_work]
    return comparison


HEADER = ("samples/s", "slowest to fastest round", "loss", "threads", "time / tinyrs'")


def rows(comparison: Comparison) -> list[list[str]]:
    """The rows of the table, one an engine: its name, and what HEADER names."""
    cells = []
    for name in ENGINES:
        best = comparison.best(name)
        if best:
            speed = comparison.speed
            span = f"{speed(max(best.seconds)):,.0f} to {speed(min(best.seconds)):,.0f}"
            ratio = comparison.ratio(name)
            cells.append(
                [
                    name,
                    f"{speed(best.median):,.0f}",
                    span,
                    f"{best.loss:.4f}",
                    str(best.threads),
                    f"{ratio:.2f}" if ratio else "",
                ]
            )
        elif name in comparison.other_work:
            cells.append([name, "other work: not timed", "", f"{comparison.other_work[name]:.4f}", "", ""])
        else:
            cells.append([name, "not installed", "", "", "", ""])
    return cells


def scaling(path: Path, threads: int) -> None:
    """Time a step against the batch and against the parameters, each over two decades, and a slope of 1."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    batches = [
        Work((128, 128, 128, 10), batch, "relu") for batch in (32, 64, 128, 256, 512, 1024, 2048, 4096)
    ]
    widths = [
        Work((width, width, width, 10), 256, "relu") for width in (64, 96, 128, 192, 256, 384, 512, 768)
    ]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    size: Callable[[Work], int]
    for axis, works, label in zip(axes, (batches, widths), ("rows in a batch", "parameters"), strict=True):
        size = (lambda w: w.batch) if label == "rows in a batch" else (lambda w: w.network().n_parameters)
        sizes, times = [size(work) for work in works], []
        for work in works:
            X, y = work.data()
            epoch = tinyrs_engine(work, X, y, threads)
            samples = []
            for _ in range(7):
                start = time.perf_counter()
                epoch()
                samples.append((time.perf_counter() - start) / work.steps)
            times.append(float(np.median(samples)))
        slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        axis.loglog(sizes, np.array(times) * 1e6, "o-", label=f"measured, slope {slope:.2f}")
        axis.loglog(sizes, times[-1] * 1e6 * np.array(sizes) / sizes[-1], "--", label="slope 1")
        axis.set(xlabel=label, ylabel="us a step")
        axis.legend()
        print(f"time a step against {label}: slope {slope:.2f}")
        for n, seconds in zip(sizes, times, strict=True):
            print(f"  {n:>9,} {seconds * 1e6:>9.1f} us")
    figure.savefig(path)


def main() -> None:
    default = sorted({1, tinyrs.get_num_threads()})
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="epochs of each engine (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=default, help="default: one and all, the faster counts"
    )
    parser.add_argument(
        "--scaling", type=Path, metavar="FILE", help="draw how time grows with batch and parameters"
    )
    flags = parser.parse_args()
    isa, threads = tinyrs.build_info()["isa"], " and ".join(map(str, flags.threads))
    print(f"{platform.machine()}, {isa}, {threads} threads, {time.strftime('%Y-%m-%d')}\n")
    if flags.scaling:
        scaling(flags.scaling, max(flags.threads))
        return
    # It says that one epoch at a time does not converge.
    warnings.filterwarnings("ignore", module="sklearn")
    for work in WORKS:
        table = [
            [work.name, *HEADER],
            ["---"] * (1 + len(HEADER)),
            *rows(compare(work, flags.rounds, flags.threads)),
        ]
        print("\n".join(f"| {' | '.join(row)} |" for row in table), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
