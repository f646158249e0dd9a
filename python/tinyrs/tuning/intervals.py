"""95 % confidence intervals of metrics, in closed form: they need no resampling and hold for few rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# The 97.5 % quantile of the normal distribution.
Z = 1.959963984540054


class Interval(NamedTuple):
    """The limits of a 95 % confidence interval; NaN if nothing was measured."""

    low: float
    high: float

    def text(self, percent: bool = True) -> str:
        """Such as "81.0% to 83.5%" or "0.810 to 0.835"; empty if nothing was measured."""
        if np.isnan(self.low):
            return ""
        return f"{self.low:.1%} to {self.high:.1%}" if percent else f"{self.low:.3f} to {self.high:.3f}"

    def as_json(self) -> list[float] | None:
        return None if np.isnan(self.low) else [float(self.low), float(self.high)]


def proportion(share: float, rows: float) -> Interval:
    """The interval of a share that was observed on `rows` rows (Wilson 1927)."""
    if not rows > 0:
        return Interval(np.nan, np.nan)
    centre = share + Z**2 / (2 * rows)
    half = Z * np.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    scale = 1 + Z**2 / rows
    return Interval(max(0.0, float((centre - half) / scale)), min(1.0, float((centre + half) / scale)))


def mean_of_independent(values: npt.NDArray[np.float64], intervals: list[Interval]) -> Interval:
    """The interval of the mean of independent values, from the interval of each.

    The distances from a value to its limits add in squares (Newcombe 1998; Zou and Donner 2008).
    """
    low, high = np.array(intervals).T
    mean, n = float(values.mean()), len(values)
    return Interval(
        mean - float(np.sqrt(((values - low) ** 2).sum())) / n,
        mean + float(np.sqrt(((high - values) ** 2).sum())) / n,
    )


def area_under_roc(area: float, positives: int, negatives: int) -> Interval:
    """The interval of an area under the ROC curve (Newcombe 2006, method 5).

    The limits are the areas whose distance from `area` is Z of their own standard errors. The standard error
    is that of Hanley and McNeil (1982), with both numbers of rows in its second-order terms replaced by their
    mean.
    """
    from scipy.optimize import brentq

    pairs, more = positives * negatives, (positives + negatives) / 2 - 1
    # At 0 and 1 the standard error is 0, which would be a second solution.
    area = min(max(area, 1e-9), 1 - 1e-9)

    def distance(other: float) -> float:
        spread = 1 + more * ((1 - other) / (2 - other) + other / (1 + other))
        return (other - area) ** 2 - Z**2 * other * (1 - other) * spread / pairs

    return Interval(float(brentq(distance, 0, area)), float(brentq(distance, area, 1)))
