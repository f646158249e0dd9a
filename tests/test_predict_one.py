"""`predict_one` and `predict_proba_one`: one row from a dict or a sequence, without arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.predictor import loads

COLUMNS = ["x", "colour", "y"]
ROWS: list[list[Any]] = [
    [0.5, "red", 9.0],
    [-1, "green", None],
    [float("nan"), None, 3],
    [True, "never seen", np.float32(2.5)],
    [pd.NA, pd.NA, np.int64(4)],
]


@pytest.fixture(scope="module", params=["f32", "f64"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=300),
            "colour": rng.choice(["red", "green", "blau"], 300),
            "y": rng.normal(size=300),
        }
    )
    frame.loc[::7, "y"] = np.nan
    y = np.where(frame["x"] > 0, frame["colour"], "none")
    clf = TinyClassifier(n_layers=1, width=16, max_iter=3, random_state=0, precision=request.param)
    made: Predictor = clf.fit(frame, y).predictor()
    return made


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_one_row_gives_the_same_bits_as_a_table(predictor: Predictor, row: list[Any]) -> None:
    table = np.empty((1, 3), dtype=object)
    table[0] = row
    want = predictor.predict_proba(table)[0]
    restored = loads(predictor.to_bytes())
    assert isinstance(restored, Predictor)
    for model in (predictor, restored):
        for given in (
            row,
            tuple(row),
            iter(row),
            pd.Series(row, COLUMNS, dtype=object),
            dict(reversed(list(zip(COLUMNS, row, strict=True)))),
        ):
            probabilities = model.predict_proba_one(given)
            assert list(probabilities) == predictor.classes_.tolist()
            assert list(probabilities.values()) == want.tolist()
        assert model.predict_one(row) == predictor.predict(table)[0]
        assert type(model.predict_one(row)) is str


@pytest.mark.parametrize("values", [[0, 1, 2], [True, False], [0.5, 1.5], [1, "a", 2.5], ["7", "x"]], ids=str)
@pytest.mark.parametrize("as_frame", [True, False])
@pytest.mark.parametrize("n_values", [None, 300])
def test_categories_of_any_type(values: list[Any], as_frame: bool, n_values: int | None) -> None:
    rng = np.random.default_rng(0)
    if n_values and all(type(value) is int for value in values):
        values = list(range(n_values))  # more than MAX_CATEGORIES
    column = np.empty(600, dtype=object)
    column[:] = [values[i % len(values)] for i in range(600)]
    X: Any = np.empty((600, 2), dtype=object)
    X[:, 0], X[:, 1] = rng.normal(size=600), column
    y = np.arange(600) % len(values) % 5
    if as_frame:
        X = pd.DataFrame({"x": X[:, 0].astype(float), "c": column}).infer_objects()
    options: dict[str, Any] = {"n_layers": 1, "width": 8, "max_iter": 2, "random_state": 0}
    predictor = TinyClassifier(categorical_features=[1], **options).fit(X, y).predictor()
    want = predictor.predict_proba(X[:8])
    assert len(np.unique(want.round(6), axis=0)) > 1
    for i in range(8):
        x, value = (X["x"][i], X["c"][i]) if as_frame else X[i]
        given = {"x": x, "c": value} if as_frame else [x, value]
        assert list(predictor.predict_proba_one(given).values()) == want[i].tolist()
        if not as_frame:
            assert predictor.predict_proba(X[i]).tolist() == want[i].tolist()


def numbers_predictor(kind: str, *, names: bool) -> Predictor:
    """A predictor of three columns of numbers and four classes, with missing values in training."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    X[::9, 1] = np.nan
    table = pd.DataFrame(X, columns=["a", "b", "c"]) if names else X
    y = np.array(list("wxyz"))[(X[:, 0] > 0) + 2 * (X[:, 2] > 0)]
    clf = TinyClassifier(
        (12, 7),
        max_iter=30,
        random_state=0,
        precision="f64" if kind == "f64" else "f32",
        n_ensemble=3 if kind == "ensemble" else 1,
    )
    predictor: Predictor = clf.fit(table, y).predictor()
    return predictor.quantize("int8") if kind == "int8" else predictor


