"""ONNX export: onnxruntime computes the predictions of tinyrs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.oracle import ACTIVATIONS
from tinyrs.tabular.preprocessor import CategoryColumn, NumberColumn, Preprocessor

# Tables with a constant column.
pytestmark = pytest.mark.filterwarnings("ignore:.*consider dropping:UserWarning")

QUICK: dict[str, Any] = {"n_layers": 2, "width": 24, "max_iter": 16, "random_state": 0}


def run(path: Path, feed: dict[str, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The labels and probabilities that onnxruntime computes."""
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["label", "probabilities"]
    label, probabilities = session.run(None, feed)
    return label, probabilities


def feed_of(path: Path, frame: pd.DataFrame) -> dict[str, Any]:
    """The columns of a table as the inputs of the model."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {}
    for tensor, name in zip(session.get_inputs(), frame, strict=True):
        column = frame[name]
        if tensor.type == "tensor(string)":
            values = np.array(["" if pd.isna(v) else str(v) for v in column], dtype=object)
        else:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        feed[tensor.name] = values.reshape(-1, 1)
    return feed


def largest_difference(
    path: Path, model: TinyClassifier | Predictor, X: Any, feed: dict[str, Any] | None = None
) -> float:
    """The largest difference of the probabilities of onnxruntime and the model; asserts equal labels."""
    label, got = run(path, {"X": np.asarray(X)} if feed is None else feed)
    want, classes = model.predict_proba(X), model.predict(X)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_array_equal(label, classes)
    return float(np.abs(got - want).max())


def tolerance(precision: str) -> float:
    return 1e-5 if precision == "f32" else 1e-12


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("data", ["digits", "breast cancer"])
def test_real_data(tmp_path: Path, digits: Any, data: str, precision: str) -> None:
    X, y = digits if data == "digits" else load_breast_cancer(return_X_y=True)
    clf = TinyClassifier(precision=precision, **QUICK).fit(X, y)
    assert clf.score(X, y) > 0.9
    clf.to_onnx(tmp_path / "model.onnx")
    assert largest_difference(tmp_path / "model.onnx", clf, X) < tolerance(precision)
    # Any number of rows, and one input a column.
    assert largest_difference(tmp_path / "model.onnx", clf, X[:1]) < tolerance(precision)
    clf.to_onnx(tmp_path / "columns.onnx", inputs="columns")
    feed = {f"column_{i}": X[:, [i]] for i in range(X.shape[1])}
    assert largest_difference(tmp_path / "columns.onnx", clf, X, feed) < tolerance(precision)


def mixed(n: int = 400) -> tuple[pd.DataFrame, npt.NDArray[Any]]:
    """A table with all kinds of columns and missing values."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(1e6, 3, n),
            "colour": rng.choice(["red", "grün", "a b", 'q"\\'], n).astype(object),
            "label": rng.choice(["x", "y"], n).astype(object),
            "member": rng.random(n) > 0.5,
            "grade": rng.integers(1, 6, n),
            "code": pd.Categorical(rng.choice([10, 20, 30], n)),
            "maybe": pd.Series([[True, False, None][i] for i in rng.integers(0, 3, n)], dtype=object),
            "mix": pd.Series([[1, "one", 2.5, None][i] for i in rng.integers(0, 4, n)], dtype=object),
            "": rng.normal(size=n),
            "constant": 7.0,
            "empty": np.nan,
        }
    )
    y = np.where(frame["size"] + 3 * (frame["colour"] == "red") + frame["grade"] > 1e6 + 3, "yes", "no")
    frame.loc[::5, "size"] = np.nan
    frame.loc[::7, "colour"] = None
    return frame, y


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_mixed_table(tmp_path: Path, precision: str) -> None:
    X, y = mixed()
    clf = TinyClassifier(categorical_features=["grade"], precision=precision, **QUICK).fit(X, y)
    clf.to_onnx(tmp_path / "model.onnx")
    unseen = X[:50].copy()
    unseen.loc[unseen.index[::2], ["colour", "label", "mix"]] = "never seen"
    unseen["grade"] = np.arange(50)
    unseen["code"] = pd.Series([99] * 50).astype("category")
    unseen.loc[unseen.index[::3], ["label", "", "grade"]] = (
        None  # missing values in columns that had none in training
    )
    unseen["constant"] = np.nan
    for table in (X, unseen):
        feed = feed_of(tmp_path / "model.onnx", table)
        assert largest_difference(tmp_path / "model.onnx", clf, table, feed) < tolerance(precision)
    types = {name: value.dtype.kind for name, value in feed.items()}
    # Categories of numbers and booleans are number inputs; names that are taken get a "_" appended.
    assert {n for n, kind in types.items() if kind == "O"} == {"colour", "label_", "mix"}
    assert list(types)[8] == "_"


