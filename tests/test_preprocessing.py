"""The preprocessing of tables, compared with a specification in NumPy."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tinyrs import Network, TinyClassifier
from tinyrs._tinyrs import first_infinite, row_maxima
from tinyrs.tabular.preprocessor import CategoryColumn, Preprocessor
from tinyrs.tabular.preprocessor_fit import fit_categories, fit_table, quantiles
from tinyrs.tabular.shift import shift_check
from tinyrs.tabular.tables import ObjectCells, Table
from tinyrs.tabular.type_checks import is_missing


def features(preprocessor: Preprocessor, encoded: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The specification of `Preprocessor.transform`, in float64: (rows, columns) -> (rows, features)."""
    blocks: list[npt.NDArray[Any]] = []
    x = encoded.astype(np.float64)
    for number in preprocessor.numbers:
        if number.scale > 0:
            with np.errstate(over="ignore"):
                z = np.clip((x[:, number.column] - number.centre) * number.scale, -1e18, 1e18)
            blocks.append(np.nan_to_num(z / np.sqrt(1 + np.square(z / 3))))
    blocks += [np.isnan(x[:, n.column]) for n in preprocessor.numbers if n.missing_indicator]
    for category in preprocessor.categories:
        blocks += [x[:, category.column] == code for code in range(category.n_codes)]
    return np.column_stack(blocks or [np.zeros(len(x))]).astype(np.float64)


@pytest.fixture
def table() -> Table:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(100, 3, 97),
            "colour": np.resize(np.array(["red", "green", None], dtype=object), 97),
            "constant": 5,
            "whole": rng.integers(0, 9, 97).astype(float),
        }
    )
    frame.loc[3:9, "whole"] = np.nan
    return Table.read(frame)