@pytest.mark.parametrize("kind", ["f32", "f64", "int8", "ensemble"])
def test_rows_of_numbers(kind: str) -> None:
    predictor = numbers_predictor(kind, names=True)
    nan = float("nan")
    rows: list[Any] = np.random.default_rng(1).normal(size=(40, 3), scale=2).tolist()
    rows += [[0.5, None, 1], [nan, nan, nan], [None, None, None], [True, 2, -3], ["0.5", " 1 ", ""]]
    table = np.array(rows, dtype=object)
    labels, probabilities = predictor.predict(table).tolist(), predictor.predict_proba(table).tolist()
    assert len(set(labels)) == 4
    forms_of_lists: list[Any] = [list, tuple, iter]
    forms_of_dicts: list[Any] = [dict, OrderedDict, pd.Series]
    for row, label, p in zip(rows, labels, probabilities, strict=True):
        want = dict(zip("wxyz", p, strict=True))
        record = dict(zip("cab", [row[2], row[0], row[1]], strict=True))
        for form in forms_of_lists:
            assert predictor.predict_one(form(row)) == label
            assert predictor.predict_proba_one(form(row)) == want
        for form in forms_of_dicts:
            assert predictor.predict_one(form(record)) == label
            assert predictor.predict_proba_one(form(record)) == want
        assert predictor.predict_one({**record, "d": "more"}) == label
        assert predictor.predict_one(record, extra_columns="error") == label


def test_the_first_of_equal_outputs_wins() -> None:
    weight = np.array([[0.0], [1.0], [1.0], [1.0 - 1e-9]])
    for precision in ("f32", "f64"):
        network = Network.from_parameters(
            [(weight, np.zeros(4))], precision=precision, output_activation="softmax"
        )
        predictor = Predictor(network, None, np.array(list("abcd")))
        # exp(-1e-9) is 1 in f32: all outputs are equal.
        for x, want in ((0.0, "a"), (3.0, "b"), (-3.0, "a"), (1e-9, "b" if precision == "f64" else "a")):
            assert predictor.predict_one([x]) == predictor.predict([[x]])[0]
            assert predictor.predict_one([x]) == want, (precision, x)


def test_rows_that_are_not_plain_lists() -> None:
    class Shifted(list[float]):
        """Its items are not those in memory."""

        def __iter__(self) -> Iterator[float]:
            return (x + 1 for x in super().__iter__())

    class Filled(dict[str, float]):
        def __missing__(self, name: str) -> float:
            return 0.25

    predictor = numbers_predictor("f64", names=True)
    proba = predictor.predict_proba_one
    assert proba(Shifted([0, 1, 2])) == proba([1, 2, 3])
    assert proba(Filled(a=1, c=2)) == proba([1, 0.25, 2])
    assert proba(range(3)) == proba(np.arange(3)) == proba([0, 1, 2])
    unnamed = numbers_predictor("f64", names=False)
    with pytest.raises(TypeError, match="expected a sequence, since the columns have no names, got a dict"):
        unnamed.predict_one({0: 1.0, 1: 2.0, 2: 3.0})


def test_a_row_of_a_large_network() -> None:
    """The GIL is released during the pass."""
    network = Network([700, 800, 3], output_activation="softmax", seed=0)
    predictor = Predictor(network, None, np.array(["a", "b", "c"]))
    for row in np.random.default_rng(0).normal(size=(20, 700), scale=3).tolist():
        assert list(predictor.predict_proba_one(row).values()) == predictor.predict_proba(row).tolist()
        assert predictor.predict_one(row) == predictor.predict([row])[0]


