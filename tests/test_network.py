"""`Network`: equal to the oracle in both precisions, and behaving as a NumPy user expects."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tinyrs
from tinyrs import oracle

Parameters = list[tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]
DTYPES = {"f32": np.float32, "f64": np.float64}


def random_parameters(sizes: list[int], dtype: npt.DTypeLike, seed: int = 1) -> Parameters:
    rng = np.random.default_rng(seed)
    return [
        (rng.uniform(-1, 1, (n_out, n_in)).astype(dtype), rng.uniform(-1, 1, n_out).astype(dtype))
        for n_in, n_out in itertools.pairwise(sizes)
    ]


def tolerance(parameters: Parameters, x: npt.NDArray[np.floating], scale: float) -> npt.NDArray[np.floating]:
    """A bound on the rounding error of the outputs.

    Each layer adds k eps (|W| |x| + |b|), and later layers multiply it by |W|: derivatives of the activations
    are at most `scale`."""
    eps = np.finfo(parameters[0][0].dtype).eps
    error, bound = np.zeros(x.shape), np.abs(x).astype(float)
    for w, b in parameters:
        magnitude = bound @ np.abs(w.T) + np.abs(b)
        error = scale * (error @ np.abs(w.T) + (w.shape[1] + 8) * eps * magnitude)
        bound = scale * magnitude
    return error


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize("output_activation", oracle.OUTPUT_ACTIVATIONS)
@pytest.mark.parametrize("batch", [None, 1, 2, 67])
def test_forward_equals_the_oracle(
    precision: str, activation: str, output_activation: str, batch: int | None
) -> None:
    parameters = random_parameters([13, 17, 33, 5], DTYPES[precision])
    options: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "activation_scale": 0.75,
    }
    network = tinyrs.Network.from_parameters(parameters, precision=precision, **options)
    x = (
        np.random.default_rng(2)
        .uniform(-1, 1, (13,) if batch is None else (batch, 13))
        .astype(DTYPES[precision])
    )
    y = network.forward(x)
    wide = [(w.astype(float), b.astype(float)) for w, b in parameters]
    expected = oracle.forward(x.astype(float), wide, **options)
    assert y.dtype == DTYPES[precision]
    assert y.shape == expected.shape
    allowed = tolerance(parameters, x, 1.0)
    assert (np.abs(y - expected) <= allowed).all()
    # The tolerance is tight enough to reject a wrong answer.
    assert not (np.abs(np.zeros_like(expected) - expected) <= allowed).all()


@pytest.mark.parametrize("precision", DTYPES)
def test_any_numeric_array_is_converted(precision: str) -> None:
    network = tinyrs.Network([6, 4, 3], precision=precision, seed=1)
    x = np.arange(12.0).reshape(2, 6).astype(DTYPES[precision])
    expected = network.forward(x)
    wide = np.zeros((2, 12), dtype=x.dtype)
    wide[:, ::2] = x
    unaligned = np.frombuffer(b"x" + x.tobytes(), dtype=x.dtype, count=12, offset=1).reshape(2, 6)
    assert not unaligned.flags.aligned
    for same in (
        wide[:, ::2],
        np.asfortranarray(x),
        x[::-1][::-1],
        x.astype(x.dtype.newbyteorder()),
        unaligned,
        x.astype(np.int16),
        x.astype(np.float64),
        x.tolist(),
    ):
        assert (network.forward(same) == expected).all()
    assert (network.forward(np.array([True] * 6)) == network.forward(np.ones(6))).all()


def test_out_receives_the_result_and_is_returned() -> None:
    network = tinyrs.Network([6, 4, 3], seed=1)
    x = np.ones((2, 6), dtype=np.float32)
    out = np.full((2, 3), np.nan, dtype=np.float32)
    assert network.forward(x, out=out) is out
    assert (out == network.forward(x)).all()


def test_parameters_are_copies_that_can_be_set() -> None:
    network = tinyrs.Network([6, 4, 3], seed=1)
    other = tinyrs.Network([6, 4, 3], seed=2)
    x = np.ones(6)
    assert (network.forward(x) != other.forward(x)).any()
    other.set_parameters(network.parameters())
    assert (network.forward(x) == other.forward(x)).all()
    before = network.forward(x)
    network.parameters()[0][0][:] = 0
    assert (network.forward(x) == before).all()
    assert [(w.shape, b.shape) for w, b in network.parameters()] == [((4, 6), (4,)), ((3, 4), (3,))]


def test_from_parameters_takes_a_generator() -> None:
    parameters = random_parameters([6, 4, 3], np.float64)
    network = tinyrs.Network.from_parameters((pair for pair in parameters), precision="f64")
    assert all(
        (w == v).all() and (b == c).all()
        for (w, b), (v, c) in zip(parameters, network.parameters(), strict=True)
    )


def test_sizes_counts_and_names() -> None:
    network = tinyrs.Network(
        [6, 4, 3], precision="f64", activation="relu", output_activation="softmax", seed=1
    )
    assert network.layer_sizes == (6, 4, 3)
    assert (network.precision, network.activation, network.output_activation) == ("f64", "relu", "softmax")
    assert network.n_parameters == 6 * 4 + 4 + 4 * 3 + 3
    assert network.nbytes == 8 * network.n_parameters


@pytest.mark.parametrize(
    "network",
    [
        tinyrs.Network([6, 4, 3], seed=1),
        tinyrs.Network([5] * 9, activation="relu", output_activation="same", precision="f64", seed=1),
        tinyrs.Network([5, 2], activation_scale=0.5, epsilon_exp=1e-3, epsilon_square=2e-3, seed=1),
    ],
)
def test_copies_pickles_and_repr_keep_everything(network: tinyrs.Network) -> None:
    x = np.linspace(-1, 1, network.layer_sizes[0])
    for same in (copy.copy(network), copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert same is not network
        assert repr(same) == repr(network)
        assert (same.forward(x) == network.forward(x)).all()
    again = eval(repr(network), {"Network": tinyrs.Network})
    again.set_parameters(network.parameters())
    assert (again.forward(x) == network.forward(x)).all()


def test_a_copy_is_independent() -> None:
    network = tinyrs.Network([6, 4, 3], seed=1)
    other, x = copy.copy(network), np.ones(6)
    before = network.forward(x)
    other.set_parameters(tinyrs.Network([6, 4, 3], seed=2).parameters())
    assert (network.forward(x) == before).all()
    assert (other.forward(x) != before).any()


def test_the_signatures_show_the_defaults() -> None:
    """The defaults are written once in the core and again in the text signatures; they must agree."""
    options = tinyrs.Network([4, 3]).options
    for call in (tinyrs.Network, tinyrs.Network.from_parameters):
        parameters = inspect.signature(call).parameters
        assert {name: parameters[name].default for name in options} == options


def test_seeds() -> None:
    x = np.ones(6)

    def output(seed: int | None) -> list[float]:
        result: list[float] = tinyrs.Network([6, 4], seed=seed).forward(x).tolist()
        return result

    assert output(5) == output(5)
    assert output(5) != output(6)
    assert output(None) != output(None)


def test_build_info() -> None:
    info = tinyrs.build_info()
    assert info["version"] == tinyrs.__version__
    assert info["isa"] in info["isa_available"]
    assert info["profile"] == "release"


def test_machine_limits_are_plausible() -> None:
    limits = tinyrs.machine_limits(1, working_set=1 << 22)
    assert limits["n_threads"] == 1
    assert 1 << 22 <= limits["working_set"] < 1 << 23
    # The range covers slow emulators and future machines.
    assert 1e8 < limits["read_bandwidth"] < 1e13
    assert 1e8 < limits["fma_f64"] < limits["fma_f32"] * 1.5 < 1e14
    assert 1e7 < limits["multiply_add_bf16"] < 1e15
    assert 1e7 < limits["multiply_add_int8"] < 1e15


def test_explain_plan_says_what_a_pass_does() -> None:
    small, large = tinyrs.Network([64, 64, 10], seed=0), tinyrs.Network([1024] * 5, seed=0)
    isa = tinyrs.build_info()["isa"]
    kernel, blocks, threads, gil = small.explain_plan(1).splitlines()
    assert kernel.startswith(f"kernel: packed gemm on {isa}, because 18.8 KiB of weights (at most ")
    assert kernel.endswith(" 8 neighbouring rows of weights at a time")
    assert blocks == "blocks: one row through all layers"
    n = tinyrs.get_num_threads()
    assert threads.startswith(f"threads: 1 of {n}, because ")
    assert gil == "GIL: kept: the pass is short"
    assert f"gemm on {isa}: tiles of " in small.explain_plan(2)
    text = large.explain_plan(512)
    assert "blocks: 128 rows at a time" in text
    assert text.endswith("GIL: released during the pass")
    assert f"threads: {n} of {n}, because" in text
    assert "threads: 1 of 1, because no more are allowed" in large.explain_plan(512, n_threads=1)
    with pytest.raises(ValueError, match="batch: expected an integer of at least 1"):
        small.explain_plan(0)
