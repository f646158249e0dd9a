"""`TinyClassifier.fit` on Parquet files, datasets and functions that return readers, in bounded memory."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet
from streamed_tables import rows, with_column, write_sorted
from tinyrs import TinyClassifier
from tinyrs.classifier.data import Dataset
from tinyrs.classifier.piecewise import PiecewiseTraining
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tabular.statistics import TrainingStatistics
from tinyrs.tabular.tables import Table

# In these bytes, the 4,000 rows of `folder` do not fit.
SMALL = 400_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sorted(tmp_path_factory.mktemp("rows"))


def small(**options: Any) -> TinyClassifier:
    chosen: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0} | options
    return TinyClassifier(**chosen)


def streamed(source: Any, y: str = "y", weight: str | None = None, **options: Any) -> TinyClassifier:
    """A classifier that cannot load the rows of `folder`."""
    return small(**{"batch_size": 64} | options).fit(source, y, weight, max_memory=SMALL)


def labels(table: pa.Table) -> Any:
    return table["y"].to_numpy(zero_copy_only=False)


def accuracy(clf: TinyClassifier) -> float:
    test = rows(5000, seed=1)
    return float(clf.score(test.drop_columns("y"), labels(test)))


def preprocessing(clf: TinyClassifier) -> tuple[Preprocessor, TrainingStatistics]:
    assert isinstance(clf.preprocessor_, Preprocessor)
    assert clf.preprocessor_.statistics is not None
    return clf.preprocessor_, clf.preprocessor_.statistics


def test_rows_that_fit_are_trained_on_as_a_table(folder: Path) -> None:
    table = rows(4000).sort_by("y")
    X, weights = table.drop_columns("y"), np.arange(4000.0) % 3
    want = small(max_iter=2).fit(X, labels(table))
    for source in (folder, str(folder), dataset.dataset(folder), table.to_reader):
        got = small(max_iter=2).fit(source, "y")
        assert got.loss_curve_ == want.loss_curve_
        assert np.array_equal(got.predict_proba(X), want.predict_proba(X))
    weighted = with_column(table, "w", weights)
    got = small(max_iter=2).fit(weighted.to_reader, "y", "w")
    want = small(max_iter=2).fit(X, labels(table), weights)
    assert np.array_equal(got.predict_proba(X), want.predict_proba(X))


@pytest.mark.parametrize("n_ensemble", [1, 2])
def test_streamed_rows_give_as_good_a_model(
    folder: Path, n_ensemble: int, capsys: pytest.CaptureFixture[str]
) -> None:
    in_memory = small(n_ensemble=n_ensemble).fit(folder, "y")
    model = streamed(folder, n_ensemble=n_ensemble, verbose=1, importance=True)
    assert "fit: 4,000 rows would need about 1 MB, more than max_memory = 0 MB" in capsys.readouterr().err
    assert accuracy(model) > accuracy(in_memory) - 0.02
    assert len(model.network_.members) == n_ensemble
    assert model.feature_names_in_.tolist() == ["x0", "x1", "x2", "x3", "colour"]
    assert model.classes_.tolist() == ["high", "low"]
    assert model.n_iter_ == len(model.evals_result_["valid_0"]["log_loss"]) == 3
    assert model.feature_importances_[0] > model.feature_importances_[2]
    (got, statistics), (want, exact) = map(preprocessing, (model, in_memory))
    assert (statistics.n_rows, statistics.missing) == (4000, exact.missing)
    assert [c.names for c in got.categories] == [c.names for c in want.categories]
    for found, expected in zip(statistics.quartiles, exact.quartiles, strict=True):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert (found[0], found[-1]) == (expected[0], expected[-1])
            assert np.allclose(found, expected, atol=0.6)


def test_the_same_seed_gives_the_same_model(folder: Path) -> None:
    for n_ensemble in (1, 2):
        first, second = (streamed(folder, n_threads=t, n_ensemble=n_ensemble, max_iter=1) for t in (1, 2))
        assert first.loss_curve_ == second.loss_curve_
        X = rows(50).drop_columns("y")
        assert np.array_equal(first.predict_proba(X), second.predict_proba(X))


def test_weights_of_rows_and_classes_count(folder: Path) -> None:
    table = rows(4000)
    y = labels(table)
    shares = [streamed(folder, class_weight=w).predict_proba(rows(500).drop_columns("y")).mean(axis=0)[0]
              for w in (None, {"low": 1, "high": 9}, "balanced")]  # fmt: skip
    assert shares[1] > shares[2] > shares[0]
    # Rows of weight 0 are wrong.
    wrong = np.arange(4000) % 4 > 0
    table = with_column(table, "y", np.where(wrong, np.where(y == "high", "low", "high"), y))
    table = with_column(table, "w", np.where(wrong, 0, 2.5))
    model = streamed(lambda: table.to_reader(300), "y", "w")
    assert accuracy(model) > 0.85
    assert preprocessing(model)[1].n_rows == 1000


def test_streamed_training_stops_and_continues_as_in_memory(folder: Path) -> None:
    seen: list[Any] = []

    def stop(record: Any) -> bool:
        seen.append(record)
        return len(seen) == 2

    model = streamed(folder, early_stopping=False, callbacks=[stop])
    assert [record["epoch"] for record in seen] == [0, 1]
    assert model.validation_scores_ is None
    assert seen[0].keys() == {"epoch", "loss", "learning_rate", "seconds", "samples_per_second"}
    assert streamed(folder, max_time=1e-9).n_iter_ == 1
    test = rows(300, seed=2)
    pair = (test.drop_columns("y"), labels(test))
    model = small(batch_size=64).fit(folder, "y", eval_set=pair, eval_metric="auc", max_memory=SMALL)
    assert list(model.evals_result_["valid_0"]) == ["auc"]
    before = model.network_
    model.set_params(warm_start=True, max_iter=1).fit(folder, "y", max_memory=SMALL)
    assert model.network_ is not before
    assert accuracy(model) > 0.9


def test_late_categories_and_empty_row_groups(tmp_path: Path) -> None:
    table = rows(3000).drop_columns("colour")
    late = np.where(np.arange(3000) < 2500, "a", "b")
    table = with_column(table, "late", late).append_column("empty", pa.nulls(3000, pa.float64()))
    table = with_column(
        table, "x0", [None if i == 2900 else v for i, v in enumerate(table["x0"].to_pylist())]
    )
    with parquet.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for part in (table.slice(0, 1500), table.slice(0, 0), table.slice(1500)):
            writer.write_table(part, row_group_size=500)
    with pytest.warns(UserWarning, match="column 'empty': all values are missing"):
        model = streamed(tmp_path / "a.parquet", max_iter=1)
    preprocessor, statistics = preprocessing(model)
    assert preprocessor.categories[0].names == ("a", "b")
    assert statistics.counts == ((2500, 500),)
    assert statistics.missing == (1, 0, 0, 0, 0, 3000)
    assert preprocessor.numbers[0].missing_indicator


def test_labels_may_be_categories_numbers_or_booleans() -> None:
    table = rows(2000)
    high = labels(table) == "high"
    unused = pa.DictionaryArray.from_arrays(pa.array(high.astype(np.int8)), ["low", "high", "unused"])
    for y, classes in {"text": unused, "numbers": pa.array(high * 3), "booleans": pa.array(high)}.items():
        kinds = {"text": ["high", "low"], "numbers": [0, 3], "booleans": [False, True]}
        source = with_column(table, "y", classes).to_reader
        model = streamed(source, max_iter=1)
        assert model.classes_.tolist() == kinds[y]
        assert model.classes_.dtype == small(max_iter=1).fit(source, "y").classes_.dtype


def test_warnings_name_the_line_of_the_caller() -> None:
    table = with_column(rows(4000), "c", np.ones(4000))
    for max_memory in (10**9, SMALL):
        with pytest.warns(UserWarning, match="column 'c': constant") as caught:
            small(max_iter=1, batch_size=64).fit(table.to_reader, "y", max_memory=max_memory)
        assert [warning.filename for warning in caught] == [__file__]


def test_a_single_class_is_learnt_as_in_memory() -> None:
    table = with_column(rows(2000), "y", ["only"] * 2000)
    model = streamed(table.to_reader, max_iter=1)
    assert model.predict(rows(3).drop_columns("y")).tolist() == ["only"] * 3


def test_errors_of_sources(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"y: expected the name of the column of labels, one of 'x0', .*'z'"):
        small().fit(folder, "z")
    with pytest.raises(ValueError, match=r"y: expected the name of the column .* got a ndarray"):
        small().fit(folder, np.zeros(4000))
    with pytest.raises(ValueError, match=r"sample_weight: expected the name of the column .* got a ndarray"):
        small().fit(folder, "y", np.ones(4000))
    with pytest.raises(FileNotFoundError):
        small().fit(tmp_path / "none.parquet", "y")
    with pytest.raises(ValueError, match="X: expected Parquet files or a table with columns, got none"):
        small().fit(tmp_path, "y")
    with pytest.raises(TypeError, match="got one that returns a list"):
        small().fit(lambda: [], "y")
    with pytest.raises(ValueError, match="X: expected rows, got none"):
        small().fit(rows(8).slice(0, 0).to_reader, "y")
    with pytest.raises(ValueError, match="X: expected columns besides 'y', got none"):
        small().fit(rows(8).select(["y"]).to_reader, "y")
    with pytest.raises(ValueError, match=r"max_memory: expected at least .* bytes for a batch of 256 rows"):
        small().fit(folder, "y", max_memory=1000)
    with pytest.raises(ValueError, match=r"class_weight: expected finite weights above 0 .*, got 0"):
        streamed(folder, class_weight={"low": 0, "high": 1})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x1", np.inf, "column 'x1': expected a finite number, got inf in row 3123"),
        ("y", None, "y: expected a label in every row, got a missing one in row 3123 of column 'y'"),
        ("w", -1.0, "sample_weight: expected finite weights of at least 0, got -1.0 in row 3123"),
        ("w", None, "sample_weight: expected finite weights of at least 0, got nan in row 3123"),
    ],
)
def test_errors_name_the_row(name: str, value: Any, message: str) -> None:
    table = with_column(rows(4000), "w", np.ones(4000))
    values = table[name].to_pylist()
    values[3123] = value
    table = with_column(table, name, values)
    with pytest.raises(ValueError, match=message):
        streamed(lambda: table.to_reader(700), "y", "w")


def readings(changed: Callable[[pa.Table], pa.Table], after: int) -> Callable[[], Any]:
    """A function that returns readers of rows, the later ones of changed rows."""
    count = iter(range(100))
    return lambda: (rows(4000) if next(count) < after else changed(rows(4000))).to_reader(500)


# The first three readers are for the schema, for the size and for the statistics.
@pytest.mark.parametrize("after", [3, 5])
def test_rows_that_change_are_refused(after: int) -> None:
    message = "X: expected the same 4,000 rows in the same order each time that they are read, got "
    with pytest.raises(ValueError, match=message + "3,999 rows"):
        streamed(readings(lambda table: table.slice(1), after))
    with pytest.raises(ValueError, match=message + "other labels"):
        streamed(readings(lambda table: table.sort_by("x0"), after))


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("reading", [1, 2, 4])
def test_a_failure_leaves_the_classifier_as_it_was(interrupted: bool, reading: int) -> None:
    model = small(max_iter=2, batch_size=64).fit(rows(100).drop_columns("y"), labels(rows(100)))
    before, count, threads = dict(vars(model)), iter(range(100)), threading.active_count()

    def batches(fails: bool) -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(rows(4000).to_batches(500)):
            if fails and i == 2:
                if not interrupted:
                    raise OSError("the disk is gone")
                ident = threading.main_thread().ident
                assert ident is not None
                signal.pthread_kill(ident, signal.SIGINT)
            yield batch

    def reader() -> Any:
        return pa.RecordBatchReader.from_batches(rows(1).schema, batches(next(count) == reading))

    error, message = (KeyboardInterrupt, None) if interrupted else (OSError, "the disk is gone")
    with pytest.raises(error, match=message):
        model.fit(reader, "y", max_memory=SMALL)
    assert vars(model) == before
    assert threading.active_count() == threads


@pytest.mark.parametrize("n_ensemble", [1, 3])
def test_each_network_learns_all_but_its_validation_rows(
    folder: Path, n_ensemble: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: dict[int, list[float]] = {}
    add = PiecewiseTraining.add

    def spy(run: PiecewiseTraining, piece: Dataset, n_threads: int | None) -> None:
        learnt.setdefault(id(run), []).extend(piece.features[:, 0].tolist())
        add(run, piece, n_threads)

    monkeypatch.setattr(PiecewiseTraining, "add", spy)
    model = streamed(folder, n_ensemble=n_ensemble, max_iter=1, refit=False)
    preprocessor, _ = preprocessing(model)
    encoded = preprocessor.encode(Table.read(dataset.dataset(folder).to_table().drop_columns("y")))
    assert model._held_out is not None
    every, held_out = (
        preprocessor.transform(x, "f32")[:, 0].tolist() for x in (encoded, model._held_out.encoded)
    )
    assert len(learnt) == n_ensemble
    assert len(held_out) > 90
    missing = [x for of_network in learnt.values() for x in (Counter(every) - Counter(of_network)).elements()]
    assert Counter(missing) == Counter(held_out)
    assert sum(map(len, learnt.values())) == 4000 * n_ensemble - len(held_out)
