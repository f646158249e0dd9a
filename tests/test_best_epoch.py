"""The choice of the epoch to keep, and the refit on all rows up to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss
from tinyrs import TinyClassifier
from tinyrs.tuning.epoch_selection import BestEpoch, candidate_epochs, row_losses


class Counter:
    """Stands in for a network: its parameters are the number of the epoch."""

    def __init__(self) -> None:
        self.value: Any = 0

    def parameters(self) -> Any:
        return self.value

    def set_parameters(self, value: Any) -> None:
        self.value = value


def kept(losses: list[Any], epochs: Any) -> int:
    """The epoch that is kept, given the losses of the validation rows after each epoch."""
    network = Counter()
    checkpoint = BestEpoch(
        network,
        epochs,
        lambda: np.atleast_1d(np.asarray(losses[network.value], dtype=float)),
    )
    for epoch in range(len(losses)):
        network.value = epoch
        assert checkpoint({"epoch": epoch}) is False  # type: ignore[typeddict-item]
    epoch = checkpoint.restore()
    assert network.value == epoch == checkpoint.epoch
    return epoch


def test_the_candidates_of_a_cyclic_schedule_are_the_ends_of_its_cycles() -> None:
    assert candidate_epochs("coslog4", 15) == {0, 2, 6, 14}
    assert candidate_epochs("coslog4", 256) == {16, 50, 118, 255}
    assert candidate_epochs("coslog4", 2) == {0, 1}
    assert candidate_epochs("constant", 3) == {0, 1, 2}


def test_the_best_epoch_is_kept_and_the_last_of_equal_ones() -> None:
    assert kept([0.9, 0.7, 0.8], range(3)) == 1
    assert kept([0.7, 0.9, 0.7], range(3)) == 2
    assert kept([0.9, 0.1, 0.8, 0.2], {0, 2}) == 3  # the last epoch is a candidate too
    assert kept([0.9, 0.1, 0.8, 0.9], {0, 2}) == 2


def test_a_later_epoch_may_be_half_a_standard_error_worse() -> None:
    lowest = np.zeros(100)
    # Differences with mean m and standard deviation 1: half a standard error of their mean is 0.05.
    noise = np.where(np.arange(100) % 2, 1.0, -1.0)
    assert kept([lowest, noise + 0.049, noise + 0.051], range(3)) == 1
    # Tolerances do not add up: each epoch is compared with the best one.
    assert kept([lowest, noise + 0.04, noise + 0.08], range(3)) == 1
    assert kept([lowest, noise + 0.04, lowest - 1, noise - 0.96], range(4)) == 3
    # The same worse loss in every row is no noise.
    assert kept([lowest, lowest + 1e-9], range(2)) == 0


def test_training_stops_after_a_candidate_that_is_a_standard_error_worse() -> None:
    lowest = np.zeros(100)
    noise = np.where(np.arange(100) % 2, 1.0, -1.0)  # the standard error of a mean difference is 0.1
    rows = [lowest, noise + 5, noise + 0.09, noise + 0.11]
    now = 0

    def stopped(stops: bool, candidates: Any, losses: list[Any]) -> list[int]:
        nonlocal now
        best, asked = BestEpoch(Counter(), candidates, lambda: losses[now], stops=stops), []
        for now in range(len(losses)):
            if best({"epoch": now}):  # type: ignore[typeddict-item]
                asked.append(now)
        return asked

    # Epoch 1 is not a candidate, and epoch 2 is near enough.
    assert stopped(True, {0, 2, 3}, rows) == [3]
    assert stopped(False, {0, 2, 3}, rows) == []
    assert stopped(True, {0, 1}, [np.array([0.1]), np.array([0.9])]) == []


def test_an_overfitted_network_ends_the_training_at_the_end_of_a_cycle() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 10))
    y = X[:, 0] + 2 * rng.normal(size=900) > 0
    model = TinyClassifier(
        max_iter=60, width=64, learning_rate_init=0.2, batch_size=32, precision="f32", random_state=0
    ).fit(X[:100], y[:100], eval_set=(X[100:], y[100:]))
    assert model.n_iter_ - 1 in candidate_epochs("coslog4", 60) - {59}


def test_the_losses_of_validation_rows() -> None:
    z = np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    targets, weights = np.array([0, 1, 0]), np.array([1.0, 2.0, 3.0])
    plain = -np.log((np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))[range(3), targets])
    np.testing.assert_allclose(row_losses(z, targets, calibrate=False), plain)
    np.testing.assert_allclose(row_losses(z, targets, weights, calibrate=False), plain * weights / 2)
    # After calibration, how certain the network is does not count.
    np.testing.assert_allclose(row_losses(5 * z, targets), row_losses(z, targets), rtol=1e-6)
    np.testing.assert_array_equal(row_losses(z, targets, by_accuracy=True), [0, 1, 0])
    labels = np.array([[1, 0], [1, 1]])
    np.testing.assert_array_equal(row_losses(z[:2, :2] - 0.5, labels, by_accuracy=True), [0, 1])


def test_a_metric_that_is_nan_after_every_epoch_keeps_the_last_one() -> None:
    assert kept([np.inf, np.inf], range(2)) == 0


def small(**options: Any) -> TinyClassifier:
    chosen = {"n_ensemble": 1, "n_layers": 1, "width": 16, "max_iter": 15, "random_state": 0} | options
    return TinyClassifier(**chosen)


def on_all_rows(**options: Any) -> TinyClassifier:
    """A classifier that trains on all rows, with the seed that `fit` draws after the seed of the split."""
    rng = np.random.RandomState(0)
    rng.randint(2**31 - 1)
    return small(early_stopping=False, random_state=rng, **options)


@pytest.mark.parametrize("stop", [14, 4])
def test_a_refit_is_a_training_on_all_rows_up_to_the_epoch_kept(digits: Any, stop: int) -> None:
    X, y = digits
    seen: list[int] = []

    def callback(record: Any) -> bool:
        seen.append(record["epoch"])
        return len(seen) > stop

    model = small(callbacks=[callback], calibrate=False).fit(X, y)
    # Callbacks see the first training only.
    assert seen == list(range(stop + 1))
    assert model.n_iter_ == len(model.loss_curve_) == stop + 1
    assert model.best_iteration_ == stop
    again = on_all_rows(callbacks=[lambda record: record["epoch"] == stop]).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_epoch_and_temperature_do_not_depend_on_the_refit(digits: Any) -> None:
    once, twice = (small(refit=refit).fit(*digits) for refit in (False, True))
    assert once.temperature_ == twice.temperature_ != 1
    assert once.best_iteration_ == twice.best_iteration_
    assert once.validation_scores_ == twice.validation_scores_
    assert (once.predict_proba(digits[0]) != twice.predict_proba(digits[0])).any()


def test_a_warm_start_does_not_train_on_the_validation_rows(digits: Any) -> None:
    once, twice = (small(refit=refit, warm_start=True).fit(*digits).fit(*digits) for refit in (False, True))
    np.testing.assert_array_equal(once.predict_proba(digits[0]), twice.predict_proba(digits[0]))


def test_patience_ends_the_first_training_only(digits: Any) -> None:
    X, y = digits
    options = {"n_iter_no_change": 1, "max_iter": 200, "calibrate": False}
    model = small(**options).fit(X, y)
    assert model.n_iter_ < 200
    stop = model.best_iteration_
    again = on_all_rows(max_iter=200, callbacks=[lambda record: record["epoch"] == stop]).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_more_rows_take_fewer_epochs() -> None:
    rng = np.random.default_rng(0)
    epochs = []
    for rows in (100, 2000, 8000):
        X = rng.normal(size=(rows, 2))
        model = small(width=2, max_iter=None, early_stopping=False).fit(X, X[:, 0] > 0)
        epochs.append(model.n_iter_)
    assert epochs == [256, 256, 128]


def test_a_custom_metric_chooses_the_epoch(digits: Any) -> None:
    X, y = digits
    train, validation = (X[:1200], y[:1200]), (X[1200:], y[1200:])
    scores: list[float] = []

    def recall_of_the_ones(y_true: Any, y_proba: Any) -> float:
        scores.append(float((y_proba.argmax(axis=1) == y_true)[y_true == 1].mean()))
        return scores[-1]

    model = small(calibrate=False).fit(*train, eval_set=validation, eval_metric=recall_of_the_ones)
    assert scores == model.evals_result_["valid_0"]["recall_of_the_ones"]
    assert len(scores) == 15
    ones = validation[1] == 1
    recall = model.score(validation[0][ones], validation[1][ones])
    assert recall == max(scores[epoch] for epoch in candidate_epochs("coslog4", 15))
    by_loss = small(calibrate=False).fit(*train, eval_set=validation, eval_metric="log_loss")
    best = log_loss(validation[1], by_loss.predict_proba(validation[0]))
    for epoch in candidate_epochs("coslog4", 15):
        stopped = small(calibrate=False, callbacks=[lambda record, epoch=epoch: record["epoch"] == epoch])
        stopped.fit(*train, eval_set=validation, eval_metric="log_loss")
        assert best <= log_loss(validation[1], stopped.predict_proba(validation[0]))
