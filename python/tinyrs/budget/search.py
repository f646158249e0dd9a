"""`fit_to_budget`: the most accurate model within a latency and a size."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network
from tinyrs.budget.candidates import Budget, Candidate
from tinyrs.budget.latencies import FINAL_SECONDS, FORMATS, StudentMeter
from tinyrs.budget.result import BudgetSearch
from tinyrs.budget.store import Store
from tinyrs.budget.students import (
    DistillationData,
    distillation_data,
    new_student,
    only_columns,
    train_student,
)
from tinyrs.budget.teacher import Teacher, take, teacher_probabilities, train_teacher, unfitted
from tinyrs.classifier.data import (
    MIN_ROWS_TO_SPLIT,
    Indices,
    check_labels,
    class_indices,
    native_table,
    train_validation_split,
)
from tinyrs.history import Record, progress_bar
from tinyrs.predictor import Predictor, load
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.preprocessor_fit import fit_table
from tinyrs.tabular.sources import read_frame
from tinyrs.tabular.tables import Table
from tinyrs.tabular.type_checks import is_frame, is_sparse
from tinyrs.tuning.basic_metrics import accuracy, log_loss
from tinyrs.tuning.importance import permutation_importance

# The epochs of each round of successive halving, as a share of a full training. After each round, the better
# half goes on.
ROUNDS = (0.25, 0.5, 1.0)
# Some students do without the columns whose shuffling raises the teacher's log loss by less than this share
# of the sum over all columns.
UNIMPORTANT = 0.01
# How many rows are used to time calls, and to find unimportant columns.
TIMED_ROWS, IMPORTANCE_ROWS = 256, 2000
# The share of the time limit for the teacher.
TEACHER_SHARE = 0.4


def fit_to_budget(
    X: Any,
    y: npt.ArrayLike,
    *,
    max_us: float | None = None,
    max_bytes: int | None = None,
    batch_size: int = 1,
    percentile: int = 50,
    max_drop: float | None = None,
    formats: Sequence[str] = FORMATS,
    teacher: Teacher | None = None,
    time_limit: float | None = None,
    refit: bool = True,
    validation_fraction: float = 0.2,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
    n_threads: int | None = None,
    random_state: int = 0,
) -> BudgetSearch:
    """Trains the most accurate model within a latency and a size, both measured on this machine.

    A teacher is trained without a limit. Students of several depths, widths, formats of weights and
    selections of columns, all within the budget, learn its probabilities (distillation), also on new rows
    that are made of cells of others. In successive halving (Jamieson and Talwalkar, 2016), the better half
    goes on to a longer training. The result is the student that is most accurate on held-out rows; of those
    within a standard error of the highest accuracy, the one with the lowest log loss. These rows chose
    it among many, so its scores are slightly optimistic.

    Ctrl-C ends the search with the best student so far. With `checkpoint`, the next call with the same data
    and arguments continues where this one ended.

    Parameters
    ----------
    X : array or data frame of shape (rows, columns)
    y : array of shape (rows,)
    max_us : float, optional
        The largest latency of a call, in microseconds.
    max_bytes : int, optional
        The largest size of the model file, in bytes.
    batch_size : int
        1 times `predict_one` with a list, more times `predict_proba` with this many rows.
    percentile : {50, 99}
        Which percentile of the latency counts.
    max_drop : float, optional
        The largest loss of accuracy against the teacher, on held-out rows.
    formats : sequence of {"f32", "f16", "bf16", "int8", "int8_weights"}
        The formats of the weights to try.
    teacher : classifier, optional
        A fitted classifier of any library with `classes_` and `predict_proba`. If it was trained on the rows
        that are held out, its own scores and `max_drop` mean little; students are scored on the true labels.
        Or a `TinyClassifier` that is not fitted, by default one of four networks: it is trained on the rows
        that are not held out, and for `refit` on all rows.
    time_limit : float, optional
        About how many seconds the search may take. It ends with the students that are finished, at least
        one.
    refit : bool
        Train the best student, and the default teacher, once more on all rows.
    validation_fraction : float
        The share of rows that are held out to compare the candidates.
    checkpoint : str or path, optional
        A folder for the models that are trained: those that are already there are not trained again.
    progress : bool
        Whether to show a progress bar on standard error; needs tqdm.
    n_threads : int, optional
        For training.
    random_state : int

    Returns
    -------
    BudgetSearch

    Raises
    ------
    TypeError
        If X is sparse or neither an array nor a data frame.
    ValueError
        If no limit is given or one is not positive, y is multilabel or has missing labels, X has fewer than
        50 rows, or the teacher does not fit y.
    OSError
        If the folder of `checkpoint` cannot be written.
    """
    budget = Budget(max_us, max_bytes, batch_size, percentile)
    end = math.inf if time_limit is None else time.perf_counter() + time_limit
    X, labels = _read(X, y)
    classes = np.unique(labels)
    targets = class_indices(labels, classes)
    rng, store = np.random.RandomState(random_state), Store(checkpoint)
    rows, held_out = train_validation_split(targets, validation_fraction, rng)
    assert held_out is not None
    template = unfitted(teacher)
    if template is not None:
        limit = math.inf if time_limit is None else TEACHER_SHARE * time_limit
        part = take(X, rows), labels[rows]
        teacher = train_teacher(template, *part, limit, random_state, n_threads, store)
    assert teacher is not None
    preprocessor = _preprocessor(teacher, X, rows)
    known = take(X, held_out)
    p = teacher_probabilities(teacher, known, classes)
    found = BudgetSearch(
        budget, accuracy(targets[held_out], p), log_loss(targets[held_out], p), len(held_out), max_drop
    )
    names = tuple(read_frame(known).columns) if is_frame(known) else None
    meter = StudentMeter(budget, _timed_calls(known, batch_size), classes, names, formats, random_state)

    def data_from(
        teacher: Teacher, rows: Indices, held_out: Indices | None, preprocessor: Preprocessor
    ) -> DistillationData:
        return distillation_data(
            teacher, X, targets, rows, held_out, preprocessor, classes, seed=random_state, n_threads=n_threads
        )

    search = _Search(data_from(teacher, rows, held_out, preprocessor), meter, found, end, store)
    try:
        search.run(_selections(teacher, known, targets[held_out], classes, preprocessor.n_columns), progress)
        search.choose()
        if found.best is None or not refit:
            return found
        if template is not None:
            remaining = end - time.perf_counter()
            if remaining <= 0:
                return found
            teacher = train_teacher(template, X, labels, remaining, random_state, n_threads, store)
        search.refit(data_from(teacher, np.arange(len(labels)), None, preprocessor))
    except KeyboardInterrupt:
        found.complete = False
        if found.best is None:
            search.choose()
        if found.best is None:
            raise
    return found


@dataclass
class _Student:
    """An architecture of the search, with the formats of weights in which it fits."""

    hidden: tuple[int, ...]
    preprocessor: Preprocessor
    columns: Indices
    formats: list[str]


class _Search:
    """Trains and measures students."""

    def __init__(
        self, data: DistillationData, meter: StudentMeter, found: BudgetSearch, end: float, store: Store
    ) -> None:
        self.data, self.meter, self.found, self.end, self.store = data, meter, found, end, store
        # The latest candidate of each student and format, and its model.
        self.models: dict[tuple[tuple[int, ...], int, str], tuple[Candidate, Predictor, _Student]] = {}

    def run(self, selections: list[Indices], progress: bool) -> None:
        """Successive halving over the students of these selections of columns."""
        students = []
        for columns in selections:
            preprocessor = only_columns(self.data.preprocessor, columns)
            sizes = self.meter.sizes(preprocessor)
            students += [_Student(h, preprocessor, columns, formats) for h, formats in sizes.items()]
        total = sum(math.ceil(len(students) / 2**i) for i in range(len(ROUNDS)))
        with progress_bar(total, "students", "student", shown=progress) as advance:
            for share in ROUNDS:
                losses = []
                for student in students:
                    loss = self._train(student, share)
                    if loss is None:
                        return
                    losses.append(loss)
                    advance(self._leader())
                order = np.argsort(losses, kind="stable")
                students = [students[i] for i in order[: math.ceil(len(students) / 2)]]
        self.found.complete = True

    def _train(self, student: _Student, share: float) -> float | None:
        """Trains a student for a share of the epochs; its lowest log loss, or None if the time was over."""
        epochs = max(1, round(share * self.data.epochs))
        network = self._trained(student, self.data, epochs)
        if network is None or self.data.held_out is None:
            return None
        encoded, targets = self.data.held_out
        losses = []
        for weights in student.formats:
            predictor = self.meter.predictor(network, student.preprocessor, weights)
            latency, n_bytes = self.meter.latency(predictor), len(predictor.to_bytes())
            p = predictor._probabilities(encoded)
            candidate = Candidate(
                student.hidden,
                weights,
                len(student.columns),
                n_bytes,
                latency.p50_us,
                latency.p99_us,
                accuracy(targets, p),
                log_loss(targets, p),
                epochs,
                self.meter.allows(latency, n_bytes),
            )
            self._keep(candidate, predictor, student)
            losses.append(candidate.log_loss)
        return min(losses)

    def _trained(self, student: _Student, data: DistillationData, epochs: int) -> Network | None:
        """The trained network of a student; None if the time was over before the last epoch."""
        if self._over():
            return None
        trained_from = data.digest, student.hidden, student.columns, epochs
        return self.store.get("student", trained_from, lambda: self._train_new(student, data, epochs), load)

    def _train_new(self, student: _Student, data: DistillationData, epochs: int) -> Network | None:
        network = new_student(student.hidden, student.preprocessor, len(data.classes), data.seed)
        over = False

        def stop(record: Record) -> bool:
            nonlocal over
            over = self._over() and record["epoch"] + 1 < epochs
            return over

        train_student(network, data, student.preprocessor, epochs, stop)
        return None if over else network

    def _over(self) -> bool:
        """Whether the time is over; the first student is always finished."""
        return bool(self.models) and time.perf_counter() > self.end

    def _ranking(self) -> list[tuple[Candidate, Predictor, _Student]]:
        """The candidates within the budget, the best first.

        Those whose accuracy is within a standard error of the highest come first, by their log loss, which
        depends less on chance; then the others by their accuracy. On 29 folds of small sets, the students
        that half a standard error chose were 1.9 +- 0.9 points less accurate on the test rows.
        """
        found = self.found
        least = -math.inf if found.max_drop is None else found.teacher_accuracy - found.max_drop
        fitting = [m for m in self.models.values() if m[0].fits and m[0].accuracy >= least]
        highest = max((m[0].accuracy for m in fitting), default=0.0)
        margin = math.sqrt(highest * (1 - highest) / found.held_out_rows)

        def rank(model: tuple[Candidate, Predictor, _Student]) -> tuple[float, float]:
            candidate = model[0]
            return -min(candidate.accuracy, highest - margin), candidate.log_loss

        return sorted(fitting, key=rank)

    def _leader(self) -> str:
        ranking = self._ranking()
        if not ranking:
            return ""
        best = ranking[0][0]
        return f"{best.accuracy:.2%} in {best.p50_us:.2f} us, {best.n_bytes:,} bytes"

    def choose(self) -> None:
        """Sets the best candidate: the first of the ranking that still fits when it is timed for longer."""
        for candidate, predictor, student in self._ranking():
            latency = self.meter.latency(predictor, FINAL_SECONDS)
            fits = self.meter.allows(latency, candidate.n_bytes)
            timed = replace(candidate, p50_us=latency.p50_us, p99_us=latency.p99_us, fits=fits)
            self._keep(timed, predictor, student)
            if fits:
                self.found.best, self.found._predictor = timed, predictor
                return

    def _keep(self, candidate: Candidate, predictor: Predictor, student: _Student) -> None:
        """Adds a candidate; it replaces an earlier one of the same student and format."""
        key = candidate.hidden_layer_sizes, candidate.n_columns, candidate.weights
        self.models[key] = candidate, predictor, student
        self.found.candidates = [candidate for candidate, _, _ in self.models.values()]

    def refit(self, data: DistillationData) -> None:
        """Trains the best student again on `data`, if there is time."""
        best = self.found.best
        assert best is not None
        _, _, student = self.models[best.hidden_layer_sizes, best.n_columns, best.weights]
        network = self._trained(student, data, best.epochs)
        if network is not None:
            self.found._predictor = self.meter.predictor(network, student.preprocessor, best.weights)
            self.found.refitted = True


def _read(X: Any, y: npt.ArrayLike) -> tuple[Any, npt.NDArray[Any]]:
    """X as a data frame or an array, and y as labels (rows,)."""
    if is_sparse(X):
        raise TypeError("X: expected an array or a data frame, got a sparse matrix: pass X.toarray()")
    X = native_table(X)
    check_labels(y)
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) != len(X):
        raise ValueError(f"y: expected one label for each of {len(X)} rows, got shape {labels.shape}")
    if len(X) < MIN_ROWS_TO_SPLIT:
        raise ValueError(f"X: expected at least {MIN_ROWS_TO_SPLIT} rows, got {len(X)}")
    return X, labels


def _preprocessor(teacher: Teacher, X: Any, rows: Indices) -> Preprocessor:
    """That of the teacher, or one fitted to the training rows."""
    own = getattr(teacher, "preprocessor_", None)
    return own if isinstance(own, Preprocessor) else fit_table(Table.read(take(X, rows)), [])


def _selections(
    teacher: Teacher, X: Any, targets: Indices, classes: npt.NDArray[Any], n_columns: int
) -> list[Indices]:
    """Columns to learn from: all, and if some columns say next to nothing, all but those."""
    # A table of row numbers, so that any kind of table can be shuffled.
    cells = np.tile(np.arange(len(X))[:, np.newaxis], (1, n_columns))

    def loss(shuffled: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> float:
        return log_loss(targets[rows], teacher_probabilities(teacher, take(X, shuffled), classes))

    columns = [[i] for i in range(n_columns)]
    found = permutation_importance(cells, columns, loss, repeats=1, max_rows=IMPORTANCE_ROWS).mean(axis=1)
    useful = np.flatnonzero(found > UNIMPORTANT * np.maximum(found, 0).sum())
    everything = np.arange(n_columns)
    return [everything] if len(useful) in (0, n_columns) else [everything, useful]


def _timed_calls(X: Any, batch_size: int) -> list[Any]:
    """The inputs of timed calls: rows as lists, or one frame or array of `batch_size` rows."""
    count = TIMED_ROWS if batch_size == 1 else batch_size
    rows = take(X, np.resize(np.arange(len(X)), count))
    if batch_size > 1:
        return [rows]
    return [
        list(row) for row in (rows.tolist() if isinstance(rows, np.ndarray) else read_frame(rows).iter_rows())
    ]
