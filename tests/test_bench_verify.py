"""Verification of forward passes: right answers are accepted, deliberately wrong ones are refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tinyrs import oracle, oracle_quantized
from tinyrs.bench import engines, verify, workload
from tinyrs.bench.config import LOW_PRECISIONS, Case
from tinyrs.bench.verify import WrongAnswerError
from tinyrs.oracle import Array, Layer

CASES = [
    Case(layers=layers, dimension=dimension, activation=activation, precision=precision, batch=batch)
    for precision in ("f32", "f64")
    for activation in ("sigmoid", "tanh")
    for layers, dimension, batch in ((1, 1, 1), (1, 7, 1), (3, 64, 1), (2, 129, 5), (40, 96, 1))
]


def sample(case: Case) -> Array:
    return next(workload.inputs(case, 0))


def reference(case: Case) -> verify.Reference:
    return verify.reference(case, workload.parameters(case, 0), sample(case))


def right_answer(case: Case, layers: list[Layer] | None = None) -> Array:
    """The oracle's answer, in the precision of the case."""
    layers = layers or list(workload.parameters(case, 0))
    return oracle.forward(sample(case), layers, activation=case.activation, output_activation="same")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("engine", engines.ENGINES)
def test_every_engine_is_within_its_bound(case: Case, engine: str) -> None:
    build = engines.ENGINES[engine]
    (answer,) = build(case, workload.parameters(case, 0), workload.targets(case, 0)).answer(sample(case))
    agreement = verify.check(reference(case), answer)
    assert agreement.error >= 0
    assert 0 < agreement.allowed < 0.01


@pytest.mark.parametrize("case", [case for case in CASES if case.dimension > 1], ids=str)
def test_wrong_answers_are_refused(case: Case) -> None:
    expected, right = reference(case), right_answer(case)
    swapped = right.copy()
    swapped[..., [0, -1]] = swapped[..., [-1, 0]]
    stale = np.roll(right, 1, axis=-1)
    for wrong in (np.zeros_like(right), swapped, stale, right * right.dtype.type(1.01), -right):
        with pytest.raises(WrongAnswerError, match=r"off by .*, but only .* is allowed"):
            verify.check(expected, wrong)
    for spoilt in (np.nan, np.inf):
        wrong = right.copy()
        wrong[..., -1] = spoilt
        with pytest.raises(WrongAnswerError):
            verify.check(expected, wrong)


@pytest.mark.parametrize("case", [case for case in CASES if case.dimension > 1], ids=str)
def test_typical_mistakes_of_kernels_are_refused(case: Case) -> None:
    """Typical mistakes of kernels: without the last column, the last row, the bias or a layer."""
    expected, layers = reference(case), list(workload.parameters(case, 0))
    no_column = [
        (np.where(np.arange(case.dimension) == case.dimension - 1, 0, w).astype(w.dtype), b)
        for w, b in layers
    ]
    no_row = [(np.vstack([w[:-1], 0 * w[-1:]]), b) for w, b in layers]
    no_bias = [(w, 0 * b) for w, b in layers]
    transposed = [(np.ascontiguousarray(w.T), b) for w, b in layers]
    wrong = [no_column, no_row, no_bias, transposed]
    if case.layers in (2, 3):  # The output of a deep network no longer depends on a single layer.
        wrong.append([*layers[:-2], layers[-1]])
    for parameters in wrong:
        with pytest.raises(WrongAnswerError):
            verify.check(expected, right_answer(case, parameters))


def test_errors_up_to_the_bound_are_accepted() -> None:
    expected = reference(Case(layers=3, dimension=64, activation="sigmoid"))
    verify.check(expected, expected.output + 0.99 * expected.allowed)
    with pytest.raises(WrongAnswerError):
        verify.check(expected, expected.output + 1.01 * expected.allowed)


def test_the_bound_is_far_below_the_answer() -> None:
    """Zeros must fail clearly, for any size of network."""
    for dimension in (8, 64, 512):
        for precision, digits in (("f32", 1e-4), ("f64", 1e-12)):
            expected = reference(
                Case(layers=10, dimension=dimension, activation="sigmoid", precision=precision)
            )
            assert expected.allowed.max() < digits * np.abs(expected.output).min()


def test_a_wrong_shape_is_refused() -> None:
    case = Case(layers=2, dimension=8, activation="tanh")
    with pytest.raises(WrongAnswerError, match=r"shape \(8,\), got \(7,\)"):
        verify.check(reference(case), right_answer(case)[:-1])


def test_a_network_that_amplifies_rounding_cannot_be_verified() -> None:
    case = Case(layers=30, dimension=64, activation="tanh")
    rng = np.random.default_rng(0)
    chaotic = [(rng.normal(size=(64, 64)).astype(np.float32), np.zeros(64, np.float32)) for _ in range(30)]
    expected = verify.reference(case, chaotic, sample(case))
    with pytest.raises(WrongAnswerError, match="cannot be verified"):
        verify.check(expected, right_answer(case, chaotic))


