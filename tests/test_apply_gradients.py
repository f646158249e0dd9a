"""`Network.apply_gradients`: one step of an optimizer with gradients from `loss_and_gradients`."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest
import tinyrs

X = np.random.default_rng(0).normal(size=(37, 5))
Y = np.arange(37) % 3


def network(precision: str = "f32") -> tinyrs.Network:
    return tinyrs.Network([5, 7, 3], output_activation="softmax", precision=precision, seed=1)


def bits(network: tinyrs.Network) -> bytes:
    return b"".join(values.tobytes() for pair in network.parameters() for values in pair)


def step(network: tinyrs.Network, optimizer: tinyrs.Optimizer, **more: float) -> None:
    _, gradients = network.loss_and_gradients(X, Y)
    network.apply_gradients(gradients, optimizer, **more)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize(
    "optimizer",
    [
        tinyrs.Optimizer("adam"),
        tinyrs.Optimizer("adamw", beta1=0.8),
        tinyrs.Optimizer("sgd", nesterov=True),
    ],
)
def test_steps_have_the_bits_of_fit(optimizer: tinyrs.Optimizer, precision: str) -> None:
    settings = {"learning_rate": 0.01, "weight_decay": 0.1}
    fitted, stepped = network(precision), network(precision)
    of_fit, of_steps = copy.copy(optimizer), copy.copy(optimizer)
    fitted.fit(X, Y, optimizer=of_fit, epochs=3, batch_size=len(X), shuffle=False, **settings)  # type: ignore[arg-type]
    for _ in range(3):
        step(stepped, of_steps, **settings)
    assert bits(stepped) == bits(fitted)
    assert of_steps.steps == 3
    # Both optimizers have the same state, also after pickling.
    step(stepped, pickle.loads(pickle.dumps(of_steps)))
    step(fitted, of_fit)
    assert bits(stepped) == bits(fitted)


GRADIENTS = network().loss_and_gradients(X, Y)[1]


@pytest.mark.parametrize(
    ("gradients", "more", "message"),
    [
        (GRADIENTS[:1], {}, "gradients: expected 2 (dW, db) pairs, one for each layer, got 1"),
        (GRADIENTS[::-1], {}, "gradients[0].W: expected shape (7, 5), got (3, 7)"),
        ([GRADIENTS[0], (GRADIENTS[1][0], np.full(3, np.inf))], {}, "gradients[1].b: expected finite"),
        (GRADIENTS, {"learning_rate": 0.0}, "learning_rate: expected a finite number above 0"),
        (GRADIENTS, {"weight_decay": -1.0}, "weight_decay: expected a finite number of at least 0"),
        (
            [(w * 1e30, b) for w, b in GRADIENTS],
            {"learning_rate": 1e30},
            "after the step, parameters[0].W: expected",
        ),
    ],
)
def test_nothing_changes_after_an_error(gradients: Any, more: Any, message: str) -> None:
    model, optimizer = network(), tinyrs.Optimizer("sgd")
    step(model, optimizer)
    before, state = bits(model), pickle.dumps(optimizer)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.apply_gradients(gradients, optimizer, **more)
    assert (bits(model), pickle.dumps(optimizer)) == (before, state)


def test_an_optimizer_and_a_network_in_use_are_refused() -> None:
    model, optimizer = network(), tinyrs.Optimizer("adam")
    other = network()

    def callback(_: object) -> None:
        with pytest.raises(RuntimeError, match="the network is being trained"):
            model.apply_gradients(GRADIENTS, tinyrs.Optimizer("adam"))
        with pytest.raises(RuntimeError, match="it is in use by another call of fit"):
            other.apply_gradients(GRADIENTS, optimizer)

    model.fit(X, Y, optimizer=optimizer, epochs=1, callback=callback)


def test_an_optimizer_of_another_precision_is_refused() -> None:
    optimizer = tinyrs.Optimizer("adam")
    step(network("f64"), optimizer)
    with pytest.raises(ValueError, match="the network is f32, but the optimizer was used with f64"):
        step(network(), optimizer)
    with pytest.raises(ValueError, match="cannot be trained"):
        network().quantize("int8").apply_gradients(GRADIENTS, tinyrs.Optimizer("adam"))
