"""A `fit` or `partial_fit` that fails or is interrupted leaves the classifier as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from tinyrs import TinyClassifier

X = np.random.default_rng(0).normal(size=(120, 3))
Y = np.where(X[:, 0] > 0, "yes", "no")
OTHER = pd.DataFrame(np.random.default_rng(1).normal(size=(90, 4)), columns=list("abcd"))
OTHER_Y = np.arange(90) % 3


def small(**options: Any) -> TinyClassifier:
    return TinyClassifier(**{"n_layers": 1, "width": 8, "max_iter": 4, "random_state": 0} | options)


def failing(error: BaseException, epoch: int) -> Callable[[Any], None]:
    """A callback that raises `error` in its call number `epoch`, from 0."""
    calls: list[Any] = []

    def callback(record: Any) -> None:
        calls.append(record)
        if len(calls) > epoch:
            raise error

    return callback


def fitted_state(model: TinyClassifier) -> dict[str, Any]:
    """Everything but the parameters, with the weights as bytes."""
    state = {name: value for name, value in vars(model).items() if name not in model.get_params()}
    if "network_" in state:
        networks = [network.parameters() for network in model.network_.members]
        state["network_"] = [array.tobytes() for pairs in networks for pair in pairs for array in pair]
        state["loss_curve_"] = list(model.loss_curve_)
    if state.get("_optimizers") is not None:
        state["_optimizers"] = [repr(optimizer.__reduce__()) for optimizer in state["_optimizers"]]
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in state.items()}


FAILURES: dict[str, Callable[[TinyClassifier], Any]] = {
    "bad weights": lambda model: model.fit(OTHER, OTHER_Y, sample_weight=-np.ones(90)),
    "bad eval_set": lambda model: model.fit(OTHER, OTHER_Y, eval_set=(OTHER, np.arange(90))),
    "infinite number": lambda model: model.fit(OTHER.assign(a=np.inf), OTHER_Y),
    "fit": lambda model: model.fit(OTHER, OTHER_Y),
    "partial_fit": lambda model: model.partial_fit(X, Y),
    "partial_fit with a new class": lambda model: model.partial_fit(X, np.where(Y == "no", "maybe", Y)),
}


@pytest.mark.parametrize("error", [RuntimeError("planted"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("before", ["nothing", "fit", "partial_fit"])
@pytest.mark.parametrize("failure", FAILURES)
def test_all_old(failure: str, before: str, warm_start: bool, error: BaseException) -> None:
    model = small(warm_start=warm_start)
    if before != "nothing":
        getattr(model, before)(X, Y)
    state = fitted_state(model)
    model.set_params(callbacks=[failing(error, 0 if "partial" in failure else 2)])
    with pytest.raises((ValueError, type(error))):
        FAILURES[failure](model)
    assert fitted_state(model) == state
    if before == "nothing":
        with pytest.raises(NotFittedError):
            model.predict(X)


def test_a_continued_network_is_not_shared_with_the_failed_training() -> None:
    model = small(warm_start=True, calibrate=False, refit=False).fit(X, Y)
    p = model.predict_proba(X)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=[failing(KeyboardInterrupt(), 3)]).fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), p)


def test_a_random_state_is_as_before_a_failed_fit() -> None:
    rng = np.random.RandomState(7)
    with pytest.raises(RuntimeError, match="planted"):
        small(random_state=rng, callbacks=[failing(RuntimeError("planted"), 1)]).fit(X, Y)
    again, expected = (small(random_state=r).fit(X, Y) for r in (rng, np.random.RandomState(7)))
    np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))


def test_parameters_that_a_callback_sets_stay_set() -> None:
    model = small()
    model.set_params(callbacks=[lambda record: model.set_params(alpha=0.5) and False]).fit(X, Y)
    assert model.alpha == 0.5
    assert model.n_iter_ == 4


@pytest.mark.parametrize("weight", [1e308, 1e-320])
def test_extreme_weights_are_ratios_too(weight: float) -> None:
    weighted, plain = (small().fit(X, Y, sample_weight=np.full(120, w)) for w in (weight, 1.0))
    np.testing.assert_array_equal(weighted.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("weight", [-1.0, np.inf, np.nan])
def test_class_weights_must_be_finite(weight: float) -> None:
    with pytest.raises(ValueError, match="class_weight: expected finite weights of at least 0, got"):
        small(class_weight={"yes": weight, "no": 1.0}).fit(X, Y)
    with pytest.raises(ValueError, match="sample_weight: expected at least one weight above 0, got zeros"):
        small(class_weight={"yes": 0, "no": 0}).fit(X, Y)
