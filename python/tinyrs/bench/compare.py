"""Compares two programs on the same cases: which cases are faster, slower, or not told apart.

Of one run each, the unit of the statistics is a turn, a sequence of consecutive passes, not a pass:
neighbouring passes share the clock rate and the load of the machine, so they are far from independent. A
difference must also exceed the change between the halves of a run. One run each cannot show how much two runs
of the same program differ: by the addresses of their weights, and by the load of the machine.

Of several runs each, taken in turn (see `interleave`), the unit is a pair of runs, one of each program. The
load of the machine changes little within a pair. A run counts with the fastest tenth of its passes, because
other processes only slow passes down. The test is Wilcoxon's signed-rank test.

In both, the p-values are corrected for the number of cases by Holm's method.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
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
FASTER, SLOWER, SAME, TOO_FEW = "faster", "slower", "no difference seen", "too few"
# The version of the schema that added `turns` to each result.
OLDEST_SCHEMA = 3
TURNS, RUNS = "turns", "runs"
_RESAMPLES = 2000
_FASTEST = 0.1


@dataclass(frozen=True)
class Run:
    """The turns of each case of a result file, and the environment in which it was measured.

    `fastest` has the time in milliseconds in which a tenth of the passes of each case were computed.
    """

    path: Path
    turns: Mapping[Key, Turns]
    fastest: Mapping[Key, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two measurements of one case.

    `ratio` is the time after divided by the time before; `low` and `high` bound its 95 % interval. `p` is
    corrected for the number of cases. `noise` is how much times of the same program differ: the halves of a
    run, or two consecutive runs. `counts` has the turns or runs of each program, which `unit` names.
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
    unit: str
    counts: tuple[int, int]
    verdict: str

    def row(self) -> dict[str, Any]:
        """The fields as a flat dictionary of JSON values."""
        values = {name: value for name, value in vars(self).items() if name not in ("case", "counts")}
        return {**asdict(self.case), **values, "counts": list(self.counts)}


def load_all(path: Path) -> list[Run]:
    """The run in a file, or the runs in the JSON files of a folder, in the order of their names.

    Raises
    ------
    UsageError
        As `load`, or if the folder has no such files.
    """
    if not path.is_dir():
        return [load(path)]
    files = sorted(path.glob("*.json"))
    if not files:
        raise UsageError(f"{path}: expected a folder with the JSON results of a benchmark, found none in it")
    return [load(file) for file in files]


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
    fastest: dict[Key, float] = {}
    try:
        for row in document["results"]:
            case = Case(**{name.name: row[name.name] for name in fields(Case)})
            key = case, row["engine"]
            turns[key] = turn_medians(row["times_ms"], row["passes"], row["turns"])
            times = np.asarray(row["times_ms"], float) / np.asarray(row["passes"], float)
            fastest[key] = float(np.quantile(times, _FASTEST))
        return Run(path, turns, fastest, document["environment"])
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


def compare(before: Sequence[Run], after: Sequence[Run]) -> list[Comparison]:
    """Compares the cases that all runs have, in the order of the first run.

    Run i of `before` and run i of `after` are a pair.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    UsageError
        If the numbers of runs differ, or the runs have no case in common.
    """
    if len(before) != len(after):
        raise UsageError(f"expected as many runs before as after, got {len(before)} and {len(after)}")
    runs = [*before, *after]
    keys = [key for key in before[0].turns if all(key in run.turns for run in runs)]
    if not keys:
        paths = ", ".join(dict.fromkeys(str(run.path) for run in runs))
        raise UsageError(f"{paths}: expected results of the same cases, but they have none in common")
    compare_case = _compare_turns if len(before) == 1 else _compare_pairs
    found = [compare_case(key, before, after) for key in keys]
    corrected = _holm([comparison.p for comparison in found])
    return [_judged(c, p, len(keys)) for c, p in zip(found, corrected, strict=True)]


def _judged(comparison: Comparison, p: float, cases: int) -> Comparison:
    """The comparison with its corrected p-value and its verdict."""
    verdict = SAME
    of_turns = comparison.unit == TURNS
    if (_least_p_of_turns if of_turns else _least_p_of_pairs)(*comparison.counts) >= ALPHA / cases:
        verdict = TOO_FEW
    elif p < ALPHA and not (of_turns and abs(math.log(comparison.ratio)) <= math.log1p(comparison.noise)):
        verdict = SLOWER if comparison.ratio > 1 else FASTER
    return replace(comparison, p=p, verdict=verdict)


def _compare_pairs(key: Key, before: Sequence[Run], after: Sequence[Run]) -> Comparison:
    """Compares several runs of each program."""
    from scipy import stats

    old, new = (np.log([run.fastest[key] for run in runs]) for runs in (before, after))
    changes = new - old
    # Of equal runs, the test has nothing to rank.
    p = float(stats.wilcoxon(changes).pvalue) if changes.any() else 1.0
    rng = np.random.default_rng(0)
    resampled = np.median(rng.choice(changes, (_RESAMPLES, len(changes))), axis=1)
    low, high = np.exp(np.percentile(resampled, (2.5, 97.5)))
    # Of the same program; what differs between the programs cancels.
    steps = np.abs(np.concatenate([np.diff(old), np.diff(new)]))
    return Comparison(
        *key,
        before_ms=math.exp(np.median(old)),
        after_ms=math.exp(np.median(new)),
        ratio=math.exp(np.median(changes)),
        low=float(low),
        high=float(high),
        p=p,
        noise=math.expm1(float(np.median(steps))),
        unit=RUNS,
        counts=(len(before), len(after)),
        verdict=SAME,
    )


def _compare_turns(key: Key, runs_before: Sequence[Run], runs_after: Sequence[Run]) -> Comparison:
    """Compares one run of each program."""
    before, after = runs_before[0].turns[key], runs_after[0].turns[key]
    low, high = _interval(before, after)
    return Comparison(
        *key,
        before_ms=float(np.median(before)),
        after_ms=float(np.median(after)),
        ratio=float(np.median(after) / np.median(before)),
        low=low,
        high=high,
        p=_p_value(before, after),
        noise=math.expm1(max(_half_difference(before), _half_difference(after))),
        unit=TURNS,
        counts=(len(before), len(after)),
        verdict=SAME,
    )


def _p_value(before: Turns, after: Turns) -> float:
    """The two-sided p-value of the Mann-Whitney test, for turns that are correlated with their neighbours."""
    from scipy import stats

    p = stats.mannwhitneyu(before, after).pvalue
    # The variance of a mean of correlated values is larger by the inflation: so is that of the rank sum.
    z = stats.norm.isf(p / 2) / math.sqrt(_inflation(before, after))
    return float(2 * stats.norm.sf(z))


def _least_p_of_turns(before: int, after: int) -> float:
    """The smallest p-value that the Mann-Whitney test can give for these numbers of turns."""
    return 2 / math.comb(before + after, before)


def _least_p_of_pairs(before: int, after: int) -> float:
    """The smallest p-value that the signed-rank test can give for this number of pairs."""
    return float(2 / 2**before)


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


def _holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's method."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    corrected[order] = np.maximum.accumulate(np.minimum(1, factors * np.asarray(p_values)[order]))
    return [float(p) for p in corrected]
