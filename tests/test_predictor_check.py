"""Warnings about columns unlike those of training, and `Predictor.check`."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tinyrs
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from tinyrs import DataShiftWarning, Network, Predictor, TinyClassifier
from tinyrs.predictor import loads

# Every warning counts here.
pytestmark = pytest.mark.filterwarnings("error")

GOLDEN = Path(__file__).parent / "golden"
ROWS = 400


def small() -> TinyClassifier:
    return TinyClassifier(n_layers=1, width=8, max_iter=2, random_state=0)


def table(rng: np.random.Generator, rows: int = ROWS) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": rng.uniform(17, 90, rows),
            "t": rng.choice(["a", "b", "c"], rows),
            "gap": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 365, rows), unit="D"),
            "zip": rng.choice([f"{i:05}" for i in range(1000)], rows),
            "flag": rng.random(rows) < 0.5,
            "constant": 1.0,
        }
    )


@pytest.fixture(scope="module")
def classifier() -> TinyClassifier:
    frame = table(np.random.default_rng(0), 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant column
        return small().fit(frame, (frame["age"] > 50).astype(int))


@pytest.fixture(scope="module")
def predictor(classifier: TinyClassifier) -> Predictor:
    loaded = loads(classifier.predictor().to_bytes())
    assert isinstance(loaded, Predictor)
    return loaded


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return table(np.random.default_rng(1))


def messages(ask: Callable[[], object]) -> list[str]:
    """The texts of the warnings that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask()
    assert all(w.category is DataShiftWarning for w in caught)
    # At the line of the caller: the package's own lines would make all calls one place.
    assert not any("tinyrs" in Path(w.filename).parts for w in caught)
    return [str(w.message) for w in caught]


RANGE = "the range of training (17.0139 to 89.9636)"
SHIFTS: list[tuple[dict[str, Any], str]] = [
    ({"t": "new"}, "column 't': 400 of 400 values were not seen in training"),
    ({"t": None}, "column 't': 400 of 400 values are missing (none in training)"),
    ({"age": 1000.0}, f"column 'age': 400 of 400 values are far outside {RANGE}"),
    ({"age": -1000}, f"column 'age': 400 of 400 values are far outside {RANGE}"),
    ({"age": None}, "column 'age': 400 of 400 values are missing (none in training)"),
    ({"gap": None}, "column 'gap': 400 of 400 values are missing (10.4% in training)"),
    ({"day": "2040-05-06"}, "column 'day': 400 of 400 values are far outside the range of training "
                            "(2020-01-01 to 2020-12-30)"),
    ({"zip": "x"}, "column 'zip': 400 of 400 values are not among the 256 most frequent of training"),
    ({"age": [1e9] * 20 + [40] * 380}, f"column 'age': 20 of 400 values are far outside {RANGE}"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), SHIFTS, ids=[message[:40] for _, message in SHIFTS])
def test_a_shift_is_one_warning_a_call(
    classifier: TinyClassifier,
    predictor: Predictor,
    frame: pd.DataFrame,
    change: dict[str, Any],
    message: str,
) -> None:
    shifted = frame.assign(**change)
    for ask in (
        lambda: predictor.predict(shifted),
        lambda: predictor.predict_proba(shifted, n_threads=2),
        lambda: predictor.predict(shifted.to_dict("records")),
        lambda: classifier.predict(shifted),
        lambda: classifier.predict_proba(shifted),
        lambda: classifier.predict_log_proba(shifted),
        lambda: classifier.decision_function(shifted),
        lambda: classifier.score(shifted, np.zeros(ROWS)),
    ):
        assert messages(ask) == [message]
    report = predictor.check(shifted)
    assert report.warnings == [message]
    assert f"warning: {message}" in repr(report)
    with pytest.raises(DataShiftWarning):
        predictor.predict(shifted)


def test_what_is_not_clearly_a_shift_is_no_warning(predictor: Predictor, frame: pd.DataFrame) -> None:
    for change in (
        {},
        {"constant": 2.0},  # not a feature
        {"age": 100.0},  # outside of the range, but near
        {"age": [1e9] * 2 + [40] * 398},
        {"t": ["new"] * 3 + ["a"] * 397},
        {"gap": [None] * 60 + [0.0] * 340},
    ):
        assert messages(lambda: predictor.predict(frame.assign(**change))) == []  # noqa: B023
    assert predictor.check(frame).warnings == []