def test_a_weight_counts_in_quantiles_as_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    column, weight = rng.normal(size=31), rng.integers(1, 5, 31)
    repeated = np.repeat(column, weight)
    np.testing.assert_array_equal(quantiles(column, weight.astype(float)), quantiles(repeated, None))
    np.testing.assert_array_equal(
        quantiles(column, None), np.quantile(column, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf")
    )


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_match_the_specification(table: Table, precision: str, dtype: Any) -> None:
    preprocessor = fit_table(table)
    encoded = preprocessor.encode(table).astype(dtype)
    got = preprocessor.transform(encoded, precision)
    assert got.dtype == {"f32": np.float32, "f64": np.float64}[precision]
    want = features(preprocessor, encoded)
    assert got.shape == want.shape == (97, 2 + 1 + 3)
    np.testing.assert_allclose(got, want, rtol=3e-16 if precision == "f64" else 6e-8, atol=0)
    np.testing.assert_array_equal(preprocessor.transform(encoded[5], precision), got[5])


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_forward_is_transform_and_the_network(table: Table, precision: str, rows: int) -> None:
    preprocessor = fit_table(table)
    encoded = np.resize(preprocessor.encode(table), (rows, 4))
    network = Network([6, 33, 3], precision=precision, output_activation="softmax", seed=1)
    want = network.forward(preprocessor.transform(encoded, precision))
    for n_threads in (1, 2, 3):
        np.testing.assert_array_equal(preprocessor.forward(network, encoded, n_threads), want)
    out = np.empty_like(want)
    assert preprocessor.feature_encoder.forward(network, encoded, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_column_major_rows_give_the_same_bits_without_a_copy(table: Table, dtype: Any) -> None:
    preprocessor = fit_table(table)
    by_column = preprocessor.encode(table).astype(dtype)
    assert by_column.flags.f_contiguous
    encoder, check = preprocessor.feature_encoder, shift_check(preprocessor, None).columns
    network = Network([6, 33, 3], output_activation="softmax", seed=1)
    by_row = np.ascontiguousarray(by_column)
    np.testing.assert_array_equal(encoder.forward(network, by_column), encoder.forward(network, by_row))
    np.testing.assert_array_equal(
        encoder.transform(by_column, precision="f64"), encoder.transform(by_row, precision="f64")
    )
    assert check.count(by_column) == check.count(by_row)
    assert sum(missing for missing, _ in check.count(by_column)) > 0
    with pytest.raises(ValueError, match="out: it shares memory with X"):
        encoder.forward(network, by_column, out=by_column.T.reshape(-1).view("f4")[:291].reshape(97, 3))
    by_column[5, 1] = -np.inf
    with pytest.raises(ValueError, match="got -inf at row 5, column 1"):
        encoder.forward(network, by_column)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tuple_of_columns_gives_the_same_bits_without_a_copy(table: Table, dtype: Any) -> None:
    preprocessor = fit_table(table)
    by_row = np.ascontiguousarray(preprocessor.encode(table), dtype)
    columns = tuple(column.copy() for column in by_row.T)
    encoder, check = preprocessor.feature_encoder, shift_check(preprocessor, None).columns
    network = Network([6, 33, 3], output_activation="softmax", seed=1)
    want = encoder.forward(network, by_row)
    for n_threads in (1, 2, 3):
        np.testing.assert_array_equal(encoder.forward(network, columns, n_threads=n_threads), want)
    one_row = tuple(column[:1] for column in columns)
    np.testing.assert_array_equal(encoder.forward(network, one_row), want[:1])
    assert encoder.forward(network, tuple(column[:0] for column in columns)).shape == (0, 3)
    np.testing.assert_array_equal(
        encoder.transform(columns, precision="f64"), encoder.transform(by_row, precision="f64")
    )
    assert check.count(columns) == check.count(by_row)
    mixed = (*columns[:3], columns[3].astype("f8"))
    np.testing.assert_array_equal(encoder.forward(network, mixed), want)
    strided = tuple(np.repeat(column, 2)[::2] for column in columns)
    np.testing.assert_array_equal(encoder.forward(network, strided), want)
    long = np.zeros(300, dtype)
    out = long.view("f4")[:291].reshape(97, 3)
    with pytest.raises(ValueError, match="out: it shares memory with X"):
        encoder.forward(network, (*columns[:3], long[:97]), out=out)
    with pytest.raises(ValueError, match="X: expected columns of 97 rows, got 96"):
        encoder.forward(network, (*columns[:3], columns[3][1:]))
    with pytest.raises(ValueError, match=r"X: expected columns of shape \(rows,\), got \(97, 4\)"):
        encoder.forward(network, (*columns[:3], by_row))
    with pytest.raises(ValueError, match="X: expected 4 columns, got 3"):
        encoder.forward(network, columns[:3])
    with pytest.raises(ValueError, match="X: expected 4 columns, got 0"):
        check.count(())
    columns[3][0] = columns[1][5] = -np.inf
    with pytest.raises(ValueError, match="got -inf at row 5, column 1"):
        encoder.forward(network, columns)


def test_the_columns_of_a_table_are_not_copied(table: Table) -> None:
    numbers = np.asfortranarray(np.random.default_rng(0).normal(size=(97, 2)).astype(np.float32))
    columns = fit_table(Table.read(numbers)).encode_columns(Table.read(numbers))
    assert all(np.shares_memory(column, numbers) for column in columns)
    preprocessor = fit_table(table)
    np.testing.assert_array_equal(
        np.column_stack(preprocessor.encode_columns(table)), preprocessor.encode(table)
    )
    with pytest.raises(ValueError, match="X: expected 4 columns, got 2"):
        preprocessor.encode_columns(Table.read(numbers))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_infinity_is_found(dtype: Any) -> None:
    for rows in (0, 1, 15, 100):
        x = np.full(rows, np.nan, dtype)
        x[1::2] = np.finfo(dtype).max
        assert first_infinite(x) is None
        for row in range(rows):
            x[row] = -np.inf if row % 3 else np.inf
            x[row + 1 :: 4] = np.inf
            assert first_infinite(x) == row
            x[row:] = 1
    with pytest.raises(TypeError, match="values: expected an array of real numbers"):
        first_infinite(np.array(["a"]))


def test_the_largest_element_of_each_row_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for shape, dtype in (((100, 10), "f4"), ((9, 3), "f8"), ((7, 1), "f4"), ((0, 4), "f4"), ((50, 4), "i8")):
        X = rng.integers(-3, 3, shape).astype(dtype)  # with equal elements
        for x in (X, np.asfortranarray(X)):
            columns, largest = row_maxima(x)
            np.testing.assert_array_equal(columns, X.argmax(axis=1))
            np.testing.assert_array_equal(largest, X.max(axis=1))
            assert columns.dtype == np.uint32
            assert largest.dtype == ("f4" if dtype == "f4" else "f8")
    with pytest.raises(ValueError, match="X: expected between 1 and 2\\^32 - 1 columns, got 0"):
        row_maxima(np.zeros((3, 0)))
    with pytest.raises(ValueError, match=r"X: expected shape \(rows, columns\)"):
        row_maxima(np.zeros(3))
    with pytest.raises(TypeError, match="expected an array of real numbers"):
        row_maxima(np.array([["a"]]))


def test_numbers_are_centred_scaled_and_clipped() -> None:
    X = np.array([[0.0, 5, 1], [1, 5, 1], [2, 5, 1], [3, 5, 1], [1e300, 5, 9]])
    preprocessor = fit_table(Table.read(X))
    assert [n.missing_indicator for n in preprocessor.numbers] == [False] * 3
    z = preprocessor.transform(X, "f64")
    assert z.shape == (5, 2)  # a constant column gives no feature
    assert z[2, 0] == 0
    assert z[4, 0] == 3
    # The quartiles are equal: the column is scaled by its range.
    assert z[4, 1] == pytest.approx(2 / np.sqrt(1 + 4 / 9))
    # A table of constants gives one feature, 0; a column of missing values gives a missing indicator.
    same = np.full((4, 2), 3.0)
    np.testing.assert_array_equal(fit_table(Table.read(same)).transform(same, "f32"), np.zeros((4, 1)))
    missing = np.full((4, 1), np.nan)
    np.testing.assert_array_equal(fit_table(Table.read(missing)).transform(missing, "f32"), np.ones((4, 1)))


def test_many_categories_share_buckets() -> None:
    names = np.array([f"name {i % 700}" for i in range(1400)] + ["frequent"] * 99, dtype=object)[:, None]
    preprocessor = fit_table(Table.read(names))
    X = preprocessor.transform(preprocessor.encode(names), "f32")
    assert X.shape == (1499, 256 + 16)
    np.testing.assert_array_equal(X.sum(axis=1), 1)
    unseen = preprocessor.transform(preprocessor.encode(np.array([["never seen"]], dtype=object)), "f32")
    assert unseen[0, 256:].sum() == 1


@pytest.mark.parametrize(
    ("values", "kind", "same"),
    [
        ([True, False, None], "boolean", [True, np.True_, "True", "TRUE", " true ", 1, 1.0, "1"]),
        (["TRUE", "false", "NA"], "boolean", [True, np.True_, "True", "TRUE", " true ", 1, 1.0, "1"]),
        ([3, 4, None], "number", [3, 3.0, "3", "3.0", np.int64(3), np.float32(3), Decimal(3), Fraction(3)]),
        (["3", "4", "NA"], "number", [3, 3.0, "3", "3.0", np.int64(3), Decimal("3.0")]),
        (["3.0", "4.0"], "number", [3, 3.0, "3", "3.0"]),
        ([0.5, 1], "number", [0.5, "0.5", "0.50", Decimal("0.5"), Fraction(1, 2)]),
        ([2**60 + 1, 2**60], "number", [2**60 + 1, str(2**60 + 1), Decimal(2**60 + 1)]),
        ([10**30, 1], "number", [10**30, 1e30, "1e30", Decimal(10**30)]),
        (["007", "7"], "text", ["007"]),
        (["1.10", "1.9"], "text", ["1.10"]),
        (["3.0", "3"], "text", ["3.0"]),
        ([3, "x"], "text", [3, 3.0, "3", np.int64(3), Decimal("3.0")]),
        (["True", "x"], "text", [True, np.True_, "True"]),
        ([b"x", "y"], "text", [b"x", "x", np.str_("x")]),
    ],
    ids=str,
)  # fmt: skip
def test_a_category_is_its_value_and_not_its_spelling(values: list[Any], kind: str, same: list[Any]) -> None:
    column = fit_categories(0, ObjectCells.of(values))
    assert column.kind == kind
    codes = [column.code(value) for value in values]
    assert sorted(codes) == list(range(len(values)))
    assert {column.code(value) for value in same} == {codes[0]}
    missing = {column.code(value) for value in (None, float("nan"), pd.NA, pd.NaT, "")}
    assert missing == {codes[2]} if len(values) == 3 else all(math.isnan(code) for code in missing)
    assert [column.code(value) for value in ("other", 77, 7.5)] == [-1, -1, -1]


@pytest.mark.parametrize("value", [[1], (1, 2), {"a": 1}, {1}, 1j, np.complex64(1), np.zeros(2)], ids=str)
@pytest.mark.parametrize("others", [["a", "b"], [1.0, 2.0]])
def test_what_no_column_can_hold_is_refused_by_name(value: Any, others: list[Any]) -> None:
    message = r"column 'c': expected a number, text, a date or a missing value, got .* in row 2"
    column = pd.Series([*others, value], dtype=object)
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "c": column})
    with pytest.raises(TypeError, match=message):
        Table.read(frame)
    preprocessor = fit_table(Table.read(frame[:2]))
    with pytest.raises(TypeError, match=message):
        preprocessor.encode(frame)
    with pytest.raises(TypeError, match=message.removesuffix(" in row 2")):
        preprocessor.numbers_one(preprocessor.encode_one([1.0, value], ["x", "c"]), ["x", "c"])
    with pytest.raises(TypeError, match="column 1: expected a number"):
        Table.read(frame.to_numpy())


