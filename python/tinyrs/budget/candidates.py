"""What a model may cost, and the models that were tried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tinyrs.bench.latency import Latency


@dataclass(frozen=True)
class Budget:
    """What a model may cost; at least one limit.

    Attributes
    ----------
    max_us : float or None
        The latency of a call in microseconds, at `percentile`.
    max_bytes : int or None
        The size of the model file in bytes.
    batch_size : int
        The rows of a call: of `predict_one` for 1, else of `predict_proba` with an array.
    percentile : {50, 99}
    """

    max_us: float | None = None
    max_bytes: int | None = None
    batch_size: int = 1
    percentile: int = 50

    def __post_init__(self) -> None:
        if self.max_us is None and self.max_bytes is None:
            raise ValueError("budget: expected max_us, max_bytes or both, got neither")
        for name in ("max_us", "max_bytes"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{name}: expected a number above 0, got {limit}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {self.batch_size}")
        if self.percentile not in (50, 99):
            raise ValueError(f"percentile: expected 50 or 99, got {self.percentile}")

    def us(self, model: Candidate | Latency) -> float:
        """The latency of a model at `percentile`."""
        return model.p50_us if self.percentile == 50 else model.p99_us

    def allows(self, us: float, n_bytes: int) -> bool:
        """Whether a model of this latency and size fits."""
        return (self.max_us is None or us <= self.max_us) and (
            self.max_bytes is None or n_bytes <= self.max_bytes
        )

    def __str__(self) -> str:
        call = "one row" if self.batch_size == 1 else f"{self.batch_size} rows"
        limits = []
        if self.max_us is not None:
            limits.append(f"{self.max_us:g} us for {call} (p{self.percentile})")
        if self.max_bytes is not None:
            limits.append(f"{self.max_bytes:,} bytes")
        return " and ".join(limits)


@dataclass(frozen=True)
class Candidate:
    """A student that was trained and measured.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    weights : str
        The format of the weights, such as "int8".
    n_columns : int
        The number of columns that it uses.
    n_bytes : int
        The size of its model file.
    p50_us, p99_us : float
        The latency of a call in microseconds.
    accuracy, log_loss : float
        On held-out rows.
    epochs : int
        How long it was trained: candidates that fall behind are given up early.
    fits : bool
        Whether it is within the budget.
    """

    hidden_layer_sizes: tuple[int, ...]
    weights: str
    n_columns: int
    n_bytes: int
    p50_us: float
    p99_us: float
    accuracy: float
    log_loss: float
    epochs: int
    fits: bool

    def __str__(self) -> str:
        hidden = " x ".join(map(str, self.hidden_layer_sizes)) or "no hidden layer"
        return f"{hidden} in {self.weights} of {self.n_columns} columns"

    def dominates(self, other: Candidate) -> bool:
        """Whether it is at least as good in latency, size and accuracy, and better in one of them."""
        mine, theirs = self._costs(), other._costs()
        return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs

    def _costs(self) -> tuple[float, ...]:
        return self.p50_us, self.n_bytes, -self.accuracy


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The Pareto front: the candidates that no other one dominates, from the fastest to the slowest."""
    tried = list(candidates)
    best = [c for c in tried if not any(other.dominates(c) for other in tried)]
    return sorted(best, key=lambda c: (c.p50_us, c.n_bytes))


def table_cells(candidates: Iterable[Candidate]) -> list[tuple[str, ...]]:
    """A table of the candidates: its header, then the most accurate first; * marks those on the front."""
    tried = sorted(candidates, key=lambda c: (-c.accuracy, c.log_loss, c.p50_us))
    best = front(tried)
    header = (
        "front",
        "hidden layers",
        "weights",
        "columns",
        "bytes",
        "p50 us",
        "p99 us",
        "accuracy",
        "log loss",
        "fits",
    )
    body = [
        (
            "*" if c in best else "",
            " x ".join(map(str, c.hidden_layer_sizes)) or "none",
            c.weights,
            str(c.n_columns),
            f"{c.n_bytes:,}",
            f"{c.p50_us:.2f}",
            f"{c.p99_us:.2f}",
            f"{c.accuracy:.4f}",
            f"{c.log_loss:.4f}",
            "yes" if c.fits else "no",
        )
        for c in tried
    ]
    return [header, *body]


def table(candidates: Iterable[Candidate]) -> str:
    """`table_cells` as aligned text."""
    rows = table_cells(candidates)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{w}}" if i < 3 else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
