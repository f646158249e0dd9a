"""The oracle's forward pass, compared with loops in plain Python, and with extreme numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tinyrs import oracle
from tinyrs.oracle import Array, Layer

DTYPES: list[np.dtype[np.floating]] = [np.dtype(np.float32), np.dtype(np.float64)]
SHAPES = [(1, 1), (1, 7), (7, 1), (2, 3), (13, 17), (31, 29)]

both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def random_layers(sizes: list[int], dtype: np.dtype[np.floating], seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(o, i)).astype(dtype), rng.normal(size=o).astype(dtype)) for i, o in pairwise(sizes)
    ]


def slow_activation(name: str, z: float) -> float:
    return {
        "sigmoid": lambda: 1 / (1 + math.exp(-z)),
        "tanh": lambda: (math.exp(z) - math.exp(-z)) / (math.exp(z) + math.exp(-z)),
        "relu": lambda: z if z > 0 else 0.0,
        "leaky_relu": lambda: z if z > 0 else 0.01 * z,
        "selu": lambda: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * (math.exp(z) - 1)),
        "gelu": lambda: 0.5 * z * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
        "silu": lambda: z / (1 + math.exp(-z)),
        "identity": lambda: z,
    }[name]()


def slow_forward(
    x: list[float], layers: list[Layer], activation: str, output: str, scale: float
) -> list[float]:
    """The forward pass for one sample, one number at a time."""
    for number, (weight, bias) in enumerate(layers):
        z = []
        for row, b in zip(weight.tolist(), bias.tolist(), strict=True):
            z.append(math.fsum([*(w * v for w, v in zip(row, x, strict=True)), b]))
        if number < len(layers) - 1 or output == "same":
            x = [slow_activation(activation, v) * scale for v in z]
        elif output == "sigmoid":
            x = [slow_activation("sigmoid", v) for v in z]
        elif output == "softmax":
            x = [1 / math.fsum(math.exp(other - v) for other in z) for v in z]
        else:
            x = z
    return x


@both_dtypes
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize("output", oracle.OUTPUT_ACTIVATIONS)
def test_forward_matches_plain_loops(dtype: np.dtype[np.floating], activation: str, output: str) -> None:
    for sizes in ([1, 1], [7, 1, 5], [1, 13, 2], [17, 31, 29, 3]):
        layers = random_layers(sizes, dtype)
        X = np.random.default_rng(1).normal(size=(5, sizes[0])).astype(dtype)
        Y = oracle.forward(X, layers, activation=activation, output_activation=output, activation_scale=1.5)
        assert Y.dtype == dtype
        assert Y.shape == (5, sizes[-1])
        for x, y in zip(X, Y, strict=True):
            expected = np.array(slow_forward(x.tolist(), layers, activation, output, 1.5))
            alone = oracle.forward(
                x, layers, activation=activation, output_activation=output, activation_scale=1.5
            )
            # Sums have at most 31 terms, and each of three layers magnifies an error about tenfold. For a
            # large z, z * sigmoid(-z) should underflow to 0, but is about z / (largest number).
            allowed = 300 * (np.finfo(dtype).eps * np.abs(expected).max() + np.finfo(dtype).tiny)
            assert np.abs(y - expected).max() <= allowed
            assert np.abs(alone - expected).max() <= allowed


@both_dtypes
def test_layers_may_be_an_iterator(dtype: np.dtype[np.floating]) -> None:
    layers = random_layers([3, 4, 2], dtype)
    x = np.ones(3, dtype)
    assert (oracle.forward(x, iter(layers)) == oracle.forward(x, layers)).all()


@both_dtypes
def test_exp_of_the_upper_bound_is_finite_and_close_to_the_largest_number(
    dtype: np.dtype[np.floating],
) -> None:
    largest = np.finfo(dtype).max
    for epsilon in (0.0, 4e-6, 1e-3, 1.0):
        low, high = oracle.exp_bounds(dtype, epsilon)
        assert low.dtype == high.dtype == dtype
        assert math.exp(-epsilon) * 0.99 * float(largest) < float(np.exp(high)) <= float(largest)
        assert np.isfinite(low)
        assert low <= -0.99 * float(largest)


@both_dtypes
def test_squares_of_clipped_numbers_are_finite(dtype: np.dtype[np.floating]) -> None:
    largest = np.finfo(dtype).max
    x = np.array([-largest, -1, 0, 2, largest], dtype)
    for epsilon in (0.0, 4e-6, 1.0):
        clipped = oracle.clip_for_square(x, epsilon)
        assert np.isfinite(clipped * clipped).all()
        assert (clipped[1:4] == x[1:4]).all()
        assert clipped[-1] == -clipped[0] > 0.99 * np.sqrt(largest) - epsilon


@both_dtypes
def test_sigmoid_never_overflows(dtype: np.dtype[np.floating]) -> None:
    largest = float(np.finfo(dtype).max)
    z = np.array([-largest, -1000, -88.8, 0, 88.8, 1000, largest], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = oracle.sigmoid(z)
    assert (np.diff(y) >= 0).all()
    assert y[3] == 0.5
    assert y[-1] == 1
    assert 0 < y[0] <= np.finfo(dtype).tiny


def extreme(shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> st.SearchStrategy[Array]:
    """Arrays of any finite numbers, including the largest and the smallest."""
    finite = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return hnp.arrays(dtype, shape, elements=finite)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_finite_inputs_give_finite_outputs(data: st.DataObject) -> None:
    dtype: np.dtype[np.floating] = data.draw(st.sampled_from(DTYPES))
    outputs, inputs = data.draw(st.sampled_from(SHAPES))
    layers = [
        (data.draw(extreme((outputs, inputs), dtype)), data.draw(extreme((outputs,), dtype))),
        (data.draw(extreme((2, outputs), dtype)), data.draw(extreme((2,), dtype))),
    ]
    y = oracle.forward(
        data.draw(extreme((3, inputs), dtype)),
        layers,
        activation=data.draw(st.sampled_from(oracle.ACTIVATIONS)),
        output_activation=data.draw(st.sampled_from(oracle.OUTPUT_ACTIVATIONS)),
        activation_scale=data.draw(st.sampled_from([1.0, 0.5, 1e30])),
    )
    assert y.dtype == dtype
    assert np.isfinite(y).all()


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_dense_forward_is_the_exact_sum_rounded_and_clipped(data: st.DataObject) -> None:
    dtype: np.dtype[np.floating] = data.draw(st.sampled_from(DTYPES))
    w, x = data.draw(extreme((5,), dtype)), data.draw(extreme((5,), dtype))
    b = data.draw(extreme((1,), dtype))
    with np.errstate(over="ignore", invalid="ignore"):
        (got,) = oracle.dense_forward(x, w[None], b)
    products = [Fraction(float(p)) * Fraction(float(q)) for p, q in zip(w, x, strict=True)] + [
        Fraction(float(b[0]))
    ]
    largest = Fraction(float(np.finfo(dtype).max))
    exact = min(max(sum(products), -largest), largest)
    # Six terms, each rounded a few times, and underflow.
    slack = 20 * Fraction(float(np.finfo(dtype).eps)) * sum(map(abs, products)) + Fraction(
        float(np.finfo(dtype).tiny)
    )
    assert abs(Fraction(float(got)) - exact) <= slack


@both_dtypes
def test_sums_with_overflowing_partial_sums(dtype: np.dtype[np.floating]) -> None:
    big = float(np.finfo(dtype).max) / 2
    weight = np.array([[8, 8, -8, -8], [8, 8, 8, 8], [-8, -8, -8, -8], [1, 0, 0, 0]], dtype)
    x = np.full((2, 4), big, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        z = oracle.dense_forward(x, weight, np.array([3, 0, 0, 0], dtype))
    largest = np.finfo(dtype).max
    # The bias 3 may be lost to the rounding of the large terms that cancel.
    assert np.abs(z[:, 0]).max() <= 3
    assert (z[:, 1] == largest).all()
    assert (z[:, 2] == -largest).all()
    assert (z[:, 3] == dtype.type(big)).all()


@both_dtypes
def test_softmax_of_the_largest_numbers_is_a_distribution(dtype: np.dtype[np.floating]) -> None:
    largest = np.finfo(dtype).max
    x = np.array([[-largest, largest], [largest, largest], [0, 1]], dtype)
    identity = (np.eye(2, dtype=dtype), np.zeros(2, dtype))
    y = oracle.forward(x, [identity], output_activation="softmax")
    assert y[0].tolist() == [0, 1]
    assert y[1].tolist() == [0.5, 0.5]
    assert np.allclose(y.sum(axis=1), 1, rtol=0, atol=4 * float(np.finfo(dtype).eps))


def test_unknown_names_and_missing_layers_raise() -> None:
    layers = random_layers([2, 2, 2], np.dtype(np.float32))
    x = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match=r"activation: expected one of sigmoid, .* got 'swish'"):
        oracle.forward(x, layers, activation="swish")
    with pytest.raises(ValueError, match=r"output_activation: expected one of identity, .* got 'gelu'"):
        oracle.forward(x, layers, output_activation="gelu")
    with pytest.raises(ValueError, match="activation: expected a name for each hidden layer, got only 0"):
        oracle.forward(x, layers, activation=[])
    with pytest.raises(ValueError, match="activation: expected 1 names, one per hidden layer, got 2"):
        oracle.forward(x, layers, activation=["tanh", "relu"])
    with pytest.raises(ValueError, match="layers: expected at least one"):
        oracle.forward(x, [])


def test_one_activation_per_hidden_layer_and_the_output_activation_same() -> None:
    (W0, b0), (W1, b1), (W2, b2) = layers = random_layers([3, 4, 5, 2], np.dtype(np.float64))
    x = np.random.default_rng(1).normal(size=(6, 3))
    hidden = np.maximum(np.tanh(x @ W0.T + b0) @ W1.T + b1, 0)
    y = oracle.forward(x, iter(layers), activation=["tanh", "relu"], output_activation="same")
    assert np.allclose(y, np.maximum(hidden @ W2.T + b2, 0), rtol=1e-13, atol=1e-13)
