"""Verification of gradients and training: right answers are accepted, deliberately wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tinyrs.bench import engines, verify_training, workload
from tinyrs.bench.config import Case
from tinyrs.bench.verify import WrongAnswerError
from tinyrs.oracle import Array

CASES = [
    Case(
        layers=layers, dimension=dimension, activation=activation, precision=precision, batch=batch, mode=mode
    )
    for layers, dimension, batch in [(1, 5, 1), (3, 33, 7), (6, 64, 32)]
    for activation in ("sigmoid", "tanh")
    for precision in ("f32", "f64")
    for mode in ("backward", "train")
]


def expected(case: Case) -> verify_training.TrainingReference:
    x, target = workload.verification_input(case, 0, engines.CHECKED_STEPS), workload.targets(case, 0)
    return verify_training.reference(case, workload.parameters(case, 0), x, target)


def answer(case: Case, engine: str = "tinyrs") -> list[Array]:
    build = engines.ENGINES[engine]
    return build(case, workload.parameters(case, 0), workload.targets(case, 0)).answer(
        workload.verification_input(case, 0, engines.CHECKED_STEPS)
    )


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("engine", engines.ENGINES)
def test_every_engine_is_within_its_bound(case: Case, engine: str) -> None:
    agreement = verify_training.check(expected(case), answer(case, engine))
    assert 0 <= agreement.error <= agreement.allowed < 0.3


@pytest.mark.parametrize("case", [case for case in CASES if case.mode == "backward"], ids=str)
def test_a_wrong_loss_is_refused(case: Case) -> None:
    loss, *gradients = answer(case)
    for wrong in (loss * 2, loss * 0, loss / case.dimension, loss * np.nan):
        with pytest.raises(WrongAnswerError, match="the loss is off"):
            verify_training.check(expected(case), [wrong, *gradients])


def wrong_sign(arrays: list[Array]) -> list[Array]:
    return [*arrays[:-2], -arrays[-2], arrays[-1]]


def zeros(arrays: list[Array]) -> list[Array]:
    return [array * 0 for array in arrays]


def missing_factor(arrays: list[Array]) -> list[Array]:
    return [array * array.dtype.type(0.5) for array in arrays]


def no_bias(arrays: list[Array]) -> list[Array]:
    return [array if array.ndim == 2 else array * 0 for array in arrays]


def not_a_number(arrays: list[Array]) -> list[Array]:
    return [*arrays[:-1], arrays[-1] * np.float32(np.nan)]


def transposed(arrays: list[Array]) -> list[Array]:
    return [array.T for array in arrays]


@pytest.mark.parametrize("case", [case for case in CASES if case.layers > 1], ids=str)
@pytest.mark.parametrize("spoil", [wrong_sign, zeros, missing_factor, no_bias, not_a_number, transposed])
def test_wrong_answers_are_refused(case: Case, spoil: Callable[[list[Array]], list[Array]]) -> None:
    with pytest.raises(WrongAnswerError, match="of its norm"):
        verify_training.check(expected(case), spoil(answer(case)))


def test_other_shapes_are_refused() -> None:
    case = CASES[0]
    *others, bias = answer(case)
    with pytest.raises(WrongAnswerError, match="expected 3 arrays, got 2"):
        verify_training.check(expected(case), others)
    with pytest.raises(WrongAnswerError, match=r"b of layer 0: expected shape \(5,\), got \(4,\)"):
        verify_training.check(expected(case), [*others, bias[:-1]])


def test_gradients_that_vanish_cannot_be_verified() -> None:
    deep = Case(layers=80, dimension=8, activation="sigmoid", mode="backward")
    with pytest.raises(WrongAnswerError, match=r"cannot be verified: gradients of about .* vanish in f32"):
        expected(deep)


def test_an_engine_that_trains_on_the_first_batch_only_is_refused() -> None:
    case = Case(layers=3, dimension=33, activation="tanh", batch=7, mode="train")
    x, target = workload.verification_input(case, 0, engines.CHECKED_STEPS), workload.targets(case, 0)
    same = engines.tinyrs_engine(case, workload.parameters(case, 0), target).answer(np.tile(x[:7], (3, 1)))
    with pytest.raises(WrongAnswerError, match="of its norm"):
        verify_training.check(expected(case), same)


@pytest.mark.parametrize(
    ("layers", "activation", "precision"),
    [(15, "sigmoid", "f32"), (40, "tanh", "f32"), (40, "sigmoid", "f64")],
)
def test_changes_below_the_rounding_of_the_parameters_cannot_be_verified(
    layers: int, activation: str, precision: str
) -> None:
    """The engine is right and must not be called wrong, but one that changes nothing would pass as well."""
    case = Case(layers, 64, activation, precision, batch=8, mode="train")
    with pytest.raises(WrongAnswerError, match="cannot be verified: rounding may change all of an array"):
        expected(case)


def test_every_second_number_of_denormal_inputs_is_denormal() -> None:
    case = Case(layers=2, dimension=16, activation="tanh", batch=4, mode="train", inputs="denormal")
    x = next(workload.inputs(case, 0))
    assert x.shape == (4, 16)
    small = np.abs(x) < np.finfo(np.float32).tiny
    assert small[:, ::2].all()
    assert (x[:, ::2] != 0).any()
    assert not small[:, 1::2].any()
    verify_training.check(expected(case), answer(case))
