"""`BudgetSearch`: what `fit_to_budget` found."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinyrs.budget.candidates import Budget, Candidate, front, table
from tinyrs.predictor import Predictor


@dataclass
class BudgetSearch:
    """What `fit_to_budget` found.

    Attributes
    ----------
    budget : Budget
    candidates : list of Candidate
        Every student that was measured.
    best : Candidate or None
        The best one within the budget; None if none is.
    teacher_accuracy, teacher_log_loss : float
        Of the teacher, on the same held-out rows.
    held_out_rows : int
    complete : bool
        Whether the search ran to its end: no interrupt, and enough time.
    refitted : bool
        Whether the best student was trained once more with all rows; its scores are from before that.
    """

    budget: Budget
    teacher_accuracy: float
    teacher_log_loss: float
    held_out_rows: int
    max_drop: float | None = None
    candidates: list[Candidate] = field(default_factory=list)
    best: Candidate | None = None
    complete: bool = False
    refitted: bool = False
    _predictor: Predictor | None = None

    @property
    def predictor(self) -> Predictor:
        """The model for deployment.

        Raises
        ------
        ValueError
            If nothing fits the budget: the message says what comes nearest.
        """
        if self._predictor is None:
            raise ValueError(self.verdict())
        return self._predictor

    @property
    def front(self) -> list[Candidate]:
        """The candidates that no other one beats in latency, size and accuracy, the fastest first."""
        return front(self.candidates)

    def verdict(self) -> str:
        """What was found, in a sentence."""
        if self.best is not None:
            difference = self.best.accuracy - self.teacher_accuracy
            return (
                f"{self.best}: {self.best.p50_us:.2f} us (p99 {self.best.p99_us:.2f}), "
                f"{self.best.n_bytes:,} bytes, accuracy {self.best.accuracy:.4f} "
                f"({difference:+.4f} against the teacher)"
            )
        fitting = [c for c in self.candidates if c.fits]
        if fitting:
            best = max(fitting, key=lambda c: c.accuracy)
            return (
                f"no model fits: the best one within {self.budget} is "
                f"{self.teacher_accuracy - best.accuracy:.4f} less accurate than the teacher, more than "
                f"max_drop={self.max_drop:g}"
            )
        if not self.complete:
            return f"no model within {self.budget} was finished in time"
        return f"no model fits: even one without hidden layers is not within {self.budget}"

    def __str__(self) -> str:
        teacher = f"teacher: accuracy {self.teacher_accuracy:.4f}, log loss {self.teacher_log_loss:.4f}"
        note = "" if self.complete else "\nThe search was stopped early."
        return f"{table(self.candidates)}\n{teacher}, on {self.held_out_rows:,} rows\n{self.verdict()}{note}"