@pytest.mark.parametrize(
    "numbers",
    [
        [1, 2.5, None],
        [Decimal("1"), Decimal("2.5"), None],
        [Fraction(1), Fraction(5, 2), float("nan")],
        [np.int8(1), np.float64(2.5), pd.NA],
    ],
    ids=str,
)
def test_numbers_in_a_column_of_objects_are_numbers(numbers: list[Any]) -> None:
    frame = pd.DataFrame({"x": pd.Series(numbers, dtype=object)})
    for table in (Table.read(frame), Table.read(frame.to_numpy())):
        assert table.columns[0].kind == "number"
        preprocessor = fit_table(table)
        assert not preprocessor.categories
        np.testing.assert_array_equal(preprocessor.encode(table), [[1.0], [2.5], [np.nan]])
    with pytest.raises(ValueError, match="column 'x': expected a number, got 'y' in row 1"):
        preprocessor.encode(pd.DataFrame({"x": ["1.5", "y"]}))


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_columns_of_a_data_frame_are_found_by_name(convert: Any) -> None:
    frame = pd.DataFrame({"b": [1.0, 2.0], "a": ["x", None]})
    table = Table.read(convert(frame), ["a", "b"])
    values, inverse = table.columns[0].distinct()
    assert values[inverse[0]] == "x"
    assert is_missing(values[inverse[1]])
    assert table.numbers(1).tolist() == [1, 2]
    with pytest.raises(
        ValueError,
        match="X: missing columns: 'c'; columns that the model does not have: 'b'",
    ):
        Table.read(convert(frame), ["a", "c"])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[1.0, 2.0]]), r"X: expected 4 columns, got 2"),
        (np.full((2, 4), np.inf), "X: expected finite f64 values, got inf at row 0, column 0"),
        (np.full((2, 4), -np.inf, dtype=np.float32), "X: expected finite f32 values, got -inf"),
        (np.zeros((1, 1, 4)), r"X: expected shape \(features,\) or \(batch, features\), got \(1, 1, 4\)"),
    ],
)
def test_invalid_rows_raise(table: Table, X: Any, message: str) -> None:
    preprocessor = fit_table(table)
    network = Network([6, 2])
    with pytest.raises(ValueError, match=message):
        preprocessor.transform(X, "f32")
    with pytest.raises(ValueError, match=message):
        preprocessor.forward(network, X)
    with pytest.raises(ValueError, match="network: expected one of 6 inputs, got 5"):
        preprocessor.forward(Network([5, 2]), np.zeros((1, 4)))
    with pytest.raises(ValueError, match='precision: expected "f32" or "f64", got "f16"'):
        preprocessor.transform(np.zeros((1, 4)), "f16")


