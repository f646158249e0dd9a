"""Invalid input raises an error that names the argument; it never causes a crash, a panic or a silent NaN."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tinyrs
from hypothesis import given, settings
from hypothesis import strategies as st

NETWORK = tinyrs.Network([4, 5, 3], seed=1)
X = np.ones(4, dtype=np.float32)
W, B = np.ones((3, 4)), np.ones(3)


def network(*sizes: Any, **options: Any) -> Callable[[], Any]:
    return lambda: tinyrs.Network(*sizes, **options)


def forward(x: Any, **options: Any) -> Callable[[], Any]:
    return lambda: NETWORK.forward(x, **options)


def from_parameters(*pairs: Any, **options: Any) -> Callable[[], Any]:
    return lambda: tinyrs.Network.from_parameters(pairs, **options)


def read_only() -> np.ndarray:
    out = np.empty(3, dtype=np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (network([]), ValueError, "layer_sizes: expected at least two sizes"),
        (network([3]), ValueError, "layer_sizes: expected at least two sizes"),
        (network([3, 0]), ValueError, "layer_sizes[1]: expected an integer of at least 1, got 0"),
        (network([3, -2]), ValueError, "layer_sizes[1]: expected an integer of at least 1, got -2"),
        (network([3, 2.5]), TypeError, "layer_sizes[1]: expected an integer of at least 1, got 2.5"),
        (network([3, 2**70]), ValueError, "layer_sizes[1]: expected an integer"),
        (network(3), TypeError, "layer_sizes: expected a sequence of integers, got <class 'int'>"),
        (network([2**40, 2**20]), MemoryError, "layer_sizes: cannot allocate"),
        (network([2**62, 2**62]), MemoryError, "layer_sizes: cannot allocate"),
        (network([3, 2], activation="swish"), ValueError, 'activation: expected one of "sigmoid"'),
        (network([3, 2], output_activation="x"), ValueError, 'output_activation: expected one of "identity"'),
        (network([3, 2], precision="f16"), ValueError, 'precision: expected "f32" or "f64", got "f16"'),
        (
            network([3, 2], activation_scale=np.inf),
            ValueError,
            "activation_scale: expected a finite f32, got inf",
        ),
        (network([3, 2], epsilon_exp=-1), ValueError, "epsilon_exp: expected 0 <= epsilon_exp <"),
        (network([3, 2], epsilon_square=np.nan), ValueError, "epsilon_square: expected 0 <="),
        (network([3, 2], seed=-1), ValueError, "seed: expected an integer of at least 0, got -1"),
        (forward(np.ones(5)), ValueError, "X: expected 4 features, got 5"),
        (forward(np.ones((2, 5))), ValueError, "X: expected 4 features, got 5"),
        (forward(np.float32(1)), ValueError, "X: expected shape (features,) or (batch, features), got ()"),
        (
            forward(np.ones((1, 2, 4))),
            ValueError,
            "X: expected shape (features,) or (batch, features), got (1, 2, 4)",
        ),
        (forward([1, 2, np.nan, 4]), ValueError, "X: expected finite f32 values, got NaN at row 0, column 2"),
        (
            forward([[1] * 4, [1, np.inf, 1, 1]]),
            ValueError,
            "X: expected finite f32 values, got inf at row 1, column 1",
        ),
        (
            forward(np.ones(4, dtype=complex)),
            TypeError,
            "X: expected an array of real numbers, got ndarray of dtype complex128",
        ),
        (
            forward(np.array([object()] * 4)),
            TypeError,
            "X: expected an array of real numbers, got ndarray of dtype object",
        ),
        (forward("abcd"), TypeError, "X: expected an array of real numbers"),
        (forward(None), TypeError, "X: expected an array of real numbers"),
        (forward([[1, 2], [3]]), TypeError, "X: expected an array of real numbers"),
        (forward(np.zeros(4, dtype="M8[s]")), TypeError, "X: expected an array of real numbers"),
        (forward(X, n_threads=0), ValueError, "n_threads: expected an integer of at least 1, got 0"),
        (forward(X, n_threads="2"), TypeError, "n_threads: expected an integer of at least 1, got '2'"),
        (
            forward(X, out=np.empty(3)),
            TypeError,
            "out: expected an array of f32, got an array of dtype float64",
        ),
        (forward(X, out=[0, 0, 0]), TypeError, "out: expected an array of f32, got list"),
        (forward(X, out=np.empty(4, dtype="f4")), ValueError, "out: expected shape (3,), got (4,)"),
        (
            forward(X, out=np.empty(6, dtype="f4")[::2]),
            ValueError,
            "out: expected a C-contiguous, aligned, writeable",
        ),
        (forward(X, out=read_only()), ValueError, "out: expected a C-contiguous, aligned, writeable"),
        (forward(X, out=X[1:]), ValueError, "out: it shares memory with X; pass another array"),
        (from_parameters(), ValueError, "parameters: expected at least one layer, got none"),
        (from_parameters((W, B), (W, B)), ValueError, "parameters[1].W: expected 3 columns"),
        (from_parameters((W, B[:2])), ValueError, "parameters[0].b: expected shape (3,), got (2,)"),
        (from_parameters((B, B)), ValueError, "parameters[0].W: expected shape (outputs, inputs), got (3,)"),
        (from_parameters((W, W)), ValueError, "parameters[0].b: expected shape (outputs,), got (3, 4)"),
        (from_parameters(W), TypeError, "parameters[0]: expected a pair (W, b)"),
        (
            from_parameters((W * np.nan, B)),
            ValueError,
            "parameters[0].W: expected finite f32 values, got NaN",
        ),
        (from_parameters((W * 1e300, B)), ValueError, "parameters[0].W: expected finite f32 values, got inf"),
        (from_parameters((W, [1, 2, "x"])), TypeError, "parameters[0].b: expected an array of real numbers"),
        (from_parameters((np.ones((0, 4)), [])), ValueError, "parameters[0].W: expected at least one output"),
        (
            lambda: tinyrs.Network.from_parameters(3),  # type: ignore[arg-type]
            TypeError,
            "parameters: expected an iterable of (W, b) pairs",
        ),
        (
            lambda: NETWORK.set_parameters([]),
            ValueError,
            "parameters: expected 2 (W, b) pairs, one for each layer, got 0",
        ),
        (
            lambda: tinyrs.set_num_threads(0),
            ValueError,
            "n_threads: expected an integer of at least 1, got 0",
        ),
        (lambda: tinyrs.machine_limits(0), ValueError, "n_threads: expected an integer of at least 1, got 0"),
        (
            lambda: tinyrs.machine_limits(1, working_set=0),
            ValueError,
            "working_set: expected an integer of at least 1",
        ),
        (lambda: tinyrs.machine_limits(1, working_set=2**60), MemoryError, "working_set: cannot allocate"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_errors_name_the_argument(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_an_error_of_the_iterable_is_raised() -> None:
    def broken() -> Any:
        yield (W, B)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tinyrs.Network.from_parameters(broken())


def test_a_failed_set_parameters_changes_nothing() -> None:
    fresh = tinyrs.Network([4, 5, 3], seed=1)
    before = fresh.forward(X)
    (first_w, first_b), second = fresh.parameters()
    for wrong in (
        [(first_w * 2, first_b)],
        [(first_w * 2, first_b), (second[0].T, second[1])],
        [(first_w * 2, first_b), 3],
    ):
        with pytest.raises((ValueError, TypeError), match="parameters"):
            fresh.set_parameters(wrong)  # type: ignore[arg-type]
        assert (fresh.forward(X) == before).all()


def test_an_empty_batch_gives_an_empty_result() -> None:
    assert NETWORK.forward(np.empty((0, 4))).shape == (0, 3)


DTYPES = st.one_of(
    hnp.floating_dtypes(endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
    hnp.complex_number_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.datetime64_dtypes(),
)
SHAPES = st.one_of(
    st.tuples(st.just(4)), st.tuples(st.integers(0, 5), st.just(4)), hnp.array_shapes(min_dims=0, max_dims=3)
)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_any_array_gives_a_result_or_an_error(data: st.DataObject) -> None:
    x = data.draw(hnp.arrays(data.draw(DTYPES), data.draw(SHAPES)))
    if x.ndim and data.draw(st.booleans()):
        x = x[::-1]
    try:
        y = NETWORK.forward(x)
    except (ValueError, TypeError) as error:
        assert str(error).startswith("X: expected")
    else:
        assert y.shape == (*x.shape[:-1], 3)
        assert np.isfinite(y).all()
        assert (y == NETWORK.forward(np.ascontiguousarray(x).astype(np.float32))).all()


@given(
    x=hnp.arrays(np.float32, (2, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    weight=hnp.arrays(
        np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
    ),
    activation=st.sampled_from(["sigmoid", "tanh", "relu", "identity"]),
    output_activation=st.sampled_from(["identity", "same", "softmax"]),
    scale=st.floats(-1e30, 1e30),
)
@settings(max_examples=200, deadline=None)
def test_finite_inputs_give_finite_outputs(
    x: np.ndarray, weight: np.ndarray, activation: str, output_activation: str, scale: float
) -> None:
    extreme = tinyrs.Network.from_parameters(
        [(weight, weight[:, 0])],
        activation=activation,
        output_activation=output_activation,
        activation_scale=scale,
    )
    assert np.isfinite(extreme.forward(x)).all()


@pytest.mark.parametrize(
    "name", ["mmx", "neon" if tinyrs.build_info()["target"].startswith("x86") else "avx512"]
)
def test_an_unavailable_instruction_set_is_an_error_at_import(name: str) -> None:
    code = f"import os; os.environ['TINYRS_ISA'] = {name!r}; import tinyrs"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "ValueError: TINYRS_ISA: expected an instruction set of this CPU (scalar" in result.stderr
    assert result.stderr.rstrip().endswith(f"got {name}")
