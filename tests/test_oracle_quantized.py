"""The oracle of low precision, compared with exact fractions one number at a time."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_oracle import SHAPES, random_layers
from tinyrs import oracle
from tinyrs import oracle_quantized as quantized

FLOAT32 = np.dtype(np.float32)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
LARGEST_BFLOAT16 = struct.unpack(">f", b"\x7f\x7f\0\0")[0]


def nearest_bfloat16(x: float) -> float:
    """The nearest bfloat16 to x; of two equally near ones that with the even last bit."""
    (bits,) = struct.unpack(">I", struct.pack(">f", x))
    below = bits & 0xFFFF0000
    # Above the largest bfloat16 there is none.
    both = [below, below + 0x10000] if below & 0x7FFF0000 != 0x7F7F0000 else [below]
    values = [(struct.unpack(">f", struct.pack(">I", b))[0], b >> 16 & 1) for b in both]
    nearest: float = min(values, key=lambda v: (abs(Fraction(v[0]) - Fraction(x)), v[1]))[0]
    return nearest


@settings(max_examples=300)
@given(floats)
def test_bfloat16_is_the_nearest_number(x: float) -> None:
    got = quantized.round_to_bfloat16(x)
    assert float(got) == nearest_bfloat16(x)
    assert np.signbit(got) == np.signbit(np.float32(x))


def test_bfloat16_of_halves_and_limits() -> None:
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 3.4e38, -3.4e38, 1e-45], FLOAT32)
    want = [1, 1 + 2**-6, 1 + 2**-7, LARGEST_BFLOAT16, -LARGEST_BFLOAT16, 0]
    np.testing.assert_array_equal(quantized.round_to_bfloat16(x), np.array(want, FLOAT32))


@settings(max_examples=300)
@given(hnp.arrays(FLOAT32, st.integers(1, 9), elements=floats))
def test_integers_are_the_nearest_ones(x: np.ndarray) -> None:
    q, scale = quantized.quantize_rows(x)
    assert np.abs(q.astype(int)).max() <= 127
    largest = float(np.abs(x).max())
    if scale == 0:
        assert largest < 127 * 2.0**-149  # Too small for a scale: a denormal number would be needed.
        assert not q.any()
        return
    assert float(scale) == pytest.approx(largest / 127, rel=1e-7, abs=2.0**-149)
    for number, integer in zip(x.tolist(), q.tolist(), strict=True):
        # Half a step, and the rounding of the scale and of the quotient.
        error = abs(Fraction(number) - integer * Fraction(float(scale)))
        assert error <= Fraction(float(scale)) * (Fraction(1, 2) + Fraction(1, 2**15)) or scale < 1e-36


def test_integers_of_known_rows() -> None:
    x = np.array([[0, 0, 0], [127, -127, 0.5], [254, 3, 5], [-12.7, 0.05, 0.15]], FLOAT32)
    q, scale = quantized.quantize_rows(x)
    np.testing.assert_array_equal(q, [[0, 0, 0], [127, -127, 0], [127, 2, 2], [-127, 0, 2]])
    np.testing.assert_allclose(scale, [0, 1, 2, 0.1], rtol=1e-7)
    np.testing.assert_array_equal(quantized.quantize_rows(x[2])[0], q[2])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", quantized.FORMATS)
def test_a_layer_is_the_product_of_what_is_stored(shape: tuple[int, int], kind: str) -> None:
    outputs, inputs = shape
    (pair,) = random_layers([inputs, outputs], FLOAT32)
    (layer,) = quantized.quantize([pair], kind)
    x = np.random.default_rng(1).normal(size=(4, inputs)).astype(FLOAT32)
    x[1] = 0
    got = quantized.dense_forward_quantized(x, layer)
    assert got.dtype == FLOAT32
    weight = [[Fraction(w) for w in row] for row in layer.dequantized().astype(float).tolist()]
    if layer.scale is not None:  # Exactly the integers times the scale, not their rounded product.
        weight = [
            [w * Fraction(float(s)) for w in row]
            for row, s in zip(layer.weight.tolist(), layer.scale, strict=True)
        ]
    for row, z in zip(x, got, strict=True):
        values = [Fraction(v) for v in row.tolist()]
        if kind == "bf16":
            values = [Fraction(nearest_bfloat16(v)) for v in row.tolist()]
        if kind == "int8":
            q, scale = quantized.quantize_rows(row)
            values = [v * Fraction(float(scale)) for v in q.tolist()]
        for number, w, b in zip(z.tolist(), weight, layer.bias.tolist(), strict=True):
            products = [a * v for a, v in zip(w, values, strict=True)]
            size = sum(map(abs, products)) + abs(Fraction(b))
            # The integers add no error: only scaling and bias are rounded.
            roundings = 4 if kind == "int8" else 4 + inputs
            assert abs(Fraction(number) - sum(products) - Fraction(b)) <= roundings * size * Fraction(
                1, 2**24
            )


def test_the_sums_of_integers_are_exact() -> None:
    x = np.full(100_003, 127, np.int8)
    assert quantized.integer_sums(x, np.stack([x, -x])).tolist() == [127**2 * 100_003, -(127**2) * 100_003]


@pytest.mark.parametrize("kind", quantized.FORMATS)
def test_a_row_does_not_depend_on_its_batch(kind: str) -> None:
    layers = quantized.quantize(random_layers([9, 16, 3], FLOAT32), kind)
    x = np.random.default_rng(0).normal(size=(5, 9)).astype(FLOAT32)
    x[2] *= 1000
    batch = quantized.forward_quantized(x, layers, activation="relu", output_activation="softmax")
    for row, want in zip(x, batch, strict=True):
        got = quantized.forward_quantized(row, layers, activation="relu", output_activation="softmax")
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "error"), [("f16", 5e-3), ("bf16", 3e-2), ("int8", 5e-2), ("int8_weights", 5e-2)]
)
def test_it_is_near_the_network_of_full_precision(kind: str, error: float) -> None:
    layers = random_layers([32, 64, 64, 10], FLOAT32)
    x = np.random.default_rng(0).normal(size=(20, 32)).astype(FLOAT32)
    want = oracle.forward(x, layers, activation="tanh", output_activation="identity")
    got = quantized.forward_quantized(x, quantized.quantize(layers, kind), activation="tanh")
    assert 0 < np.abs(got - want).max() / np.abs(want).max() < error


def test_each_layer_has_its_format() -> None:
    layers = random_layers([3, 4, 5, 2], FLOAT32)
    mixed = quantized.quantize(layers, ["f16", "f32", "int8"])
    assert [layer.format for layer in mixed] == ["f16", "f32", "int8"]
    assert [str(layer.weight.dtype) for layer in mixed] == ["float16", "float32", "int8"]
    np.testing.assert_array_equal(mixed[1].dequantized(), layers[1][0])
    np.testing.assert_allclose(mixed[2].dequantized(), layers[2][0], atol=np.abs(layers[2][0]).max() / 250)
    x = np.ones(3, np.float32)
    as_they_are = quantized.forward_quantized(x, quantized.quantize(layers, "f32"), activation="tanh")
    np.testing.assert_array_equal(as_they_are, oracle.forward(x, layers, activation="tanh"))


@pytest.mark.parametrize("kind", quantized.FORMATS)
def test_huge_inputs_give_finite_outputs(kind: str) -> None:
    largest = np.finfo(np.float32).max
    weight = np.array([[3e4, -3e4, 1], [0, 0, 0]], np.float32)
    layers = quantized.quantize([(weight, np.zeros(2, np.float32))], kind)
    for x in ([largest, 0, 0], [largest, largest, 0], [-largest, largest, 1], [1e-45, 0, 0]):
        got = quantized.forward_quantized(np.array(x, np.float32), layers)
        assert np.isfinite(got).all()
        assert got[1] == 0


def test_what_cannot_be_quantized_raises() -> None:
    layers = random_layers([2, 2], FLOAT32)
    with pytest.raises(ValueError, match=r"format: expected one of f32, f16, .*, got 'i4'"):
        quantized.quantize(layers, "i4")
    with pytest.raises(ValueError, match="formats: expected 1 names, one per layer, got 2"):
        quantized.quantize(layers, ["f16", "f16"])
    huge = [(np.full((1, 1), 65520, np.float32), np.zeros(1, np.float32))]
    with pytest.raises(ValueError, match=r"parameters\[0\].W: expected numbers that fit into f16, got 65520"):
        quantized.quantize(huge, "f16")
    with pytest.raises(ValueError, match="expected at least one layer, got none"):
        quantized.forward_quantized(np.ones(2), [])
