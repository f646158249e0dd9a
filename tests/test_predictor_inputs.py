"""What `Predictor` and `TinyClassifier` take as a table, and what they say about one that they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import dataset
from tinyrs import Network, Predictor, TinyClassifier

FRAME = pd.DataFrame(
    {"age": [20.0, 31.5, 44.0, 52.0], "colour": ["red", "green", "red", "blue"], "n": [1, 2, 3, 4]}
)
ROWS = FRAME.to_numpy(dtype=object).tolist()


def small() -> TinyClassifier:
    return TinyClassifier(n_layers=1, width=8, max_iter=3, random_state=0)


@pytest.fixture(scope="module")
def classifier() -> TinyClassifier:
    frame = pd.concat([FRAME] * 20, ignore_index=True)
    return small().fit(frame, np.arange(80) % 4)


@pytest.fixture(scope="module")
def predictor(classifier: TinyClassifier) -> Predictor:
    return classifier.predictor()


@pytest.fixture(scope="module", params=[None, "named"])
def plain(request: pytest.FixtureRequest) -> Predictor:
    """A predictor without preprocessing."""
    network = Network([3, 4, 2], output_activation="softmax", seed=1)
    names = ["age", "colour", "n"] if request.param else None
    return Predictor(network, None, np.array(["a", "b"]), feature_names=names)


class OnlyArrow:
    """A table that has only the method of Arrow's interface."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class OnlyArrowArray:
    """A record batch that has only the method of Arrow's interface for a single batch."""

    def __init__(self, table: pa.Table) -> None:
        [self._batch] = table.combine_chunks().to_batches()

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self._batch.__arrow_c_array__(requested_schema)


def duckdb_relation(frame: pd.DataFrame) -> Any:
    """The frame as a relation of DuckDB."""
    duckdb = pytest.importorskip("duckdb")
    return duckdb.connect().from_arrow(pa.Table.from_pandas(frame))


def daft_frame(frame: pd.DataFrame) -> Any:
    """The frame as one of Daft."""
    daft = pytest.importorskip("daft")
    return daft.from_arrow(pa.Table.from_pandas(frame))


SOURCES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.from_dict(frame.to_dict("list")),
    "polars LazyFrame": lambda frame: pl.LazyFrame(frame.to_dict("list")),
    "pyarrow Table": pa.Table.from_pandas,
    "pyarrow RecordBatch": lambda frame: pa.Table.from_pandas(frame).combine_chunks().to_batches()[0],
    "pyarrow RecordBatchReader": lambda frame: pa.Table.from_pandas(frame).to_reader(),
    "pyarrow Dataset": lambda frame: dataset.dataset(pa.Table.from_pandas(frame)),
    "Arrow stream": lambda frame: OnlyArrow(pa.Table.from_pandas(frame)),
    "Arrow array": lambda frame: OnlyArrowArray(pa.Table.from_pandas(frame)),
    "DuckDB": duckdb_relation,
    "Daft": daft_frame,
    "list of dicts": lambda frame: frame.to_dict("records"),
    "tuple of Series": lambda frame: tuple(row for _, row in frame.iterrows()),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("extra", [False, True])
def test_all_tables_give_the_same(predictor: Predictor, source: Callable[..., Any], extra: bool) -> None:
    want = predictor.predict_proba(np.array(ROWS, dtype=object))
    frame = FRAME[["n", "age", "colour"]]  # another order
    if extra:
        frame = frame.assign(more=["a", "b", "x", "y"], colours="red")[
            ["more", "n", "colours", "age", "colour"]
        ]
    assert predictor.predict_proba(source(frame)).tolist() == want.tolist()
    if extra:
        with pytest.raises(ValueError, match="unexpected columns: 'more', 'colours'"):
            predictor.predict(source(frame), extra_columns="error")
    else:
        assert predictor.predict_proba(source(frame), extra_columns="error").tolist() == want.tolist()
    with pytest.raises(ValueError, match=r"missing columns: 'age', 'n'(; .* not have: .*'N'.*)?$"):
        predictor.predict(source(frame.rename(columns={"n": "N"}).drop(columns="age")))


