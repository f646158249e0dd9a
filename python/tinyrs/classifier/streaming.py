"""`TinyClassifier.fit` on a path, a dataset or a function, whose rows need not fit in memory.

One pass takes note of the columns and the classes, and chooses validation rows by the hash of their numbers.
Each epoch reads the rows again, with the parts of a dataset in a new order.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from tinyrs.classifier import fitting
from tinyrs.classifier.data import class_indices, n_folds
from tinyrs.classifier.deadline import Deadline
from tinyrs.classifier.evaluation import EvaluationSet, read_pairs
from tinyrs.classifier.memory_plan import MemoryPlan, RowCost
from tinyrs.classifier.streamed_rows import Encoding, HeldOutRows, StreamedRows
from tinyrs.classifier.training import fit_members, set_precision
from tinyrs.history import row_bar
from tinyrs.ordered_map import read_ahead
from tinyrs.tabular.column_notes import ColumnWarning, column_warnings
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.row_sample import RowSample
from tinyrs.tabular.row_source import RowSource, SourceRows
from tinyrs.tabular.streamed_statistics import StreamedStatistics
from tinyrs.tabular.tables import Table
from tinyrs.tuning.metrics import Metric, TrueLabels, read_metrics
from tinyrs.tuning.sklearn_callbacks import with_callbacks

if TYPE_CHECKING:
    from tinyrs.classifier.estimator import TinyClassifier

MAX_CLASSES = 10_000


def load_if_small(draft: TinyClassifier, source: RowSource, max_memory: int) -> SourceRows | RowCost:
    """All rows, if `fit` of them takes up to `max_memory` bytes; else what a row takes.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    draft._validate_params()
    categorical = fitting.categorical_indices(draft, source.names)
    held, n_rows, cost = list[SourceRows](), 0, None
    with closing(read_ahead(source.batches())) as batches:
        for rows in batches:
            if cost is None:
                cost = RowCost.of(rows, categorical)
            held.append(rows)
            n_rows += len(rows.numbers)
            if n_rows * cost.in_memory > max_memory:
                return cost
    if not held:
        raise ValueError("X: expected rows, got none")
    return SourceRows.concatenated(held)


@with_callbacks
def fit(
    draft: TinyClassifier,
    source: RowSource,
    eval_set: Any,
    eval_metric: Metric | Sequence[Metric],
    max_memory: int,
    cost: RowCost,
) -> None:
    """`TinyClassifier.fit` on a draft, with rows that are read again in each epoch."""
    deadline = Deadline(draft.max_time)
    metrics, pairs = read_metrics(eval_metric), read_pairs(eval_set)
    plan = MemoryPlan.of(max_memory, cost, source.largest_part(), draft.batch_size)
    rng = check_random_state(draft.random_state)
    rows = _streamed_rows(draft, source, plan, int(rng.randint(2**31 - 1)), held_out=not pairs)
    if pairs:
        rows = replace(rows, evaluation=[fitting.evaluation_set(draft, *pair) for pair in pairs])
    if draft.verbose:
        print(
            f"fit: {rows.n_rows:,} rows would need about {rows.n_rows * cost.in_memory / 1e6:,.0f} MB, more "
            f"than max_memory = {max_memory / 1e6:,.0f} MB: reads them again in each epoch, shuffles within "
            f"{min(plan.buffer, rows.n_rows):,} rows, validates on {sum(rows.held_out.n_rows):,}",
            file=sys.stderr,
        )
    fit_members(draft, rows, metrics, deadline, rng)