def test_one_row(predictor: Predictor, frame: pd.DataFrame) -> None:
    row = frame.iloc[0].to_dict()
    assert messages(lambda: predictor.predict_one(row)) == []
    cases: dict[str, dict[str, Any]] = {
        "column 't': the value was not seen in training": {"t": "new"},
        "column 't': the value is missing (none in training)": {"t": None},
        f"column 'age': the value is far outside {RANGE}": {"age": 1e6},
        "column 'age': the value is missing (none in training)": {"age": None},
    }
    for message, change in cases.items():
        shifted = {**row, **change}
        for ask in (predictor.predict_one, predictor.predict_proba_one, predictor.predict):
            assert messages(lambda: ask(shifted)) == [message]  # noqa: B023
    assert messages(lambda: predictor.predict_one({**row, "zip": "x", "gap": None})) == []
    assert messages(lambda: predictor.predict_one({**row, "age": 1e6, "t": "new"})) == [*cases][2::-2]


def test_a_loop_warns_once_at_its_line(predictor: Predictor, frame: pd.DataFrame) -> None:
    row = frame.iloc[0].to_dict()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for age in range(1000, 1100):
            predictor.predict_one({**row, "age": age})
    assert len(caught) == 1


def test_the_result_is_the_same_with_a_warning(predictor: Predictor, frame: pd.DataFrame) -> None:
    shifted = frame.assign(t="new", age=1e6)
    assert predictor.preprocessor is not None
    want = predictor.preprocessor.forward(predictor.network, predictor.preprocessor.encode(shifted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(predictor.predict_proba(shifted), want)
        out = np.empty_like(want)
        predictor.predict_proba(shifted, out=out)
    np.testing.assert_array_equal(out, want)


def test_plain_arrays() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    predictor = small().fit(X, X[:, 0] > 0).predictor()
    for dtype in (np.float32, np.float64):
        for plain in (X.astype(dtype), np.round(X).astype(int)):
            assert messages(lambda: predictor.predict(plain)) == []  # noqa: B023
        shifted: Any = X.astype(dtype)
        shifted[:, 1] += 100
        shifted[::2, 2] = np.nan
        found = messages(lambda: predictor.predict(shifted))  # noqa: B023
        assert found[0].startswith("column 1: 1,000 of 1,000 values are far outside the range")
        assert found[1] == "column 2: 500 of 1,000 values are missing (none in training)"
        assert predictor.check(shifted).warnings == found
        assert messages(lambda: predictor.predict(shifted[1])) == [  # noqa: B023
            found[0].replace("1,000 of 1,000 values are", "the value is")
        ]


def test_many_columns_are_one_more_message() -> None:
    X = np.random.default_rng(0).normal(size=(1000, 30))
    predictor = small().fit(X, X[:, 0] > 0).predictor()
    found = messages(lambda: predictor.predict(X + 1000))
    assert len(found) == 11
    assert found[-1] == "20 other columns are unlike those of training too: see Predictor.check"
    assert len(predictor.check(X + 1000).warnings) == 30


def test_the_report(predictor: Predictor, frame: pd.DataFrame) -> None:
    shifted = frame.assign(age=frame["age"] + 36.5, t=["new"] * 100 + ["a"] * 300)
    shifted.loc[:39, "gap"] = None
    report = predictor.check(shifted.assign(more=1))
    rows = {row["column"]: row for row in report.to_dict()}
    assert list(rows) == list(frame.columns)
    assert report.n_rows == ROWS
    assert [rows[name]["kind"] for name in rows] == [
        "number", "category", "number", "date", "category", "boolean", "number",
    ]  # fmt: skip
    assert rows["t"]["unseen"] == 0.25
    assert rows["t"]["missing"] == rows["t"]["missing_in_training"] == 0
    assert rows["gap"]["missing"] == shifted["gap"].isna().mean()
    assert 0.08 < rows["gap"]["missing_in_training"] < 0.12
    assert abs(rows["age"]["shift"] - 1) < 0.15
    assert 0.4 < rows["age"]["out_of_range"] < 0.6
    assert abs(rows["day"]["shift"]) < 0.15
    assert rows["constant"]["shift"] is None
    assert len(pd.DataFrame(report.to_dict())) == 7
    json.dumps(report.to_dict(), allow_nan=False)
    lines = repr(report).splitlines()
    assert lines[0] == "400 rows, compared with those of training"
    assert lines[1].split() == [
        "column",
        "kind",
        "missing",
        "(training)",
        "unseen",
        "out",
        "of",
        "range",
        "shift",
    ]
    assert lines[3].split() == ["'t'", "category", "0.0%", "0.0%", "25.0%"]
    with pytest.raises(ValueError, match="unexpected columns: 'more'"):
        predictor.check(shifted.assign(more=1), extra_columns="error")
    assert predictor.check(frame.iloc[0].to_dict()).n_rows == 1


def test_statistics_survive_file_and_pickle(classifier: TinyClassifier, predictor: Predictor) -> None:
    assert predictor.preprocessor == classifier.preprocessor_
    assert pickle.loads(pickle.dumps(predictor)).preprocessor == predictor.preprocessor
    assert pickle.loads(pickle.dumps(classifier)).preprocessor_ == predictor.preprocessor
    assert predictor.preprocessor is not None
    statistics = predictor.preprocessor.statistics
    assert statistics is not None
    assert statistics.n_rows == 2000
    assert sum(statistics.counts[0]) == 2000
    assert statistics.quartiles[1] is None
    assert statistics.quartiles[6] == (1.0,) * 5


def test_models_without_statistics_check_less() -> None:
    old = tinyrs.load(GOLDEN / "v1-predictor.safetensors")
    assert isinstance(old, Predictor)
    assert old.preprocessor is not None
    assert old.preprocessor.statistics is None
    category, number = old.preprocessor.categories[0], old.preprocessor.numbers[0]
    row: list[Any] = [0.5] * old.n_features_in_
    for of_category in old.preprocessor.categories:
        row[of_category.column] = of_category.names[0]
    assert messages(lambda: old.predict_one(row)) == []
    row[number.column] = 1e30
    row[category.column] = "certainly new"
    assert len(messages(lambda: old.predict_one(row))) == 1
    assert old.check([row]).columns[number.column].out_of_range is None
    plain = Predictor(Network([2, 2], seed=0), None, np.array([0, 1]))
    assert messages(lambda: plain.predict([[1e9, 1e9]])) == []
    with pytest.raises(ValueError, match="check: expected a model with preprocessing"):
        plain.check([[1, 2]])


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "counts": lambda rng, n: rng.poisson(0.1, n),
    "rarely missing": lambda rng, n: np.where(rng.random(n) < 0.01, np.nan, rng.normal(size=n)),
    "often missing": lambda rng, n: np.where(rng.random(n) < 0.4, np.nan, rng.normal(size=n)),
    "rare categories": lambda rng, n: rng.choice([*"abcdef"], n, p=[0.5, 0.3, 0.19, 0.006, 0.003, 0.001]),
    "zipf categories": lambda rng, n: (rng.zipf(1.5, n) % 10_000).astype(str).astype(object),
}  # fmt: skip


@pytest.mark.parametrize("train_rows", [50, 300, 3000])
def test_fresh_rows_of_the_same_distribution_do_not_warn(train_rows: int) -> None:
    """At most one column in 200 does, although several have heavy tails or a long tail of categories."""
    warned = calls = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)

        def sample(rows: int, rng: np.random.Generator = rng) -> pd.DataFrame:
            return pd.DataFrame({name: draw(rng, rows) for name, draw in DISTRIBUTIONS.items()})

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor = small().fit(sample(train_rows), rng.integers(0, 2, train_rows)).predictor()
        for rows in (1, 2, 5, 20, 100, 1000) * 3:
            warned += len(predictor.check(sample(rows)).warnings)
            calls += 1
    assert warned <= calls * len(DISTRIBUTIONS) / 200


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
def test_held_out_rows_of_real_data_do_not_warn(load: Callable[..., Any]) -> None:
    X, y = load(return_X_y=True)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = np.split(order, [len(X) // 2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor = small().fit(X[train], y[train]).predictor()
        assert messages(lambda: predictor.predict(X[test])) == []  # noqa: B023
        for rows in (test[:1], test[:3], test[:10]):
            assert messages(lambda: predictor.predict(X[rows])) == []  # noqa: B023
