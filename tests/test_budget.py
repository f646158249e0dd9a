"""`tinyrs.fit_to_budget` and `tinyrs train --budget`."""

from __future__ import annotations

import json
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pytest
import tinyrs
from report_pages import check_charts
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from tinyrs.budget import Budget, BudgetSearch, Candidate, latencies, search, students, teacher
from tinyrs.budget.candidates import front, table
from tinyrs.cli.budget import limit
from tinyrs.cli.main import main
from tinyrs.tabular.preprocessor import CategoryColumn
from tinyrs.tabular.preprocessor_fit import fit_table
from tinyrs.tabular.tables import Table

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture(autouse=True)
def few_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few sizes, few rows and short measurements."""
    monkeypatch.setattr(latencies, "WIDTHS", (8, 16))
    monkeypatch.setattr(latencies, "DEPTHS", (1,))
    monkeypatch.setattr(latencies, "SECONDS", 0.002)
    monkeypatch.setattr(search, "FINAL_SECONDS", 0.002)
    monkeypatch.setattr(students, "ROWS", 600)


def fit(X: Any, y: Any, **options: Any) -> BudgetSearch:
    """`fit_to_budget` with a small teacher."""
    teacher = tinyrs.TinyClassifier(n_ensemble=1, n_layers=1, width=16, max_iter=40)
    return tinyrs.fit_to_budget(X, y, **{"teacher": teacher} | options)


def candidate(**values: Any) -> Candidate:
    options: dict[str, Any] = {
        "hidden_layer_sizes": (8,),
        "weights": "int8",
        "n_columns": 4,
        "n_bytes": 1000,
        "p50_us": 1.0,
        "p99_us": 2.0,
        "accuracy": 0.9,
        "log_loss": 0.2,
        "epochs": 10,
        "fits": True,
    }
    return Candidate(**options | values)


def test_the_front_has_no_dominated_candidate() -> None:
    fast = candidate(p50_us=0.5, accuracy=0.8)
    small = candidate(n_bytes=500, accuracy=0.8)
    good = candidate(accuracy=0.95, p50_us=3.0, n_bytes=5000)
    worse = candidate(p50_us=4.0, n_bytes=6000, accuracy=0.95)
    assert front([worse, good, small, fast]) == [fast, small, good]
    assert [line.startswith("*") for line in table([worse, good]).splitlines()] == [False, True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected max_us, max_bytes or both, got neither"),
        ({"max_us": 0.0}, "max_us: expected a number above 0, got 0"),
        ({"max_bytes": -1}, "max_bytes: expected a number above 0, got -1"),
        ({"max_us": 1.0, "batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"max_us": 1.0, "percentile": 90}, "percentile: expected 50 or 99, got 90"),
    ],
)
def test_budgets_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**options)


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_a_cell_comes_from_the_row_asked_for(kind: str) -> None:
    array = np.arange(12).reshape(4, 3)
    columns = {name: array[:, i] for i, name in enumerate("abc")}
    given: Any = {
        "array": array,
        "pandas": pd.DataFrame(columns, index=[7, 7, 3, 1]),
        "polars": pl.DataFrame(columns),
    }[kind]
    cells = np.array([[0, 1, 2], [3, 3, 0]])
    np.testing.assert_array_equal(np.asarray(teacher.take(given, cells)), [[0, 4, 8], [9, 10, 2]])
    np.testing.assert_array_equal(np.asarray(teacher.take(given, np.array([2, 0]))), array[[2, 0]])


def test_the_best_model_within_the_budget() -> None:
    found = fit(X, NAMES[Y], max_us=1e6, max_bytes=8000)
    assert found.best is not None
    assert found.complete
    assert found.refitted
    assert found.held_out_rows == 30
    assert found.best.accuracy > 0.9
    assert len(found.predictor.to_bytes()) <= 8000
    assert found.predictor.network.weights == found.best.weights
    assert (found.predictor.predict(X) == NAMES[Y]).mean() > 0.9
    assert {c.hidden_layer_sizes for c in found.candidates} == {(), (8,), (16,)}
    assert {c.weights for c in found.candidates} == {"f32", "f16", "int8"}
    # Half of the students were given up.
    assert {c.epochs for c in found.candidates} > {max(c.epochs for c in found.candidates)}
    assert "teacher: accuracy" in str(found)
    assert found.verdict() in str(found)


def test_only_the_formats_asked_for_are_tried() -> None:
    found = fit(X, Y, max_bytes=9000, formats=["int8"], refit=False)
    assert {c.weights for c in found.candidates} == {"int8"}
    assert found.predictor.network.weights == "int8"
    with pytest.raises(ValueError, match="int4"):
        fit(X, Y, max_bytes=9000, formats=["int4"])


def test_nothing_fits() -> None:
    found = fit(X, Y, max_bytes=100)
    assert found.best is None
    assert not found.candidates
    with pytest.raises(ValueError, match="even one without hidden layers is not within 100 bytes"):
        _ = found.predictor


def test_no_model_loses_more_than_max_drop() -> None:
    class Oracle:
        """Knows every label: no student is as good."""

        classes_ = np.array([0, 1])

        def predict_proba(self, X: Any) -> npt.NDArray[Any]:
            return np.asarray(np.eye(2)[X[:, 1].astype(int)])

    rng = np.random.default_rng(0)
    noise = np.column_stack([rng.normal(size=200), rng.integers(0, 2, 200)])
    found = fit(noise, 1 - noise[:, 1].astype(int), max_bytes=9000, teacher=Oracle())
    # It is always wrong here, and the students with it, except for the share of the true labels.
    assert found.teacher_accuracy == 0
    labels = rng.integers(0, 2, 200)

    class Right(Oracle):
        def predict_proba(self, X: Any) -> npt.NDArray[Any]:
            known = dict(zip(noise[:, 0], labels, strict=True))
            return np.eye(2)[[known.get(value, 0) for value in X[:, 0]]]

    found = fit(noise, labels, max_bytes=9000, teacher=Right(), max_drop=0.05)
    assert found.teacher_accuracy == 1
    assert found.best is None
    with pytest.raises(ValueError, match=r"less accurate than the teacher, more than max_drop=0\.05"):
        _ = found.predictor


@pytest.mark.parametrize("teacher", [LogisticRegression(max_iter=1000), GaussianNB()])
def test_teachers_of_other_libraries(teacher: Any) -> None:
    found = fit(X, Y, max_bytes=9000, teacher=teacher.fit(X, Y))
    assert found.best is not None
    assert found.best.accuracy >= found.teacher_accuracy - 0.1


def test_a_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"teacher: expected the classes of y, \[0, 1, 2\], got \[0, 1\]"):
        fit(X, Y, max_bytes=9000, teacher=LogisticRegression().fit(X[:100], Y[:100]))


def test_tables_with_categories_and_columns_that_say_nothing() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=300),
            "kind": rng.choice(["a", "b"], 300),
            "noise": rng.normal(size=300),
            "word": rng.choice(["x", "y", "z"], 300),
        }
    )
    y = np.where(table["size"] + 2 * (table["kind"] == "a") > 1, "yes", "no")
    found = fit(table, y, max_bytes=12_000)
    assert {c.n_columns for c in found.candidates} == {4, 2}  # without "noise" and "word"
    reduced = [c for c in found.candidates if c.n_columns == 2]
    assert max(c.accuracy for c in reduced) > 0.9
    record = {"size": 1.0, "kind": "a", "noise": 0.0, "word": "new"}
    assert found.predictor.predict_one(record) == "yes"
    restored = tinyrs.predictor.loads(found.predictor.to_bytes())
    np.testing.assert_array_equal(restored.predict(table), found.predictor.predict(table))  # type: ignore[union-attr]


def test_columns_that_are_left_out_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=300),
            "word": rng.choice(["x", "y"], 300),
            "kind": rng.choice(["a", "b"], 300),
        }
    )
    full = fit_table(Table.read(table), [])
    reduced = students.only_columns(full, np.array([0, 2]))
    assert reduced.feature_columns == [0, 2, 2]
    network = students.new_student((8,), reduced, 2, 0)
    predictor = tinyrs.Predictor(network, reduced, np.array([0, 1]), feature_names=list(table.columns))
    code = CategoryColumn.code

    def read(category: CategoryColumn, value: Any) -> float:
        assert value in ("a", "b")
        return code(category, value)

    monkeypatch.setattr(CategoryColumn, "code", read)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = predictor.predict_proba(table.assign(word="never seen"))
        np.testing.assert_array_equal(p, predictor.predict_proba(table))
        for row in (
            table.iloc[0].to_dict(),
            {"size": table["size"][0], "word": [], "kind": table["kind"][0]},
        ):
            np.testing.assert_array_equal(list(predictor.predict_proba_one(row).values()), p[0])
    assert [column.column for column in predictor.check(table).columns] == ["size", "kind"]
    restored = tinyrs.predictor.loads(predictor.to_bytes())
    np.testing.assert_array_equal(restored.predict_proba(table), p)  # type: ignore[union-attr]


def test_an_interrupt_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = students.train_student, list[Any]()

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        train(*arguments)

    monkeypatch.setattr(search, "train_student", interrupted)
    found = fit(X, Y, max_bytes=9000)
    assert len({c.hidden_layer_sizes for c in found.candidates}) == 2
    assert found.best is not None
    assert not found.complete
    assert "stopped early" in str(found)
    assert (found.predictor.predict(X) == Y).mean() > 0.8
    calls[:] = [None, None]
    with pytest.raises(KeyboardInterrupt):
        fit(X, Y, max_bytes=9000)


def test_the_time_limit_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    train = students.train_student
    now = [0.0]

    def slow(*arguments: Any) -> None:
        train(*arguments)
        now[0] += 10

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(search, "train_student", slow)
    found = fit(X, Y, max_bytes=9000, time_limit=15)
    assert len({c.hidden_layer_sizes for c in found.candidates}) == 2
    assert not found.complete
    assert not found.refitted
    assert found.best is not None


def test_the_first_student_is_finished_even_if_the_time_is_over() -> None:
    found = fit(X, Y, max_bytes=9000, time_limit=1e-9)
    assert len({c.hidden_layer_sizes for c in found.candidates}) == 1
    assert found.best is not None
    assert found.best.hidden_layer_sizes != ()
    assert not found.complete
    assert not found.refitted


def test_a_checkpoint_spares_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(X, Y, max_bytes=9000, checkpoint=tmp_path / "new")
    files = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert sum(name.startswith("teacher-") for name in files) == 2  # of the training rows, and of all

    def trained(*arguments: Any) -> None:
        raise RuntimeError("trained again")

    monkeypatch.setattr(search, "train_student", trained)
    monkeypatch.setattr(tinyrs.TinyClassifier, "fit", trained)
    again = fit(X, Y, max_bytes=9000, checkpoint=tmp_path / "new")
    assert scores(again) == scores(first)
    np.testing.assert_array_equal(again.predictor.predict_proba(X), first.predictor.predict_proba(X))
    with pytest.raises(RuntimeError, match="trained again"):  # other data
        fit(X[::-1], Y[::-1], max_bytes=9000, checkpoint=tmp_path / "new")


def scores(found: BudgetSearch) -> list[tuple[Any, ...]]:
    return [(c.hidden_layer_sizes, c.weights, c.accuracy, c.log_loss) for c in found.candidates]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": X[:40], "y": Y[:40]}, ValueError, "X: expected at least 50 rows, got 40"),
        ({"y": Y[:40]}, ValueError, r"y: expected one label for each of 150 rows, got shape \(40,\)"),
        ({"y": np.eye(3)[Y]}, ValueError, r"got shape \(150, 3\)"),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(**{"X": X, "y": Y, "max_us": 9.0} | arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2us", ("max_us", 2)),
        ("1.5ms", ("max_us", 1500)),
        ("50KB", ("max_bytes", 50_000)),
        ("9b", ("max_bytes", 9)),
    ],
)
def test_limits_as_text(text: str, expected: tuple[str, float]) -> None:
    assert limit(text) == expected


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "iris.csv"
    pd.DataFrame(X, columns=list("abcd")).assign(kind=NAMES[Y]).to_csv(path, index=False)
    return path


def test_the_command_line(csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, report = tmp_path / "m.safetensors", tmp_path / "r.html"
    train = ("train", csv, "--target", "kind", "-o", model, "--budget", "1ms", "--budget", "9KB")
    code, output = run(capsys, *train, "--report", report)
    assert code == 0, output
    assert "hidden layers" in output
    assert "teacher: accuracy" in output
    assert model.stat().st_size < 12_000  # with the record of the training
    assert tinyrs.load(model).training["budget"] == "1000 us for one row (p50) and 9,000 bytes"  # type: ignore[union-attr]
    page = report.read_text()
    assert "searched for" in page
    assert check_charts(page) == 3
    # The reliability diagram, and a plane for each limit.
    for name in ("latency of one row (p50)", "size of the file"):
        plane = re.search(f'<svg[^>]*aria-label="Plane of {re.escape(name)}.*?</svg>', page, re.DOTALL)
        assert plane
        for mark, count in {"best": 1, "teacher": 1, "front": 1, "chosen": 1}.items():
            assert plane[0].count(f'class="{mark}"') == count
        students = int(re.search(r"error: (\d+) students; chosen: ", plane[0])[1])  # type: ignore[index]
        assert plane[0].count('class="dot ') == students == page.count("<td>yes</td>")
    assert f"<summary>all {students} students</summary>" in page
    code, output = run(capsys, *train, "--quantize", "f16", "--time-limit", 1, "--json")
    assert code == 0
    assert tinyrs.load(model).network.weights == "f16"  # type: ignore[union-attr]
    assert json.loads(output)["best_epoch"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--budget", "2"), 2, "expected a latency such as 2us, or a size such as 50KB, got '2'"),
        (("--budget", "2us", "--budget", "3us"), 2, "expected at most one latency and one size"),
        (("--budget", "2us", "--epochs", "3", "--hidden", "8"), 2, "it excludes --hidden, --epochs"),
        (("--budget", "10B"), 1, "no model fits: even one without hidden layers is not within 10 bytes"),
    ],
)
def test_what_the_command_line_refuses(
    csv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    model = tmp_path / "m.safetensors"
    got, output = run(capsys, "train", csv, "--target", "kind", "-o", model, *arguments)
    assert (got, message in " ".join(output.split())) == (code, True), output
    assert not model.exists()
