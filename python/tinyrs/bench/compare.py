"""Compares the results of two runs of the same cases: which are faster, slower, or not told apart.

The unit of the statistics is a turn, a sequence of consecutive passes, not a pass: neighbouring passes share
the clock rate and the load of the machine, so they are far from independent. Three rules keep noise from
being called a change:

- The p-value of the Mann-Whitney test of the turns' medians allows for the correlation of neighbouring turns.
- The p-values are corrected for the number of cases (Holm's method).
- A difference must also exceed the noise floor: the change between the halves of a run, and what more runs of
  the same program show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinyrs.bench.config import Case, UsageError

# The medians of the turns of a case, in milliseconds a pass.
Turns: TypeAlias = npt.NDArray[np.float64]
# A case and the engine that ran it.
Key: TypeAlias = tuple[Case, str]

ALPHA = 0.01
FASTER, SLOWER, SAME, TOO_FEW = "faster", "slower", "no difference seen", "too few turns"
# The version of the schema that added `turns` to each result.
OLDEST_SCHEMA = 3
_RESAMPLES = 2000


@dataclass(frozen=True)
class Run:
    """The turns of each case of a result file, and the environment in which it was measured."""

    path: Path
    turns: Mapping[Key, Turns]
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two measurements of one case.

    `ratio` is the time after divided by the time before; `low` and `high` bound its 95 % interval. `p` is
    corrected for the number of cases. A ratio within a factor of 1 + `noise` of 1 is noise.
    """

    case: Case
    engine: str
    before_ms: float
    after_ms: float
    ratio: float
    low: float
    high: float
    p: float
    noise: float
    turns: tuple[int, int]
    verdict: str

    def row(self) -> dict[str, Any]:
        """The fields as a flat dictionary of JSON values."""
        values = {name: value for name, value in vars(self).items() if name not in ("case", "turns")}
        return {**asdict(self.case), **values, "turns": list(self.turns)}


