"""`Predictor.predict_batches`, and the threads of streams."""

from __future__ import annotations

import gc
import pickle
import threading
import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tinyrs
from predicted_tables import ROWS, probabilities, table, trained
from pyarrow import dataset, parquet
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.ordered_map import map_in_order, read_ahead
from tinyrs.predictor.tables import _PredictedStream


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return trained()


def test_a_stream_gives_what_predict_gives(predictor: Predictor) -> None:
    X, want = table(), predictor.predict_proba(table())
    for threads in (1, 2, 5):
        for size, batch_size in ((300, 128), (7, 1000), (ROWS, ROWS)):
            stream = predictor.predict_batches(
                X.to_reader(size), columns=["id"], proba=True, batch_size=batch_size, n_threads=threads
            )
            assert isinstance(stream, pa.RecordBatchReader)
            batches = list(stream)
            assert all(0 < len(batch) <= batch_size for batch in batches)
            predicted = pa.Table.from_batches(batches, stream.schema)
            assert predicted["id"].to_pylist() == list(range(ROWS))
            assert np.array_equal(probabilities(predicted), want)
            assert predicted["label"].to_pylist() == predictor.predict(X).tolist()


def columns_of_each_kind(rows: int) -> dict[str, pa.Array]:
    rng = np.random.default_rng(0)
    floats, whole = rng.normal(size=rows), rng.integers(0, 100, rows)
    missing = np.arange(rows) % 5 == 0
    kinds = {
        "f32": pa.array(floats, pa.float32()),
        "f64": pa.array(floats),
        "f32, missing": pa.array(floats, pa.float32(), mask=missing),
        "f64, NaN": pa.array(np.where(missing, np.nan, floats)),
        "decimal": pa.array([Decimal(int(i)) for i in whole]),
        "int64, large": pa.array(whole + 2**60),
        "int64, missing": pa.array(whole, mask=missing),
        "boolean": pa.array(whole > 50),
        "boolean, missing": pa.array(whole > 50, mask=missing),
        "text": pa.array([f"t{i % 7}" for i in whole]),
        "text, missing": pa.array([f"t{i % 7}" for i in whole], mask=missing),
        "large text": pa.array([f"t{i % 7}" for i in whole], pa.large_string()),
        "dictionary": pa.array([f"t{i % 7}" for i in whole]).dictionary_encode(),
        "dictionary of views": pa.DictionaryArray.from_arrays(
            pa.array(whole % 7, pa.uint32()), pa.array([f"t{i}" for i in range(7)], pa.string_view())
        ),
        "text of numbers": pa.array([str(i) for i in whole]),
        "date": pa.array(whole * 86_400_000, pa.date64()),
        "timestamp": pa.array(whole * 10**9, pa.timestamp("us"), mask=missing),
        "time zone": pa.array(whole * 10**9, pa.timestamp("us", "Europe/Berlin")),
        "duration": pa.array(whole * 10**6, pa.duration("us")),
        "constant": pa.array([1.5] * rows),
    }
    for bits in (8, 16, 32, 64):
        kinds[f"int{bits}"] = pa.array(whole, f"int{bits}")
        kinds[f"uint{bits}"] = pa.array(whole, f"uint{bits}")
    return kinds