def test_lists_and_single_rows(predictor: Predictor) -> None:
    want = predictor.predict_proba(FRAME).tolist()
    assert predictor.predict_proba(ROWS).tolist() == want
    assert predictor.predict_proba([tuple(row) for row in ROWS]).tolist() == want
    for row in (
        ROWS[1],
        np.array(ROWS[1], dtype=object),
        FRAME.iloc[1],
        FRAME.iloc[1].to_dict(),
        FRAME.iloc[1][::-1],
    ):
        assert predictor.predict_proba(row).tolist() == want[1]
    assert predictor.predict([FRAME.iloc[2]]).shape == (1,)


def test_extra_keys_of_one_row(predictor: Predictor) -> None:
    row = {**FRAME.iloc[1].to_dict(), "more": 3}
    assert predictor.predict_one(row) == predictor.predict_one(ROWS[1])
    assert predictor.predict_proba_one(row) == predictor.predict_proba_one(ROWS[1])
    for ask in (
        predictor.predict_one,
        predictor.predict_proba_one,
        predictor.predict,
        predictor.predict_proba,
    ):
        with pytest.raises(
            ValueError, match=r"unexpected columns: 'more': drop them, or .*extra_columns='ignore'"
        ):
            ask(row, extra_columns="error")
        with pytest.raises(
            ValueError, match=r"extra_columns: expected one of \('ignore', 'error'\), got 'drop'"
        ):
            ask(row, extra_columns="drop")


BAD: list[tuple[Any, str]] = [
    (FRAME.assign(age=[1, 2, 3, np.inf]), "column 'age': expected a finite number, got inf in row 3"),
    (FRAME.assign(age=["1", "2", "3", "x"]), "column 'age': expected a number, got 'x' in row 3"),
    (FRAME.assign(n=[1, 2, [3], 4]), r"column 'n': expected a number, .* got \[3\] in row 2"),
    ([*ROWS[:3], ["x", "red", 1]], "column 'age': expected a number, got 'x' in row 3"),
    ([*ROWS[:3], [1.0, "red", -np.inf]], "column 'n': expected a finite number, got -inf in row 3"),
    ([*ROWS[:3], [1.0, "red", [2]]], r"column 'n': expected a number, .* got \[2\] in row 3"),
    ([*ROWS[:3], [1.0, "red"]], r"X: expected 3 columns, got 2 in row 3 \(.* 'age', 'colour', 'n'\)"),
    ([[*row, 1] for row in ROWS], "X: expected 3 columns, got 4 in row 0"),
    ([ROWS[0], 3], "X: expected a row of 3 values, got 3 in row 1"),
    ([1.0, "red"], "X: expected 3 columns, got 2"),
    (np.ones((2, 4)), "X: expected 3 columns, got 4"),
    ([FRAME.iloc[0].to_dict(), {"age": 1, "n": 2}], "X, row 1: missing columns: 'colour'$"),
    ([FRAME.iloc[0].to_dict(), ROWS[0]], r"X: expected a dict like those before, got \[.*\] in row 1"),
    ({"age": 1}, "missing columns: 'colour', 'n'$"),
    (3, r"X: expected shape \(columns,\) or \(rows, columns\), got int"),
    (None, r"X: expected shape \(columns,\) or \(rows, columns\), got NoneType"),
    (np.ones((2, 2, 2)), r"X: expected shape \(columns,\) or \(rows, columns\), got \(2, 2, 2\)"),
    (pd.DataFrame({f"c{i}": [1] for i in range(20)}), r"; columns .* 'c7', \.\.\. \(20 in all\)$"),
]  # fmt: skip


@pytest.mark.parametrize(("X", "message"), BAD, ids=[message for _, message in BAD])
def test_errors_name_the_column_and_the_row(predictor: Predictor, X: Any, message: str) -> None:
    for ask in (predictor.predict, predictor.predict_proba):
        with pytest.raises((ValueError, TypeError), match=message):
            ask(X)