@dataclass
class _FirstPass:
    """What the first pass over the rows finds.

    Attributes
    ----------
    classes : dict
        The number of rows and the sum of the weights of each class.
    """

    statistics: StreamedStatistics
    sample: RowSample
    classes: dict[Any, npt.NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def over(cls, draft: TinyClassifier, source: RowSource, sample: RowSample) -> _FirstPass:
        """Reads all rows."""
        found = cls(StreamedStatistics(fitting.categorical_indices(draft, source.names)), sample)
        # In another thread: KeyboardInterrupt would not come through a reader of pyarrow.
        with (
            row_bar(source.n_rows(), "columns", shown=bool(draft.verbose)) as advance,
            closing(read_ahead(source.batches())) as batches,
        ):
            for rows in batches:
                found.add(rows)
                advance(len(rows.numbers))
        return found

    def add(self, rows: SourceRows) -> None:
        """Takes note of some rows.

        Raises
        ------
        ValueError
            If a value is not of the kind of its column, or the labels are not classes.
        """
        rows.read(self.statistics.add)
        self.sample.add(rows.numbers, rows.table)
        if not self.classes:
            check_classification_targets(rows.labels)
        found, inverse = rows.distinct_labels()
        sums = np.stack([np.bincount(inverse, weights) for weights in (None, rows.weights)], axis=1)
        for label, of_label in zip(found.tolist(), sums, strict=True):
            self.classes[label] = self.classes.get(label, 0) + of_label
        if len(self.classes) > MAX_CLASSES:
            raise ValueError(f"y: expected at most {MAX_CLASSES:,} classes, got more")


def _streamed_rows(
    draft: TinyClassifier, source: RowSource, plan: MemoryPlan, seed: int, *, held_out: bool
) -> StreamedRows:
    """Reads all rows once; sets what `fit` learns of the columns and the classes.

    With `held_out`, some rows are held out for validation, if `early_stopping` is set.
    """
    found = _FirstPass.over(draft, source, RowSample(plan.sample, seed))
    sampled, numbers = found.sample.rows()
    sample = SourceRows(numbers, sampled, source.target, source.weight)
    validate_data(draft, sample.columns, reset=True, skip_check_array=True)
    draft.classes_, draft._multilabel = np.array(sorted(found.classes), sample.labels.dtype), False
    n_rows, n_held_out = found.statistics.n_rows, 0
    if not hasattr(draft, "_precision") or not draft.warm_start:
        set_precision(draft, n_rows)
    if not (draft.warm_start and hasattr(draft, "network_")):
        draft.preprocessor_ = _preprocessor(found.statistics, Table.read(sample.columns), sample.weights)
    if not isinstance(draft.preprocessor_, Preprocessor):
        raise ValueError("warm_start: expected a classifier of tables, got one of sparse matrices")
    counts, weights = np.transpose([found.classes[label] for label in draft.classes_.tolist()])
    encoding = Encoding(draft.preprocessor_, draft.classes_, _class_weights(draft, counts), draft._precision)
    if draft.early_stopping and held_out:
        n_members = draft.n_ensemble
        share = draft.validation_fraction if n_members == 1 else n_members / n_folds(n_rows, n_members)
        n_held_out = min(int(share * n_rows), plan.validation, len(numbers))
    held_out_rows, sets = _held_out(encoding, sample.take(np.arange(n_held_out)), seed, draft.n_ensemble)
    return StreamedRows(
        source=source,
        encoding=encoding,
        held_out=held_out_rows,
        plan=plan,
        n_rows=n_rows,
        evaluation=sets,
        class_frequencies=weights / weights.sum(),
        verbose=bool(draft.verbose),
    )


def _preprocessor(
    statistics: StreamedStatistics, sample: Table, weights: npt.NDArray[np.float64] | None
) -> Preprocessor:
    """How the columns are encoded; a ColumnWarning names columns that are of no use or misleading."""
    preprocessor = statistics.preprocessor(sample, weights)
    for message in column_warnings(sample, preprocessor):
        warnings.warn(message, ColumnWarning, stacklevel=6)  # at the caller of `fit`
    return preprocessor


def _held_out(
    encoding: Encoding, rows: SourceRows, seed: int, n_members: int
) -> tuple[HeldOutRows, list[EvaluationSet]]:
    """The validation rows as an evaluation set, in which those of each network stand together."""
    targets = class_indices(rows.labels, encoding.classes)
    held_out = HeldOutRows.of(rows.numbers, targets, seed, n_members)
    if not len(targets):
        return held_out, []
    order = np.argsort(held_out.members(rows.numbers), kind="stable")
    rows = rows.take(order)
    encoded, targets, weights = encoding.encode(rows)
    true = TrueLabels(rows.labels, targets, encoding.classes)
    ends = np.cumsum(held_out.n_rows)
    parts = [slice(end - n, end) for end, n in zip(ends.tolist(), held_out.n_rows, strict=True)]
    data = encoding.dataset(encoded, targets, weights)
    return held_out, [EvaluationSet(data, true, encoded, parts)]


def _class_weights(draft: TinyClassifier, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """The weight of each class, at most 1; None if all are equal. `counts` are the rows of each class."""
    if draft.class_weight is None:
        return None
    if draft.class_weight == "balanced":
        weights = 1 / counts
    else:
        weights = compute_class_weight(draft.class_weight, classes=draft.classes_, y=draft.classes_)
    refused = weights[~((weights > 0) & np.isfinite(weights))]
    if refused.size:
        raise ValueError(
            f"class_weight: expected finite weights above 0 for rows that do not fit in max_memory, got "
            f"{refused[0]}"
        )
    return np.asarray(weights / weights.max())