def test_categories_that_are_numbers_fit_into_a_matrix(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(0, 4, 200)])
    X[::9, 1] = np.nan
    clf = TinyClassifier(categorical_features=[1], precision="f64", **QUICK).fit(X, X[:, 1] == 2)
    clf.to_onnx(tmp_path / "model.onnx")
    X[::4, 1] = 77
    assert largest_difference(tmp_path / "model.onnx", clf, X) < 1e-12


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(tmp_path: Path, activation: str, precision: str, scale: float) -> None:
    """All activations, in hidden layers and at the output, without preprocessing."""
    options: dict[str, Any] = {"precision": precision, "activation_scale": scale, "seed": 1}
    X = np.random.default_rng(0).normal(0, 3, (300, 5)).astype("f" if precision == "f32" else "d")
    for output in ("softmax", "sigmoid", "identity", "same"):
        network = Network(
            [5, 16, 16, 3], activation=[activation, "tanh"], output_activation=output, **options
        )
        if output == "same":
            network = Network([5, 16, 16, 3], activation=activation, output_activation=output, **options)
        predictor = Predictor(network, None, np.array(["a", "b", "c"]))
        predictor.to_onnx(tmp_path / "model.onnx")
        size = max(1.0, float(np.abs(predictor.predict_proba(X)).max()))
        assert largest_difference(tmp_path / "model.onnx", predictor, X) < size * tolerance(precision) / 2


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_multilabel(tmp_path: Path, precision: str) -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    clf = TinyClassifier(precision=precision, **QUICK).fit(X, (X > 0).astype(int))
    clf.to_onnx(tmp_path / "model.onnx")
    assert largest_difference(tmp_path / "model.onnx", clf, X) < tolerance(precision)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        (["a", "ö"], "O"),
        ([3, -1], "i"),
        ([False, True], "i"),
        ([0.5, 1.5], "f"),
        (np.array(["x", "y"], object), "O"),
        (np.array([3, 4], np.uint8), "i"),
    ],
)
def test_labels(tmp_path: Path, classes: Any, dtype: str) -> None:
    network = Network([2, 2], output_activation="softmax", seed=0)
    predictor = Predictor(network, None, np.asarray(classes))
    predictor.to_onnx(tmp_path / "model.onnx")
    X = np.random.default_rng(0).normal(size=(20, 2)).astype("f")
    label, _ = run(tmp_path / "model.onnx", {"X": X})
    assert label.dtype.kind == dtype
    np.testing.assert_array_equal(label, predictor.predict(X))


@pytest.mark.parametrize("categories", [(), (CategoryColumn(1, (), 0),)])
def test_no_column_varies(tmp_path: Path, categories: tuple[CategoryColumn, ...]) -> None:
    network = Network([1, 2], output_activation="softmax", seed=0)
    preprocessor = Preprocessor(1 + len(categories), (NumberColumn(0, 1.0, 0.0, False),), categories)
    predictor = Predictor(network, preprocessor, np.arange(2))
    predictor.to_onnx(tmp_path / "model.onnx", inputs="columns")
    feed = {"column_0": np.array([[1.0], [np.nan]]), "column_1": np.array([["a"], [""]], object)}
    _, got = run(
        tmp_path / "model.onnx", {f"column_{i}": feed[f"column_{i}"] for i in range(preprocessor.n_columns)}
    )
    np.testing.assert_allclose(got, [network.forward([0.0])] * 2, rtol=1e-6)


def categories_predictor(*names: str, buckets: int = 0, kind: str = "text") -> Predictor:
    network = Network([len(names) + buckets, 2], output_activation="softmax", seed=0)
    preprocessor = Preprocessor(1, (), (CategoryColumn(0, names, buckets, kind),))
    return Predictor(network, preprocessor, np.arange(2), feature_names=["city"])