def test_numbers_that_an_array_cannot_have(plain: Predictor) -> None:
    name = "'n'" if plain.feature_names_in_ else "2"
    for bad in (np.inf, np.nan):
        for X, row in (
            (np.array([[1, 2, 3], [1, 2, bad]]), " in row 1"),
            (np.array([1, 2, bad]), "( in row 0)?"),
        ):
            for given in (X.astype(np.float32), X.tolist()):
                with pytest.raises(
                    ValueError, match=f"^column {name}: expected a finite number, got {bad}{row}$"
                ):
                    plain.predict(given)
    for value, got in (
        (np.nan, "a finite number, got nan"),
        ("x", "a number, got 'x'"),
        (None, "a finite number"),
    ):
        with pytest.raises(ValueError, match=f"^column {name}: expected {got}"):
            plain.predict_one([1, 2, value])
    with pytest.raises(ValueError, match="X: expected 3 columns, got 2"):
        plain.predict_one([1, 2])
    if plain.feature_names_in_ is None:
        with pytest.raises(TypeError, match="since the columns have no names, got a list of dict"):
            plain.predict([{"a": 1}])


def test_out_of_the_wrong_shape_is_named(plain: Predictor) -> None:
    with pytest.raises(ValueError, match="out: expected"):
        plain.predict_proba(np.ones((2, 3)), out=np.empty((3, 2), np.float32))


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name not in ("list of dicts", "tuple of Series")]
)
def test_the_classifier_fits_and_predicts_the_same_tables(classifier: TinyClassifier, name: str) -> None:
    source = SOURCES[name]
    frame = pd.concat([FRAME] * 20, ignore_index=True)
    fitted = small().fit(source(frame), np.arange(80) % 4)
    assert fitted.feature_names_in_.tolist() == ["age", "colour", "n"]
    assert fitted.predict_proba(source(FRAME)).tolist() == classifier.predict_proba(FRAME).tolist()
    with pytest.raises(ValueError, match=r"(?s)should match those .*missing:\n- colour"):
        fitted.predict(source(FRAME.drop(columns="colour")))


def test_the_classifier_says_what_is_wrong(classifier: TinyClassifier) -> None:
    y = [0, 1, 0, 1]
    infinite = FRAME.assign(age=[1, np.inf, 3, 4])
    for ask in (classifier.predict, lambda X: small().fit(X, y), lambda X: small().partial_fit(X, y)):
        with pytest.raises(ValueError, match="column 'age': expected a finite number, got inf in row 1"):
            ask(infinite)
        with pytest.raises(ValueError, match="X: expected 3 columns, got 2 in row 2"):
            ask([*ROWS[:2], ROWS[2][:2], ROWS[3]])
        with pytest.raises(TypeError, match=r"got a list of dict: .* for example pandas.DataFrame\(X\)"):
            ask(FRAME.to_dict("records"))


@pytest.mark.parametrize(
    ("y", "got"),
    [
        (["a", "b", None, "a"], "None"),
        (pd.array(["a", "b", pd.NA, "a"]), "(<NA>|nan)"),
        (pd.Series([0, 1, None, 1], dtype="Int64"), "(<NA>|nan)"),
        (pd.Categorical(["a", "b", None, "a"]), "nan"),
        (np.array([0, 1, np.nan, 1]), "nan"),
        (pl.Series(["a", "b", None, "a"]), "None"),
        (pa.array(["a", "b", None, "a"]), "None"),
        (np.array([[0, 1], [1, 0], [1, np.nan], [1, 1]]), "nan"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_missing_label_is_named(y: Any, got: str) -> None:
    message = f"^y: expected a label in every row, got {got} in row 2$"
    for fit in (small().fit, small().partial_fit):
        with pytest.raises(ValueError, match=message):
            fit(FRAME, y)


def test_no_message_uses_the_words_of_a_library(predictor: Predictor) -> None:
    """The messages that users could not understand."""
    obscure = re.compile("ambiguous|DTypePromotion|inhomogeneous|eager_|series_only|centre, scale")
    for X, _ in BAD:
        with pytest.raises((ValueError, TypeError)) as raised:
            predictor.predict(X)
        assert not obscure.search(str(raised.value))