@pytest.mark.parametrize("epsilon", [0.0, 4e-6, 80.0])
def test_the_stabilizer_of_the_reference_is_that_of_the_engine(epsilon: float) -> None:
    """The range of f64 is much larger than that of f32: the reference must clip where the engine clips."""
    case = Case(layers=1, dimension=4, activation="sigmoid", epsilon_exp=epsilon)
    layers = [(np.diag(np.array([-200, -80, 3, 200], np.float32)), np.zeros(4, np.float32))]
    x = np.ones(4, np.float32)
    expected = verify.reference(case, layers, x)
    for build in engines.ENGINES.values():
        (answer,) = build(case, layers, workload.targets(case, 0)).answer(x)
        verify.check(expected, answer)


def test_the_reference_is_the_oracle() -> None:
    case = Case(layers=4, dimension=300, activation="tanh", precision="f64", batch=3)
    assert np.allclose(reference(case).output, right_answer(case), rtol=1e-12, atol=0)


LOW = [
    Case(layers, dimension, activation, precision=precision, batch=batch)
    for precision in LOW_PRECISIONS
    for activation in ("sigmoid", "tanh")
    for layers, dimension, batch in ((1, 7, 1), (2, 64, 256), (3, 129, 5), (40, 96, 16))
]


@pytest.mark.parametrize("case", LOW, ids=str)
def test_low_precision_is_within_its_bound(case: Case) -> None:
    """Answers of tinyrs and of the oracle, which round some hidden values to another integer."""
    layers, expected = list(workload.parameters(case, 0)), reference(case)
    (answer,) = engines.ENGINES["tinyrs"](case, layers, workload.targets(case, 0)).answer(sample(case))
    quantized = oracle_quantized.quantize(layers, case.precision)
    options = {"activation": case.activation, "output_activation": "same"}
    for right in (answer, oracle_quantized.forward_quantized(sample(case), quantized, **options)):  # type: ignore[arg-type]
        verify.check(expected, right)
    for wrong in (0 * answer, answer[..., ::-1], answer * np.float32(1.1), -answer):
        with pytest.raises(WrongAnswerError, match=r"off by .*, but only .* is allowed"):
            verify.check(expected, wrong)


def test_deep_networks_are_verified_if_no_hidden_value_is_rounded_another_way() -> None:
    """Other roundings could change outputs a lot. An answer that needs them as an explanation is refused."""
    case = Case(layers=40, dimension=256, activation="tanh", precision="int8")
    layers, expected = list(workload.parameters(case, 0)), reference(case)
    size = np.sqrt(np.mean(expected.output**2))
    assert expected.without_flips.max() < 2e-3 * size < 0.1 * size < expected.allowed.max()
    (answer,) = engines.ENGINES["tinyrs"](case, layers, workload.targets(case, 0)).answer(sample(case))
    assert verify.check(expected, answer).allowed < 1e-3
    for wrong in (0 * answer, answer[::-1], answer * np.float32(1.01)):
        with pytest.raises(WrongAnswerError, match="cannot be verified"):
            verify.check(expected, wrong)


@pytest.mark.parametrize("precision", LOW_PRECISIONS)
def test_another_precision_is_refused(precision: str) -> None:
    """An engine that computes with other weights is wrong in its first layers already."""
    case = Case(layers=2, dimension=128, activation="tanh", precision=precision, batch=64)
    layers, expected = list(workload.parameters(case, 0)), reference(case)
    options = {"activation": case.activation, "output_activation": "same"}
    answers = {
        other: oracle_quantized.forward_quantized(
            sample(case),
            oracle_quantized.quantize(layers, other),
            **options,  # type: ignore[arg-type]
        )
        for other in ("f32", *LOW_PRECISIONS)
    }
    verify.check(expected, answers.pop(precision))
    for answer in answers.values():
        with pytest.raises(WrongAnswerError, match=r"off by .*, but only .* is allowed"):
            verify.check(expected, answer)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("shape", [(), (5,)])
def test_the_bound_of_softmax(precision: str, shape: tuple[int, ...]) -> None:
    rng, dtype = np.random.default_rng(0), np.dtype(f"f{int(precision[1:]) // 8}")
    sizes = (9, 40, 30, 6)
    layers = [
        (rng.normal(size=(o, i)).astype(dtype), rng.normal(size=o).astype(dtype)) for i, o in pairwise(sizes)
    ]
    x = rng.normal(size=(*shape, 9)).astype(dtype)
    expected = verify.reference_of(layers, x, precision, "relu", output_activation="softmax")
    right = oracle.forward(x, layers, activation="relu", output_activation="softmax")
    verify.check(expected, right)
    uniform = np.full_like(right, 1 / 6)
    for wrong in (0 * right, right * right.dtype.type(1.01), right[..., ::-1], uniform):
        with pytest.raises(WrongAnswerError, match=r"off by .*, but only .* is allowed"):
            verify.check(expected, wrong)
