"""Quantized networks: equal to the oracle, and like other networks except that they cannot be trained."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse
from tinyrs import Network, oracle_quantized
from tinyrs._tinyrs import FeatureEncoder, RowPredictor, Tensor, digest, read_safetensors, write_safetensors

FORMATS = oracle_quantized.FORMATS
# Sizes around those of registers, panels and groups of inputs, and some primes.
SHAPES = [
    (1, 1),
    (3, 2),
    (4, 17),
    (7, 31),
    (16, 16),
    (31, 33),
    (63, 64),
    (64, 65),
    (65, 5),
    (129, 67),
    (257, 10),
]
EPS = 2.0**-24
Floats = npt.NDArray[np.floating]


def random_network(sizes: list[int], *, precision: str = "f32", seed: int = 1, **options: Any) -> Network:
    rng = np.random.default_rng(seed)
    parameters = [
        (rng.normal(size=(n_out, n_in)) / n_in**0.5, rng.normal(size=n_out) / 4)
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    return Network.from_parameters(parameters, precision=precision, **options)


def rows(n: int, width: int, seed: int = 2) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def oracle_outputs(
    network: Network, kind: str | list[str], x: npt.ArrayLike, **options: Any
) -> npt.NDArray[np.float32]:
    layers = oracle_quantized.quantize(network.parameters(), kind)
    return oracle_quantized.forward_quantized(x, layers, **options)


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_int8_has_the_bits_of_the_oracle(inputs: int, outputs: int) -> None:
    """The sums are exact, and nothing else is rounded in another order."""
    network = random_network([inputs, outputs, 9], activation="relu")
    for n in (1, 2, 19, 33):
        x = rows(n, inputs)
        want = oracle_outputs(network, "int8", x, activation="relu")
        for n_threads in range(1, 5):
            got = network.quantize("int8").forward(x, n_threads=n_threads)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["f16", "bf16", "int8_weights"])
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_a_layer_is_within_the_rounding_of_its_sums(kind: str, inputs: int, outputs: int) -> None:
    network = random_network([inputs, outputs])
    (layer,) = oracle_quantized.quantize(network.parameters(), kind)
    for n in (1, 2, 19):
        x = rows(n, inputs)
        read = oracle_quantized.round_to_bfloat16(x) if kind == "bf16" else x
        weight = layer.dequantized().astype(float)
        want = read.astype(float) @ weight.T + layer.bias
        magnitude = np.abs(read).astype(float) @ np.abs(weight).T + np.abs(layer.bias)
        got = network.quantize(kind).forward(x)
        assert (np.abs(got - want) <= (inputs + 4) * EPS * magnitude).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("activation", ["tanh", "gelu", "leaky_relu"])
@pytest.mark.parametrize("output_activation", ["identity", "softmax", "sigmoid", "same"])
def test_whole_networks_are_close_to_the_oracle(kind: str, activation: str, output_activation: str) -> None:
    options: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "activation_scale": 1.25,
    }
    network = random_network([13, 70, 33, 11], **options)
    x = rows(67, 13)
    want = oracle_outputs(network, kind, x, **options)
    # A hidden value on the border between two rounded ones may fall to either side.
    step = {"f16": 0, "int8_weights": 0, "bf16": 2.0**-8, "int8": 2.0**-6}[kind]
    got = network.quantize(kind).forward(x)
    assert np.abs(got - want).max() <= 2e-5 + 0.2 * step
    assert np.median(np.abs(got - want)) <= 2e-6


@pytest.mark.parametrize(
    "kind", [*FORMATS, ["f32", "int8", "f16"], ["int8", "f32", "bf16"], ["bf16", "int8_weights", "f32"]]
)
def test_a_row_has_the_same_bits_in_any_batch_and_for_any_threads(kind: str | list[str]) -> None:
    network = random_network([33, 130, 70, 5], output_activation="softmax").quantize(kind)
    x = rows(300, 33)
    want = network.forward(x, n_threads=1)
    for n_threads in (2, 3, 4):
        np.testing.assert_array_equal(network.forward(x, n_threads=n_threads), want)
    for start, n in ((0, 1), (7, 2), (17, 5), (20, 31), (100, 200)):
        np.testing.assert_array_equal(network.forward(x[start : start + n]), want[start : start + n])
    np.testing.assert_array_equal(network.forward(x[3]), want[3])
    assert network.forward_one(x[3].tolist()) == want[3].tolist()
    np.testing.assert_array_equal(network.forward(sparse.csr_matrix(x)), want)


@pytest.mark.parametrize("kind", FORMATS)
def test_wide_layers_on_several_threads(kind: str) -> None:
    """Wide enough that one row is shared among threads."""
    network = random_network([1500, 1400, 1300], activation="relu").quantize(kind)
    x = rows(40, 1500)
    want = network.forward(x, n_threads=1)
    assert "threads: 1 " not in network.explain_plan(40, n_threads=4)
    for n_threads in (2, 4):
        np.testing.assert_array_equal(network.forward(x[0], n_threads=n_threads), want[0])
        np.testing.assert_array_equal(network.forward(x, n_threads=n_threads), want)


@pytest.mark.parametrize("kind", FORMATS)
def test_encoded_rows(kind: str) -> None:
    encoder = FeatureEncoder(3, [(0, 0.5, 2.0, True), (1, 0.0, 1.0, False)], [(2, 4)])
    network = random_network([encoder.n_features, 40, 3]).quantize(kind)
    x = np.column_stack([rows(50, 2), np.arange(50) % 5]).astype(np.float32)
    x[::7, 0] = np.nan
    want = network.forward(encoder.transform(x, precision="f32"))
    np.testing.assert_array_equal(encoder.forward(network, x), want)
    one_row = RowPredictor(network, ["a", "b", "c"], encoder=encoder)
    assert list(one_row.predict_proba(x[1].tolist()).values()) == want[1].tolist()


def test_the_formats_are_reported() -> None:
    network = random_network([20, 30, 10])
    assert (network.weights, network.layer_weights) == ("f32", ("f32", "f32"))
    assert random_network([2, 3], precision="f64").layer_weights == ("f64",)
    n_weights, n_biases = 20 * 30 + 30 * 10, 40
    sizes = {"f16": 2 * n_weights, "bf16": 2 * n_weights}
    for kind in FORMATS:
        quantized = network.quantize(kind)
        assert (quantized.weights, quantized.layer_weights) == (kind, (kind, kind))
        assert (quantized.precision, quantized.n_parameters) == ("f32", network.n_parameters)
        assert quantized.nbytes == sizes.get(kind, n_weights + 4 * n_biases) + 4 * n_biases
        assert repr(quantized) == f"{network!r}.quantize({kind!r})"
        assert quantized.options == network.options
        assert f"packed {kind} product on " in quantized.explain_plan(1)
    mixed = network.quantize(["f32", "int8"])
    assert (mixed.weights, mixed.layer_weights) == ("mixed", ("f32", "int8"))
    assert mixed.nbytes == 4 * 600 + 300 + 4 * 10 + 4 * 40
    assert repr(mixed) == f"{network!r}.quantize(['f32', 'int8'])"
    assert "some layers have weights of other formats" in mixed.explain_plan(1)
    assert network.weights == "f32"  # It is a copy that is quantized.


@pytest.mark.parametrize("kind", [*FORMATS, ["f32", "int8"]])
def test_parameters_are_the_numbers_that_the_weights_stand_for(kind: str | list[str]) -> None:
    network = random_network([37, 18, 3])
    want = oracle_quantized.quantize(network.parameters(), kind)
    for (weight, bias), layer in zip(network.quantize(kind).parameters(), want, strict=True):
        assert weight.dtype == bias.dtype == np.float32
        np.testing.assert_array_equal(weight, layer.dequantized())
        np.testing.assert_array_equal(bias, layer.bias)


def test_f64_networks_are_quantized_through_f32() -> None:
    wide = random_network([9, 8, 7], precision="f64")
    narrow = Network.from_parameters(wide.parameters(), **{**wide.options, "precision": "f32"})
    x = rows(5, 9)
    for kind in ("int8", ["f32", "bf16"]):
        np.testing.assert_array_equal(wide.quantize(kind).forward(x), narrow.quantize(kind).forward(x))
        np.testing.assert_array_equal(
            wide.quantize(kind).forward(x.astype(float)), narrow.quantize(kind).forward(x)
        )


@pytest.mark.parametrize("kind", FORMATS)
def test_zeros_and_large_numbers_give_finite_outputs(kind: str) -> None:
    weight = np.zeros((3, 5), np.float32)
    weight[1] = 3e38 if kind != "f16" else 65504
    weight[2, 0] = -1e-44 if kind != "f16" else -6e-8
    network = Network.from_parameters([(weight, np.zeros(3))]).quantize(kind)
    x = np.zeros((4, 5), np.float32)
    x[1], x[2, 0], x[3] = 3e38, 1e-45, -3e38
    y = network.forward(x)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y[0], 0)
    np.testing.assert_array_equal(y[:, 0], 0)
    if kind != "f16":
        largest = np.finfo(np.float32).max
        np.testing.assert_array_equal(y[[1, 3], 1], [largest, -largest])


@pytest.mark.parametrize("kind", FORMATS)
def test_out_arrays(kind: str) -> None:
    network = random_network([6, 5]).quantize(kind)
    x = rows(3, 6)
    want, out = network.forward(x), np.empty((3, 5), np.float32)
    assert network.forward(x, out=out) is out
    np.testing.assert_array_equal(out, want)
    with pytest.raises(TypeError, match="out: expected an array of f32, got an array of dtype float64"):
        network.forward(x, out=np.empty((3, 5)))
    out[:] = 7
    x[1, 2] = np.nan
    with pytest.raises(ValueError, match="X: expected finite f32 values, got NaN at row 1, column 2"):
        network.forward(x, out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match="X: expected 6 features, got 5"):
        network.forward(rows(3, 5))


@pytest.mark.parametrize("kind", [*FORMATS, ["f32", "int8"]])
def test_copies_and_stored_parameters_are_the_same_network(kind: str | list[str]) -> None:
    network = random_network([33, 20, 4], activation="silu", output_activation="softmax").quantize(kind)
    x = rows(20, 33)
    want = network.forward(x)
    for again in (
        copy.copy(network),
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        Network._from_stored(network._stored(), **network.options),
    ):
        np.testing.assert_array_equal(again.forward(x), want)
        assert (again.layer_weights, again.nbytes) == (network.layer_weights, network.nbytes)
        assert repr(again) == repr(network)


def test_stored_parameters_are_those_of_the_oracle() -> None:
    network = random_network([33, 20, 4])
    for kind in FORMATS:
        layers = oracle_quantized.quantize(network.parameters(), kind)
        for stored, want in zip(network.quantize(kind)._stored(), layers, strict=True):
            assert stored["format"] == kind
            dtypes = {"f16": "float16", "bf16": "bfloat16"}
            assert stored["W"].dtype == dtypes.get(kind, "int8")
            np.testing.assert_array_equal(np.asarray(stored["W"]), want.weight)
            np.testing.assert_array_equal(np.asarray(stored["b"]), want.bias)
            if want.scale is None:
                assert "scale" not in stored
            else:
                np.testing.assert_array_equal(np.asarray(stored["scale"]), want.scale)


def stored_int8() -> dict[str, Any]:
    (stored,) = (
        Network.from_parameters([(np.array([[1, -2, 0.5], [0, 0, 0]]), np.array([1, 2]))])
        .quantize("int8")
        ._stored()
    )
    return stored


def with_bytes(tensor: Tensor, code: str, values: npt.ArrayLike) -> Tensor:
    return Tensor(code, tensor.shape, np.asarray(values, code).tobytes())


def test_invalid_stored_parameters_are_refused() -> None:
    good = stored_int8()
    weight, scale = good["W"], good["scale"]

    def refused(error: type[Exception], changes: dict[str, Any], *, without: str = "") -> str:
        stored = {name: value for name, value in (good | changes).items() if name != without}
        with pytest.raises(error) as caught:
            Network._from_stored([stored])
        return str(caught.value)

    assert "layers[0]" in refused(ValueError, {"format": "int9"})
    assert refused(ValueError, {}, without="scale") == 'layers[0]: expected an entry "scale", got none'
    assert refused(ValueError, {}, without="b") == 'layers[0]: expected an entry "b", got none'
    assert "-128" in refused(ValueError, {"W": with_bytes(weight, "|i1", [[1, 2, -128], [0, 0, 0]])})
    assert "at least 0" in refused(ValueError, {"scale": with_bytes(scale, "<f4", [-1, 0])})
    assert "finite" in refused(ValueError, {"scale": with_bytes(scale, "<f4", [np.inf, 0])})
    assert "finite" in refused(ValueError, {"scale": with_bytes(scale, "<f4", [np.nan, 0])})
    assert "finite" in refused(ValueError, {"b": with_bytes(good["b"], "<f4", [np.nan, 0])})
    assert "layers[0].b" in refused(ValueError, {"b": Tensor("<f4", (1,), bytes(4))})
    assert "layers[0].W scales" in refused(ValueError, {"scale": Tensor("<f4", (1,), bytes(4))})
    assert "layers[0].W: expected 2 axes" in refused(ValueError, {"W": Tensor("|i1", (6,), bytes(6))})
    assert "at least one output" in refused(ValueError, {"W": Tensor("|i1", (0, 3), b"")})
    half = Tensor("<f2", (2, 3), np.array([np.inf] * 6, "<f2").tobytes())
    assert "got NaN or infinity" in refused(ValueError, {"format": "f16", "W": half})
    wrong = "layers[0].W: expected a tensor of BF16, got one of int8"
    assert refused(TypeError, {"format": "bf16"}) == wrong
    assert refused(TypeError, {"W": 3}) == "layers[0].W: expected a Tensor"
    with pytest.raises(TypeError, match=r"layers\[0\]: expected a dict"):
        Network._from_stored([3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="layers: expected an iterable of dicts"):
        Network._from_stored(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="for at least one layer, got no layer"):
        Network._from_stored([])
    with pytest.raises(ValueError, match=r"parameters\[1\].W: expected 2 columns"):
        Network._from_stored([good, good])
    with pytest.raises(ValueError, match='precision: expected "f32" for a quantized network'):
        Network._from_stored([good], precision="f64")


def test_invalid_kinds_are_refused() -> None:
    network = random_network([4, 3, 2])

    def refused(error: type[Exception], kind: Any) -> str:
        with pytest.raises(error) as caught:
            network.quantize(kind)
        return str(caught.value)

    one_of = 'kind: expected one of "f16", "bf16", "int8", "int8_weights", got "int4"'
    assert refused(ValueError, "int4") == one_of
    assert refused(ValueError, ["int8", "int4"]) == one_of.replace("kind", "kind[1]", 1)
    assert refused(ValueError, "f32").endswith('got "f32"')
    expected = "kind: expected a low-precision format for at least one layer, got only f32"
    assert refused(ValueError, ["f32", "f32"]) == expected
    assert refused(ValueError, ["int8"]) == "kind: expected 2 formats, one for each layer, got 1"
    assert refused(TypeError, 8).startswith("kind: expected a name or a sequence of names, got")
    with pytest.raises(ValueError, match="expected a network with f32 or f64 weights, got one with int8"):
        network.quantize("int8").quantize("f16")


def test_weights_that_do_not_fit_are_refused() -> None:
    network = Network.from_parameters([([[1.0]], [0.0]), ([[70000.0]], [0.0])])
    with pytest.raises(ValueError, match=r"parameters\[1\].W: expected weights that fit into f16"):
        network.quantize("f16")
    wide = Network.from_parameters([([[1e300]], [0.0])], precision="f64")
    with pytest.raises(ValueError, match=r"parameters\[0\].W: expected values that fit into f32"):
        wide.quantize("int8")
    long = Network.from_parameters([(np.ones((1, 133_145)), [0.0])])
    with pytest.raises(ValueError, match=r"parameters\[0\].W: expected at most 133144 inputs"):
        long.quantize("int8")
    ones = np.ones(133_145, np.float32)
    assert long.quantize("int8_weights").forward(ones) == pytest.approx(133_145, rel=1e-4)


@pytest.mark.parametrize("kind", [*FORMATS, ["f32", "int8"]])
def test_training_is_refused(kind: str | list[str]) -> None:
    network = random_network([4, 3, 2])
    quantized, x, y = network.quantize(kind), rows(5, 4), rows(5, 2)
    name = kind if isinstance(kind, str) else "mixed"
    message = f"a network with {name} weights cannot be trained; train the f32 network and quantize it again"
    for call in (
        lambda: quantized.fit(x, y),
        lambda: quantized.backward(x, y),
        lambda: quantized.loss_and_gradients(x, y),
        lambda: quantized.set_parameters(network.parameters()),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(quantized.forward(x), network.quantize(kind).forward(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")
def test_a_forked_process_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network([300, 400, 400, 5]).quantize("int8")
    x = rows(300, 300)
    want = network.forward(x, n_threads=2)
    monkeypatch.setitem(FORKED, "network", network)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(outputs_of_the_forked_network, (x,)), want)


FORKED: dict[str, Network] = {}


def outputs_of_the_forked_network(x: Floats) -> Floats:
    return FORKED["network"].forward(x, n_threads=2)


def test_tensors_of_low_precision() -> None:
    values = np.array([1.5, -2, 65504, 6e-8], np.float16)
    half = Tensor("<f2", (2, 2), values.tobytes())
    assert (half.dtype, half.tolist()) == ("float16", values.tolist())
    np.testing.assert_array_equal(np.asarray(half), values.reshape(2, 2))
    integers = Tensor("|i1", (3,), np.array([-127, 0, 5], np.int8).tobytes())
    assert (integers.dtype, integers.tolist(), integers.is_finite()) == ("int8", [-127, 0, 5], True)
    assert np.asarray(integers).dtype == np.int8
    bits = np.array([0x3FC0, 0xC000, 0x7F80, 0x7FC0], np.uint16)
    brain = Tensor("bfloat16", (4,), bits.tobytes())
    assert (brain.dtype, brain.tolist()[:3]) == ("bfloat16", [1.5, -2, np.inf])
    assert np.asarray(brain).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(brain), np.array([1.5, -2, np.inf, np.nan], np.float32))
    np.testing.assert_array_equal(np.asarray(brain, dtype=float)[:2], [1.5, -2])
    with pytest.raises(ValueError, match="needs a copy"):
        np.asarray(brain, copy=False)
    assert not brain.is_finite()
    for value, missing, want in ((0x7F80, True, False), (0x7FC0, True, True), (0x7FC0, False, False)):
        one = Tensor("bfloat16", (1,), np.uint16(value).tobytes())
        assert one.is_finite(missing=missing) == want
        assert Tensor("<f2", (1,), np.float16(np.inf).tobytes()).is_finite() is False
    tensors = {"h": half, "i": integers, "b": brain}
    metadata, again = read_safetensors(write_safetensors(tensors, {"a": "b"}))
    assert metadata == {"a": "b"}
    for name, tensor in tensors.items():
        got = again[name]
        assert (got.dtype, got.shape, got.tobytes()) == (tensor.dtype, tensor.shape, tensor.tobytes())
    assert digest("{}", tensors) == digest("{}", again)
    same_bytes = Tensor("bfloat16", (2, 2), half.tobytes())
    assert digest("{}", {"h": same_bytes}) != digest("{}", {"h": half})
    with pytest.raises(ValueError, match=r"dtype: expected one of <f4, .*, got <u2"):
        Tensor("<u2", (1,), bytes(2))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_quantized_network_does_not_keep_f32_weights() -> None:
    """The memory of the process in MiB before, and after the f32 network of 64 MiB is gone."""
    code = """
import gc, tinyrs
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
before = resident()
quantized = tinyrs.Network([4096, 4096], init="log_uniform", seed=1).quantize("int8")
quantized.forward_one([0.5] * 4096)
gc.collect()
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 14 < float(done.stdout) < 26