def test_labels_of_the_wrong_number_are_refused() -> None:
    network = Network([2, 3], output_activation="softmax", seed=0)
    with pytest.raises(ValueError, match="labels: expected 3, one for each output of the network, got 2"):
        Predictor(network, None, np.array(["a", "b"]))


def test_labels_are_python_values() -> None:
    network = Network([2, 3], output_activation="softmax", seed=0)
    integers, floats = np.array([3, 5, 7], np.int8), np.array([0.1, 1.5, 2.5], np.float32)
    for classes in (integers, floats, np.array([2, "a", True], object), np.array(["x", "yy", "z"])):
        predictor = Predictor(network, None, classes)
        for model in (predictor, loads(predictor.to_bytes())):
            assert isinstance(model, Predictor)
            assert repr(list(model.predict_proba_one([1, 2]))) == repr(classes.tolist())
            np.testing.assert_array_equal(model.classes_, classes)
            assert model.classes_.dtype == classes.dtype
            with pytest.raises(ValueError, match="read-only"):
                model.classes_[0] = 1


def test_multilabel() -> None:
    network = Network([2, 4, 3], output_activation="sigmoid", seed=3)
    predictor = Predictor(network, None, np.array(["a", "b", "c"]), multilabel=True)
    seen = set()
    for row in np.random.default_rng(0).normal(size=(50, 2), scale=3).tolist():
        indicators = predictor.predict(row)
        assert predictor.predict_one(row) == [n for n, i in zip("abc", indicators, strict=True) if i]
        seen.add(len(predictor.predict_one(row)))
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ([1.0, "red"], ValueError, "X: expected 3 columns, got 2"),
        ([1.0, "red", 2.0, 3.0], ValueError, "X: expected 3 columns, got 4"),
        (["a", "red", 1.0], ValueError, "column 'x': expected a number, got 'a'"),
        ([1.0, "red", [1.0]], TypeError, r"column 'y': expected a number, .* missing value, got \[1.0\]"),
        ([1.0, "red", float("inf")], ValueError, "column 'y': expected a finite number, got inf"),
        ([10**400, "red", 1.0], ValueError, "column 'x': expected a finite number"),
        ({"x": 1, "y": 2}, ValueError, "X: missing columns: 'colour'$"),
        ({"x": 1, "y": 2, "color": "red"}, ValueError, r"'colour'; columns that .* not have: 'color'$"),
        (pd.Series({"x": 1.0, "w": [2]}), ValueError, r"'colour', 'y'; columns that .* not have: 'w'$"),
        (3.0, TypeError, "X: expected a row of values, got a float"),
    ],
)  # fmt: skip
def test_invalid_rows_raise(predictor: Predictor, row: Any, error: type[Exception], message: str) -> None:
    for ask in (predictor.predict_one, predictor.predict_proba_one):
        with pytest.raises(error, match=message):
            ask(row)


def test_forward_one_of_a_network() -> None:
    for precision in ("f32", "f64"):
        network = Network([3, 7, 2], precision=precision, seed=1)
        row = [0.1, -2, 3.5]
        assert network.forward_one(row) == network.forward(row).tolist()
        assert network.forward_one(np.array(row)) == network.forward(row).tolist()
        with pytest.raises(ValueError, match="X: expected 3 features, got 2"):
            network.forward_one([1.0, 2.0])
        with pytest.raises(
            ValueError, match=f"X: expected finite {precision} values, got NaN at row 0, column 1"
        ):
            network.forward_one([1.0, float("nan"), 2.0])
        with pytest.raises(TypeError, match="X: expected a row of real numbers, got None in column 1"):
            network.forward_one([1.0, None, 2.0])  # type: ignore[list-item]
        with pytest.raises(TypeError, match="X: expected a row of real numbers, got <class 'int'>"):
            network.forward_one(7)  # type: ignore[arg-type]
    predictor = Predictor(network, None, np.array(["a", "b"]))
    with pytest.raises(
        TypeError, match="X: expected a sequence, since the columns have no names, got a dict"
    ):
        predictor.predict_one({"x": 1.0})
