"""`predict_one` and `predict_proba_one`: one row from a dict or a sequence, without arrays."""

from __future__ import annotations

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
