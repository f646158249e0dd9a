"""Why a classifier gives a row its probability: integrated gradients, and `Explanation`, which holds them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network

Floats = npt.NDArray[np.floating[Any]]
# From features (rows, features) and class indices (rows,) to the gradients (rows, features) of the
# probabilities of these classes.
Gradients = Callable[[Floats, npt.NDArray[np.intp]], Floats]

# A path is cut into equal pieces, twice as many until the contributions add up; each piece is integrated by
# Gauss-Legendre quadrature. Pieces rather than more nodes, because relu has a kink.
NODES = 8
MAX_PIECES = 128
# The largest difference between the sum of the contributions and the change of the probability.
TOLERANCE = 1e-3
# How many rows are differentiated in one pass.
BATCH = 4096


@dataclass(frozen=True)
class Explanation:
    """The contribution of each column to the probability of one class; `Predictor.explain` makes it.

    ``base + contributions.sum(axis=-1)`` is the probability. ``print`` shows the explanation of one row as a
    table.

    Attributes
    ----------
    contributions : array of shape (columns,) or (rows, columns)
        By how much each column moves the probability from that of the baseline to that of the row.
    columns : tuple of str
        The names of the columns.
    target : array of shape () or (rows,)
        The class whose probability is explained.
    probability : array of shape () or (rows,)
        Its probability for the row.
    base : array of shape () or (rows,)
        Its probability for the baseline.
    """

    contributions: npt.NDArray[np.float64]
    columns: tuple[str, ...]
    target: npt.NDArray[Any]
    probability: npt.NDArray[np.float64]
    base: npt.NDArray[np.float64]

    def __str__(self) -> str:
        if self.contributions.ndim == 2:
            return f"Explanation of {len(self.contributions)} rows, {len(self.columns)} columns"
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        # Names come from files, so control characters are escaped.
        names = [name if name.isprintable() else ascii(name)[1:-1] for name in self.columns]
        width = max(len("probability"), *map(len, names))
        lines = [f"{'baseline':{width}}  {self.base:8.4f}"]
        lines += [f"{names[i]:{width}}  {self.contributions[i]:+8.4f}" for i in order]
        return "\n".join(
            [*lines, f"{'probability':{width}}  {self.probability:8.4f}  of {self.target.item()!r}"]
        )


def explain(
    network: Network,
    rows: Floats,
    baseline: Floats,
    targets: npt.NDArray[np.intp] | None,
    column_of: Sequence[int],
) -> tuple[npt.NDArray[Any], ...]:
    """The contributions of columns to the probabilities that a network predicts.

    Parameters
    ----------
    network : Network
    rows : array of shape (rows, features)
    baseline : array of shape (features,)
    targets : array of shape (rows,) or None
        The index of a class for each row; None for the most probable.
    column_of : sequence of int
        For each feature, the index of its column.

    Returns
    -------
    tuple
        The contributions (rows, columns), the targets (rows,), and their probabilities for the rows and for
        the baseline (rows,).
    """
    members = network.members
    p, n_rows = network.forward(rows), np.arange(len(rows))
    targets = p.argmax(axis=1) if targets is None else targets
    probability = p[n_rows, targets].astype(np.float64)
    base = network.forward(baseline[np.newaxis])[0, targets].astype(np.float64)

    def gradients(points: Floats, classes: npt.NDArray[np.intp]) -> Floats:
        of_class = np.zeros((len(points), p.shape[1]), points.dtype)
        of_class[np.arange(len(points)), classes] = 1
        of_members = [member.backward(points, of_class)[0] for member in members]
        return np.asarray(np.mean(of_members, axis=0), dtype=points.dtype)

    of_features = integrated_gradients(gradients, rows, baseline, targets, probability - base)
    contributions = np.zeros((len(rows), max(column_of) + 1))
    for feature, column in enumerate(column_of):
        contributions[:, column] += of_features[:, feature]
    return contributions, targets, probability, base


def integrated_gradients(
    gradients: Gradients,
    rows: Floats,
    baseline: Floats,
    targets: npt.NDArray[np.intp],
    change: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The contribution of each feature to the probability of a row's target, (rows, features).

    That of feature i is ``(x_i - b_i) * integral over t in [0, 1] of dp/dx_i at b + t (x - b)``; all of a row
    add up to `change`.

    Parameters
    ----------
    gradients : callable
    rows : array of shape (rows, features)
        x.
    baseline : array of shape (features,)
        b.
    targets : array of shape (rows,)
        The index of the class of each row.
    change : array of shape (rows,)
        p(x) - p(b) of these classes.

    Warns
    -----
    RuntimeWarning
        If the contributions of a row do not add up to within `TOLERANCE`.
    """
    contributions = np.zeros(rows.shape)
    open_rows, pieces = np.arange(len(rows)), 4
    while len(open_rows):
        found = _integrate(gradients, rows[open_rows], baseline, targets[open_rows], pieces)
        contributions[open_rows] = found
        gap = np.abs(found.sum(axis=1) - change[open_rows])
        open_rows = open_rows[gap > TOLERANCE]
        if pieces == MAX_PIECES:
            break
        pieces *= 2
    if len(open_rows):
        warnings.warn(
            f"explain: the contributions of {len(open_rows)} of {len(rows)} rows add up to the change of the "
            f"probability only within {gap.max():.2g}: it changes abruptly on the way from the baseline",
            RuntimeWarning,
            stacklevel=3,
        )
    return contributions


def _integrate(
    gradients: Gradients, rows: Floats, baseline: Floats, targets: npt.NDArray[np.intp], pieces: int
) -> npt.NDArray[np.float64]:
    """The contributions (rows, features) with paths of `pieces` pieces."""
    nodes, weights = _quadrature(pieces)
    difference, total = rows - baseline, np.zeros(rows.shape)
    # All nodes of a few rows at a time.
    step = max(1, BATCH // len(nodes))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        points = baseline + nodes[:, None, None] * difference[part]
        flat = points.reshape(-1, rows.shape[1]).astype(rows.dtype)
        slopes = gradients(flat, np.tile(targets[part], len(nodes))).reshape(points.shape)
        total[part] = np.tensordot(weights, slopes.astype(np.float64), 1)
    return total * difference


@functools.cache
def _quadrature(pieces: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The nodes in [0, 1] and weights of Gauss-Legendre quadrature on each of `pieces` equal pieces."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    starts = np.arange(pieces)[:, None]
    return ((starts + (nodes + 1) / 2) / pieces).ravel(), np.tile(weights / 2 / pieces, pieces)
