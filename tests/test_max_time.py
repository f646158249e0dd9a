"""`TinyClassifier(max_time=)`, with a clock that the test sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tinyrs import TinyClassifier
from tinyrs.classifier import deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock on which each epoch of the first training takes a second, and nothing else takes time."""

    class Clock:
        now = 0.0

        def tick(self, record: Any) -> bool:
            self.now += 1
            return False

    clock = Clock()
    monkeypatch.setattr(deadline, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(200, 3))
    return X, X[:, 0] > 0


def fit(clock: Any, data: Any, **options: Any) -> TinyClassifier:
    chosen: dict[str, Any] = {
        "n_ensemble": 1,
        "n_layers": 1,
        "width": 8,
        "max_iter": 30,
        "random_state": 0,
        "schedule": "constant",
    } | options
    return TinyClassifier(callbacks=[clock.tick], **chosen).fit(*data)


@pytest.mark.parametrize("n_ensemble", [1, 3])
def test_training_ends_in_time(clock: Any, data: Any, n_ensemble: int) -> None:
    model = fit(clock, data, max_time=10, n_ensemble=n_ensemble, refit=False)
    assert model.n_iter_ == 10
    assert model.best_iteration_ < 10
    assert fit(clock, data, max_time=30, n_ensemble=n_ensemble, refit=False).n_iter_ == 30
    assert fit(clock, data, n_ensemble=n_ensemble, refit=False).n_iter_ == 30


def test_one_epoch_always_runs(clock: Any, data: Any) -> None:
    assert fit(clock, data, max_time=1e-9).n_iter_ == 1


def test_time_is_left_for_the_refit(clock: Any, data: Any) -> None:
    # An epoch of the refit has 200 rows rather than 160. The first candidate is the second of 30 epochs.
    model = fit(clock, data, max_time=10, schedule="coslog4")
    assert model._held_out is not None
    assert model._held_out.refitted
    assert 5 <= model.n_iter_ <= 10 - 1.25 * 2 + 1


def test_before_the_first_candidate_only_as_many_epochs_may_follow(clock: Any, data: Any) -> None:
    # The first candidate is the 19th of 300 epochs: after 16 others, 17 and their refit would take 38 s.
    model = fit(clock, data, max_time=36, schedule="coslog4", max_iter=300)
    assert (model.n_iter_, model.best_iteration_) == (16, 15)
    assert model._held_out is not None
    assert model._held_out.refitted


def test_a_refit_that_takes_too_long_is_left_out(
    clock: Any, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = fit(clock, data, max_time=100, refit=False)
    # On this clock every look takes 20 seconds, once the first training is over.
    looks = iter(range(1000))

    def slow() -> float:
        now: float = clock.now
        return now if now - start < 30 else now + 20 * next(looks)

    start = clock.now
    monkeypatch.setattr(deadline, "monotonic", slow)
    model = fit(clock, data, max_time=100)
    assert model._held_out is not None
    assert not model._held_out.refitted
    np.testing.assert_array_equal(model.predict_proba(data[0]), without.predict_proba(data[0]))


def test_max_time_is_positive(clock: Any, data: Any) -> None:
    with pytest.raises(ValueError, match="max_time"):
        fit(clock, data, max_time=0)
