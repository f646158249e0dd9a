"""The plots of a fitted `TinyClassifier`, which need matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyrs.tuning import intervals
from tinyrs.tuning.scores import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss(
    training: Sequence[float], validation: Mapping[str, Sequence[float]], best_epoch: int, ax: Axes | None
) -> Axes:
    """The training loss and each validation loss over the epochs; the epoch that was kept, from 0."""
    ax = _axes(ax)
    for name, values in {"training": training, **validation}.items():
        ax.plot(np.arange(1, len(values) + 1), values, label=name, marker="o" if len(values) == 1 else None)
    ax.axvline(best_epoch + 1, color="grey", linestyle="--", label=f"kept: epoch {best_epoch + 1}")
    ax.set(xlabel="epoch", ylabel="log loss")
    ax.legend()
    return ax


def importance(
    names: Sequence[str], importances: npt.NDArray[np.float64], max_columns: int, ax: Axes | None
) -> Axes:
    """A bar for each of the `max_columns` most important columns, the most important at the top."""
    ax = _axes(ax)
    order = np.argsort(-importances, kind="stable")[:max_columns][::-1]
    # By position: two columns may have the same name.
    ax.barh(np.arange(len(order)), importances[order])
    # A dollar sign would start a formula.
    ax.set_yticks(np.arange(len(order)), [names[i].replace("$", r"\$") for i in order])
    ax.set_xlabel("how much worse the metric gets when the column is shuffled")
    return ax


def calibration(reliability: Reliability, ax: Axes | None) -> Axes:
    """The accuracy by predicted probability, with 95 % Wilson intervals and the numbers of rows."""
    ax = _axes(ax)
    rows = reliability.rows
    used = np.flatnonzero(rows)
    limits = [intervals.proportion(reliability.accuracy[i], rows[i]) for i in used]
    x, y = reliability.confidence[used], reliability.accuracy[used]
    low, high = np.array(limits).reshape(-1, 2).T
    # The limits may differ from an accuracy of 0 or 1 by rounding.
    distances: Any = np.maximum([y - low, high - y], 0)
    start = used.min(initial=len(rows)) / len(rows)
    ax.plot([start, 1], [start, 1], color="grey", linestyle="--", label="perfect")
    ax.errorbar(x, y, yerr=distances, marker="o", capsize=3, label="accuracy, 95% interval, rows")
    for i in used:
        ax.annotate(
            f"{rows[i]:,}",
            (reliability.confidence[i], reliability.accuracy[i]),
            textcoords="offset points",
            xytext=(6, -10),
            fontsize="small",
        )
    ax.set(xlabel="predicted probability", ylabel="accuracy", ylim=(-0.02, 1.05))
    ax.legend()
    return ax


def _axes(ax: Axes | None) -> Axes:
    """`ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as missing:
        raise ImportError(f"plots need matplotlib ({missing}): pip install 'tinyrs[plot]'") from missing
    return plt.subplots(layout="constrained")[1]