def test_a_stream_of_each_kind_of_column_has_the_bits_of_predict_proba() -> None:
    """Alone, between others, and in slices that do not start at the first element of a buffer."""
    rows = 200
    kinds = columns_of_each_kind(rows)
    y = kinds["f32"].to_numpy() > 0
    tables = [pa.table({"x": column, "other": kinds["f32"]}) for column in kinds.values()]
    for X in [*tables, pa.table(kinds)]:
        clf = TinyClassifier(
            (4,), max_iter=3, batch_size=32, n_ensemble=1, early_stopping=False, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns such as row numbers
            predictor = clf.fit(X, y).predictor()
        want = predictor.predict_proba(X, n_threads=1)
        assert len(np.unique(want)) > 10
        for threads in (1, 2):
            found = predictor.predict_batches(X, proba=True, batch_size=77, n_threads=threads).read_all()
            assert np.array_equal(np.column_stack(found.columns[2:]), want), X.schema
            assert found["label"].to_pylist() == predictor.predict(X).tolist()
            assert np.array_equal(found["probability"], want.max(axis=1))


def test_a_late_thread_does_not_change_the_order(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = table()
    want = predictor.predict_batches(X.to_reader(50), columns=["id"], proba=True, n_threads=1).read_all()
    predict, second_is_done = _PredictedStream.predict, threading.Event()

    def late(stream: _PredictedStream, batch: Any, first_row: int) -> Any:
        if len(batch) and not first_row:
            assert second_is_done.wait(10)
        predicted = predict(stream, batch, first_row)
        if first_row:
            second_is_done.set()
        return predicted

    monkeypatch.setattr(_PredictedStream, "predict", late)
    found = predictor.predict_batches(X.to_reader(50), columns=["id"], proba=True, n_threads=3).read_all()
    assert found == want
    assert second_is_done.is_set()


def test_a_stream_keeps_the_fields_of_other_columns(predictor: Predictor) -> None:
    X = table()
    field = pa.field("id", pa.int64(), nullable=False, metadata={"unit": "row"})
    X = X.cast(pa.schema([field, *list(X.schema)[1:]], metadata={"name": "rows"}))
    predicted = predictor.predict_batches(X, columns=["id"]).read_all()
    assert predicted.schema.field("id").equals(field, check_metadata=True)
    assert predicted.schema.metadata == {b"name": b"rows"}


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_of_a_stream_is_raised(predictor: Predictor, threads: int) -> None:
    """Of several: that of the first batch, and in it that of the first column."""
    X = table()
    a = X["a"].to_numpy().copy()
    a[[350, 320, 980]] = [np.inf, -np.inf, np.inf]
    b = X["b"].to_numpy().astype("f8")
    b[[310, 120]] = np.inf
    bad = X.set_column(1, "a", pa.array(a)).set_column(2, "b", pa.array(b))
    with pytest.raises(ValueError, match="column 'b': expected a finite number, got inf in row 120"):
        predictor.predict_batches(bad.to_reader(100), n_threads=threads).read_all()
    with pytest.raises(ValueError, match="column 'a': expected a finite number, got -inf in row 170"):
        predictor.predict_batches(bad[150:].to_reader(100), n_threads=threads).read_all()
    text = X.set_column(4, "d", pa.array(["true"] * 555 + ["neither"] + ["false"] * 444))
    with pytest.raises(ValueError, match="column 'd': expected true or false, got 'neither' in row 555"):
        predictor.predict_batches(text.to_reader(100), n_threads=threads).read_all()


def test_all_sources_of_streams(predictor: Predictor, tmp_path: Any) -> None:
    X = table(100)
    parquet.write_table(X, tmp_path / "x.parquet", row_group_size=30)
    sources = {
        "table": X,
        "batch": X.combine_chunks().to_batches()[0],
        "reader": X.to_reader(),
        "dataset": dataset.dataset(tmp_path / "x.parquet"),
        "polars": pl.from_arrow(X),
        "polars, lazy": pl.scan_parquet(tmp_path / "x.parquet").collect_batches(),
        "pandas": X.to_pandas(),
    }
    want = predictor.predict_frame(X, columns=["id"], proba=True)
    for name, source in sources.items():
        predicted = predictor.predict_batches(source, columns=["id"], proba=True, batch_size=40).read_all()
        assert predicted.equals(want), name
    with pytest.raises(TypeError, match=r"reader: expected a .* got a LazyFrame: pass its collect_batches"):
        predictor.predict_batches(pl.scan_parquet(tmp_path / "x.parquet"))
    with pytest.raises(TypeError, match=r"reader: expected a .* got a list"):
        predictor.predict_batches([X])


def test_duckdb_reads_and_is_read(predictor: Predictor) -> None:
    duckdb = pytest.importorskip("duckdb")
    X = table()
    relation = duckdb.connect().from_arrow(X).filter("id % 2 = 0")
    predicted = predictor.predict_batches(relation, columns=["id"], proba=True, batch_size=100)  # noqa: F841  # DuckDB finds it
    counted = duckdb.sql(
        "SELECT label, count(*) AS n FROM predicted GROUP BY label ORDER BY label"
    ).fetchall()
    labels, counts = np.unique(predictor.predict(X)[::2], return_counts=True)
    assert counted == list(zip(labels.tolist(), counts.tolist(), strict=True))


def test_a_dataset_reads_only_the_columns_it_needs(predictor: Predictor, tmp_path: Any) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(table(10).append_column("other", pa.array(["text"] * 10)), path, compression="none")
    data = bytearray(path.read_bytes())
    chunk = parquet.ParquetFile(path).metadata.row_group(0).column(5)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(data)
    assert (
        predictor.predict_batches(dataset.dataset(path), columns=["id"], proba=True).read_all().num_rows == 10
    )
    with pytest.raises(OSError, match=r"thrift|header"):
        predictor.predict_batches(dataset.dataset(path), columns=["other"]).read_all()


def test_a_filtered_dataset_of_several_files_keeps_its_order(predictor: Predictor, tmp_path: Any) -> None:
    for i in range(3):
        parquet.write_table(table(1000).slice(300 * i, 300), tmp_path / f"{i}.parquet", row_group_size=70)
    rows = dataset.dataset(tmp_path).filter(pc.field("id") >= 100)
    predicted = predictor.predict_batches(rows, columns=["id"], batch_size=50).read_all()
    assert predicted["id"].to_pylist() == list(range(100, 900))


def test_errors_before_the_stream_is_read(predictor: Predictor) -> None:
    X = table(10)
    with pytest.raises(ValueError, match="reader: missing columns: 'a'"):
        predictor.predict_batches(X.drop_columns("a"))
    with pytest.raises(ValueError, match="reader: missing columns: 'other'"):
        predictor.predict_batches(X, columns=["other"])
    with pytest.raises(ValueError, match="reader: unexpected columns: 'id'"):
        predictor.predict_batches(X, extra_columns="error")
    with pytest.raises(ValueError, match="expected different column names, got"):
        predictor.predict_batches(
            pa.table(X.columns, names=["id", "a", "b", "c", "id"]).rename_columns(["a", "a", "b", "c", "d"])
        )
    with pytest.raises(ValueError, match="already has a column 'label'"):
        predictor.predict_batches(X.append_column("label", X["a"]), columns=["label"])
    with pytest.raises(ValueError, match="batch_size: expected at least 1 row, got 0"):
        predictor.predict_batches(X, batch_size=0)
    with pytest.raises(ValueError, match="n_threads: expected at least 1, got 0"):
        predictor.predict_batches(X, n_threads=0)
    plain = Predictor(Network([2, 2], output_activation="softmax", seed=0), None, np.arange(2))
    with pytest.raises(ValueError, match="X: expected 2 columns, got 5"):
        plain.predict_batches(X)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_the_place_of_its_batch(predictor: Predictor, threads: int) -> None:
    """After all batches before it, and with the row of the stream."""
    X = table()
    bad = X.set_column(1, "a", pa.array([np.inf if i == 715 else 1.0 for i in range(ROWS)], pa.float32()))
    stream = predictor.predict_batches(bad.to_reader(100), columns=["id"], proba=True, n_threads=threads)
    read = [stream.read_next_batch() for _ in range(7)]
    assert pa.Table.from_batches(read)["id"].to_pylist() == list(range(700))
    with pytest.raises(ValueError, match="column 'a': expected a finite number, got inf in row 715"):
        stream.read_next_batch()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_source_comes_after_the_batches_before_it(predictor: Predictor, threads: int) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from table(300).to_batches(max_chunksize=100)
        raise OSError("the connection was closed")

    source = pa.RecordBatchReader.from_batches(table().schema, batches())
    stream = predictor.predict_batches(source, n_threads=threads)
    assert [len(stream.read_next_batch()) for _ in range(3)] == [100, 100, 100]
    with pytest.raises(OSError, match="the connection was closed"):
        stream.read_next_batch()


def test_an_abandoned_stream_ends_its_threads(predictor: Predictor) -> None:
    before = threading.active_count()
    stream = predictor.predict_batches(table().to_reader(10), n_threads=2)
    assert threading.active_count() == before  # nothing is read before it is asked for
    stream.read_next_batch()
    assert threading.active_count() > before
    del stream
    gc.collect()
    assert threading.active_count() == before


def test_one_thread_means_the_calling_thread(predictor: Predictor) -> None:
    before = threading.active_count()
    stream = predictor.predict_batches(table().to_reader(100), n_threads=1)
    for _ in stream:
        assert threading.active_count() == before


def test_a_stream_warns_once_of_columns_unlike_training(predictor: Predictor) -> None:
    X = table()
    far = X.set_column(2, "b", pa.array(np.full(ROWS, 1000)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predictor.predict_batches(far.to_reader(100), n_threads=2).read_all()
    [warning] = caught
    assert warning.category is tinyrs.DataShiftWarning
    assert "column 'b': 1,000 of 1,000 values are far outside the range" in str(warning.message)


def test_an_unpickled_predictor_streams(predictor: Predictor) -> None:
    again = pickle.loads(pickle.dumps(predictor))
    X = table(100)
    assert again.predict_batches(X).read_all() == predictor.predict_batches(X).read_all()


# Threads that keep an order.


def test_a_map_keeps_the_order_and_reads_only_what_it_needs() -> None:
    read = []

    def items() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    doubled = map_in_order(lambda i: 2 * i, items(), 2)
    assert [next(doubled) for _ in range(10)] == [2 * i for i in range(10)]
    assert len(read) <= 10 + 4
    assert list(doubled) == [2 * i for i in range(10, 100)]


def test_reading_ahead_overlaps_with_use() -> None:
    asked = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        asked.set()
        yield 2

    ahead = read_ahead(items())
    assert next(ahead) == 1
    assert asked.wait(10)
    assert list(ahead) == [2]