def test_pickling(table: Table) -> None:
    preprocessor = fit_table(table)
    assert pickle.loads(pickle.dumps(preprocessor)) == preprocessor


def test_text_that_is_not_unicode_has_a_bucket() -> None:
    """A file name with bytes that are not UTF-8 holds lone surrogates."""
    column = CategoryColumn(0, ("a",), 16)
    codes = {column.code(f"\udcff{i}") for i in range(20)}
    assert len(codes) > 1
    assert codes <= set(range(1, 17))


def masked(values: Any) -> Any:
    return np.ma.masked_array(values, mask=np.arange(np.size(values)).reshape(np.shape(values)) % 5 == 0)


@pytest.mark.parametrize("dtype", [float, np.float32, int, object, "U4", bool, "M8[D]", "m8[h]"])
def test_masked_values_are_missing(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, size=(200, 3)).astype(dtype)
    X, y = masked(values), rng.normal(size=200) > 0
    filled = values.astype(object)
    filled[X.mask] = None
    clf, want = (TinyClassifier(width=8, max_iter=2, random_state=0).fit(table, y) for table in (X, filled))
    probabilities = want.predict_proba(filled)
    np.testing.assert_array_equal(clf.predict_proba(X), probabilities)
    np.testing.assert_array_equal(clf.predictor().predict_proba(X), probabilities)
    np.testing.assert_array_equal(clf.predictor().predict_proba(X[0]), probabilities[0])
    with pytest.raises(ValueError, match=r"y: expected a label in every row, got (None|nan) in row 0"):
        clf.fit(filled, masked(y.astype(int)))


def test_networks_refuse_masked_arrays() -> None:
    network, X, y = Network([3, 2], output_activation="softmax"), np.zeros((5, 3)), np.zeros(5, int)
    for call in (
        lambda: network.forward(masked(X)),
        lambda: network.fit(masked(X), y),
        lambda: network.fit(X, masked(y)),
        lambda: network.fit(X, y, sample_weight=masked(np.ones(5))),
        lambda: network.set_parameters([(masked(np.zeros((2, 3))), np.zeros(2))]),
    ):
        with pytest.raises(ValueError, match="expected an array without a mask, got a masked array"):
            call()

    class Other(np.ndarray):
        """Another subclass."""

    network.forward(X.view(Other))