def load(path: Path) -> Run:
    """Reads a file that `--json` or `output.json` of a benchmark wrote.

    Raises
    ------
    UsageError
        If the file cannot be read, is not a result of a benchmark, or has no turns, as files of versions of
        the schema before 3.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: expected the JSON results of a benchmark: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, int):
        raise UsageError(f"{path}: expected the JSON results of a benchmark, but the field schema is missing")
    if schema < OLDEST_SCHEMA:
        raise UsageError(
            f"{path}: expected version {OLDEST_SCHEMA} of the schema, got {schema}, which does not have "
            "the turns of each case: run the benchmark again"
        )
    turns: dict[Key, Turns] = {}
    try:
        for row in document["results"]:
            case = Case(**{name.name: row[name.name] for name in fields(Case)})
            turns[case, row["engine"]] = turn_medians(row["times_ms"], row["passes"], row["turns"])
        return Run(path, turns, document["environment"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: expected the JSON results of a benchmark: {error!r}") from None


def turn_medians(times_ms: Sequence[float], passes: Sequence[int], turns: Sequence[int]) -> Turns:
    """The median time of a pass in each turn.

    `times_ms` and `passes` have one value per timed call; `turns` has the number of calls of each turn.
    Raises ValueError if the lengths disagree or a time is not positive.
    """
    times = np.asarray(times_ms, float) / np.asarray(passes, float)
    if sum(turns) != len(times) or min(turns, default=0) < 1 or not (np.isfinite(times) & (times > 0)).all():
        raise ValueError(f"{len(times)} times do not form turns of {list(turns)} calls")
    return np.array([np.median(turn) for turn in np.split(times, np.cumsum(turns)[:-1])])


def compare(before: Run, after: Run, same: Sequence[Run] = ()) -> list[Comparison]:
    """Compares the cases that both runs have, in the order of `before`.

    `same` has more runs of the program that `before` ran. They count as part of `before`, and their
    differences are noise: it includes what changes from process to process, such as the addresses of the
    weights, which two runs alone cannot show.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    UsageError
        If the runs have no case in common.
    """
    keys = [key for key in before.turns if all(key in run.turns for run in (after, *same))]
    if not keys:
        paths = ", ".join(str(run.path) for run in (before, after, *same))
        raise UsageError(f"{paths}: expected results of the same cases, but they have none in common")
    runs = [[run.turns[key] for run in (before, *same)] for key in keys]
    p_values = _holm(
        [_p_value(np.concatenate(old), after.turns[key]) for key, old in zip(keys, runs, strict=True)]
    )
    return [
        _comparison(key, old, after.turns[key], p, ALPHA / len(keys))
        for key, old, p in zip(keys, runs, p_values, strict=True)
    ]


def _comparison(key: Key, runs: Sequence[Turns], after: Turns, p: float, strictest: float) -> Comparison:
    """Compares `after` with `runs` of the same program. `strictest` is the alpha of the lowest p-value."""
    before = np.concatenate(runs)
    change = math.log(np.median(after) / np.median(before))
    noise = max(_half_difference(runs[0]), _half_difference(after), _run_noise(runs))
    if _least_p(before, after) >= strictest:
        verdict = TOO_FEW
    elif p < ALPHA and abs(change) > noise:
        verdict = SLOWER if change > 0 else FASTER
    else:
        verdict = SAME
    low, high = _interval(before, after)
    return Comparison(
        *key,
        before_ms=float(np.median(before)),
        after_ms=float(np.median(after)),
        ratio=math.exp(change),
        low=low,
        high=high,
        p=p,
        noise=math.expm1(noise),
        turns=(len(before), len(after)),
        verdict=verdict,
    )


def _p_value(before: Turns, after: Turns) -> float:
    """The two-sided p-value of the Mann-Whitney test, for turns that are correlated with their neighbours."""
    from scipy import stats

    p = stats.mannwhitneyu(before, after).pvalue
    # The variance of a mean of correlated values is larger by the inflation: so is that of the rank sum.
    z = stats.norm.isf(p / 2) / math.sqrt(_inflation(before, after))
    return float(2 * stats.norm.sf(z))


def _least_p(before: Turns, after: Turns) -> float:
    """The smallest p-value that the test can give for this number of turns."""
    return 2 / math.comb(len(before) + len(after), len(before))


def _inflation(before: Turns, after: Turns) -> float:
    """How much correlation between neighbouring turns increases the variance of a mean: at least 1.

    (1 + r) / (1 - r) for a first-order autoregressive process, where r is the correlation of neighbours.
    It is estimated from ranks, since a single slow turn would hide it.
    """
    products = squares = count = 0.0
    for turns in (before, after):
        ranks = turns.argsort().argsort() - (len(turns) - 1) / 2
        products += float(ranks[1:] @ ranks[:-1])
        squares += float(ranks @ ranks)
        count += len(turns)
    r = products / squares if squares else 0.0
    # The estimate of a short series is too low by (1 + 4 r) / n.
    r = min(0.9, r + (1 + 4 * max(r, 0.0)) * 2 / count)
    return max(1.0, (1 + r) / (1 - r))


def _interval(before: Turns, after: Turns) -> tuple[float, float]:
    """The 95 % bootstrap interval of the ratio of the medians, resampled by turns."""
    rng = np.random.default_rng(0)
    resampled = [np.median(rng.choice(turns, (_RESAMPLES, len(turns))), axis=1) for turns in (after, before)]
    change = math.log(np.median(after) / np.median(before))
    deviations = np.log(resampled[0] / resampled[1]) - change
    low, high = np.percentile(deviations, (2.5, 97.5)) * math.sqrt(_inflation(before, after))
    return math.exp(change + low), math.exp(change + high)


def _half_difference(turns: Turns) -> float:
    """The difference of the logarithms of the medians of the first and the second half of a run."""
    half = len(turns) // 2
    return abs(math.log(np.median(turns[:half]) / np.median(turns[half:]))) if half else 0.0


def _run_noise(runs: Sequence[Turns]) -> float:
    """How far the logarithm of the median of one more run of the same program may lie from that of `runs`.

    Half the width of the 95 % prediction interval; 0 for one run, which does not show it.
    """
    from scipy import stats

    count = len(runs)
    if count < 2:
        return 0.0
    spread = np.std([math.log(np.median(turns)) for turns in runs], ddof=1)
    return float(stats.t.ppf(0.975, count - 1) * spread * math.sqrt(1 + 1 / count))


def _holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's method."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    corrected[order] = np.maximum.accumulate(np.minimum(1, factors * np.asarray(p_values)[order]))
    return [float(p) for p in corrected]