def test_what_onnx_cannot_express_raises(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    def raises(predictor: Predictor, message: str, **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            predictor.to_onnx(path, **options)
        assert not path.exists()

    raises(
        categories_predictor("a", buckets=16),
        "column 'city': expected at most 1 categories in an ONNX export",
    )
    raises(categories_predictor("a"), "column 'city': expected numbers for inputs='matrix'", inputs="matrix")
    raises(
        categories_predictor("a"),
        "inputs: expected 'auto', 'matrix' or 'columns', got 'rows'",
        inputs="rows",
    )
    network = Network([2, 2], seed=0)
    raises(
        Predictor(network, None, np.array(["a", 1], object)), "classes: expected only strings or only numb"
    )
    raises(Predictor(network, None, np.array([1, 2**63], np.uint64)), "classes: expected 64-bit integers")
    bounded = Network([2, 2], epsilon_exp=80, seed=0)
    raises(Predictor(bounded, None, np.arange(2)), "epsilon_exp: expected at most 1 in an export, got 80")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("9007199254740993",), "number"),
        ((str(2**53), str(2**53 + 1)), "number"),
        (("3", "7"), "text"),
        (("2020-01-01", "\0missing"), "text"),
    ],
)
def test_categories_that_are_not_distinct_numbers_are_strings(
    tmp_path: Path, names: tuple[str, ...], kind: str
) -> None:
    predictor = categories_predictor(*names, kind=kind)
    predictor.to_onnx(tmp_path / "model.onnx")
    texts = ["" if name == "\0missing" else name for name in (*names, "other")]
    _, got = run(tmp_path / "model.onnx", {"city": np.array(texts, object).reshape(-1, 1)})
    want = predictor.network.forward(np.eye(len(texts))[:, :-1])
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_column_of_numbers_that_is_not_read_fits_into_a_matrix(tmp_path: Path) -> None:
    columns = (CategoryColumn(1, (), 0, "number"),)
    preprocessor = Preprocessor(2, (NumberColumn(0, 0.0, 1.0, False),), columns)
    predictor = Predictor(Network([1, 2], output_activation="softmax", seed=0), preprocessor, np.arange(2))
    predictor.to_onnx(tmp_path / "model.onnx", inputs="matrix")
    X = np.array([[1.0, 7.0], [-2.0, np.nan]])
    _, got = run(tmp_path / "model.onnx", {"X": X})
    np.testing.assert_allclose(got, predictor.predict_proba(X), rtol=1e-6)


def test_a_failed_export_leaves_the_folder_unchanged(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="path: expected a file"):
        categories_predictor("a").to_onnx(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_without_onnx_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['onnx'] = None; import tinyrs.export.onnx"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: ONNX needs the package onnx" in result.stderr
    assert "pip install 'tinyrs[onnx]'" in result.stderr


def times() -> tuple[pd.DataFrame, npt.NDArray[Any], dict[str, npt.NDArray[np.float64]]]:
    """A table of dates, times and durations, its labels, and the inputs of its exports, by name."""
    rng = np.random.default_rng(0)
    day = pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 9000, 300), unit="h"))
    day[::7] = pd.NaT
    lasts = pd.Series(pd.to_timedelta(rng.integers(0, 9000, 300), unit="s"))
    clock = pd.Series((pd.Timestamp("2023-01-01") + lasts).dt.time, dtype=object)
    frame = pd.DataFrame({"day": day, "n": rng.normal(size=300), "clock": clock, "lasts": lasts})
    inputs = {
        "day": (day - pd.Timestamp("1970-01-01")).dt.total_seconds(),
        "n": frame["n"],
        "clock": lasts.dt.total_seconds() % 86400,
        "lasts": lasts.dt.total_seconds(),
        "day.year": day.dt.year,
        "day.month": day.dt.month,
        "day.day_of_week": day.dt.day_of_week,
        "day.day_of_year": day.dt.day_of_year,
        "day.hour": day.dt.hour,
    }
    y = np.where((day.dt.day_of_week > 3) ^ (frame["n"] > 0), "yes", "no")
    return frame, y, {name: values.to_numpy(dtype=np.float64) for name, values in inputs.items()}


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_dates_and_times_are_numbers(tmp_path: Path, precision: str) -> None:
    X, y, inputs = times()
    clf = TinyClassifier(precision=precision, **QUICK).fit(X, y)
    path = tmp_path / "model.onnx"
    clf.to_onnx(path, inputs="columns")
    feed = {name: values.reshape(-1, 1) for name, values in inputs.items()}
    assert largest_difference(path, clf, X, feed) < tolerance(precision)
    documented = {value.name: value.doc_string for value in onnx.load(path).graph.input}
    assert list(documented) == list(inputs)
    assert documented["day"] == "seconds since 1970-01-01 00:00 UTC"
    assert documented["day.day_of_week"] == "day of the week, Monday is 0, of column 0"
    assert documented["n"] == ""
    clf.to_onnx(path)
    assert largest_difference(path, clf, X, {"X": np.column_stack(list(inputs.values()))}) < tolerance(
        precision
    )
    assert (
        onnx.load(path).graph.input[0].doc_string.startswith("column 0: seconds since 1970-01-01 00:00 UTC; ")
    )
