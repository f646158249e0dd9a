"""`Predictor.predict_frame`, and how numbers of Arrow are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from predicted_tables import probabilities, table, trained
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.tabular.few_rows import FEW_ROWS
from tinyrs.tabular.tables import NumberCells, Table


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return trained()


# Frames.


@pytest.mark.parametrize("source", [pa.Table, pd.DataFrame, pl.DataFrame])
def test_a_frame_of_predictions_is_of_the_same_library(predictor: Predictor, source: type) -> None:
    X = table(50)
    frame = {pa.Table: X, pd.DataFrame: X.to_pandas(), pl.DataFrame: pl.from_arrow(X)}[source]
    predicted = predictor.predict_frame(frame, columns=["id"], proba=True)
    assert isinstance(predicted, source)
    read: Any = pa.table(predicted)
    assert read.schema.names == ["id", "label", "probability", "probability_no", "probability_yes"]
    assert read["id"].to_pylist() == list(range(50))
    assert read["label"].to_pylist() == predictor.predict(X).tolist()
    assert np.array_equal(probabilities(read), predictor.predict_proba(X))
    assert read["probability_no"].type == pa.float32()


def test_a_frame_of_predictions_has_the_index_of_pandas(predictor: Predictor) -> None:
    frame = table(3).to_pandas().set_axis([7, 3, 3], axis=0)
    predicted = predictor.predict_frame(frame)
    assert predicted.index.tolist() == [7, 3, 3]
    assert predicted["label"].tolist() == predictor.predict(frame).tolist()
    assert predictor.predict_frame(frame[:0]).columns.tolist() == predicted.columns.tolist()


def test_the_columns_of_a_frame_of_predictions(predictor: Predictor) -> None:
    X = table(5)
    p = predictor.predict_proba(X)
    every = predictor.predict_frame(X, columns=None, prefix="p_")
    assert every.schema.names == ["id", "a", "b", "c", "d", "p_label", "p_probability"]
    assert every["p_probability"].to_pylist() == p.max(axis=1).tolist()
    assert predictor.predict_frame(X).schema.names == ["label", "probability"]
    both = predictor.predict_frame(X, proba=True)
    assert both.schema.names == ["label", "probability", "probability_no", "probability_yes"]
    own = X.append_column("label", X["id"])
    assert predictor.predict_frame(own)["label"].to_pylist() == predictor.predict(X).tolist()
    with pytest.raises(ValueError, match="already has a column 'label': leave it out of columns="):
        predictor.predict_frame(own, columns=["label"])
    with pytest.raises(ValueError, match="missing columns: 'other'"):
        predictor.predict_frame(X, columns=["other"])
    with pytest.raises(ValueError, match="unexpected columns: 'id'"):
        predictor.predict_frame(X, extra_columns="error")
    assert predictor.predict_frame(X, columns=["id"], extra_columns="error").num_rows == 5
    with pytest.raises(TypeError, match="expected a data frame, got a ndarray"):
        predictor.predict_frame(np.zeros((2, 4)))


def test_a_multilabel_frame_has_no_labels_but_a_probability_for_each() -> None:
    network = Network([2, 3], output_activation="sigmoid", seed=0)
    predictor = Predictor(network, None, np.array(["u", "v", "w"]), multilabel=True)
    X = pa.table({"p": [0.1, 0.2], "q": [1.0, 2.0]})
    predicted = predictor.predict_frame(X)
    assert predicted.schema.names == ["probability_u", "probability_v", "probability_w"]
    assert np.array_equal(np.column_stack(predicted.columns), predictor.predict_proba(X))
    assert predictor.predict_batches(X).read_all() == predicted


# Numbers of Arrow.


def test_large_integers_are_different_categories_in_few_rows() -> None:
    codes = np.array([2**53, 2**53 + 1] * 40)
    X = pd.DataFrame({"x": np.arange(80) % 7 / 2, "code": codes})
    clf = TinyClassifier(
        (8,), max_iter=20, learning_rate_init=0.05, categorical_features=["code"], random_state=0
    )
    predictor = clf.fit(X, codes % 2).predictor()
    want = predictor.predict_proba(X)
    assert abs(want[0] - want[1]).max() > 0.1
    np.testing.assert_array_equal(predictor.predict_proba(X[:4]), want[:4])


def test_numbers_are_read_without_copies_and_f32_stays_f32(predictor: Predictor) -> None:
    numbers = pa.table({"x": np.arange(8, dtype=np.float32), "y": np.arange(8.0), "z": np.arange(8)})
    for column, cells in zip(numbers.columns, Table.read(numbers).columns, strict=True):
        assert isinstance(cells, NumberCells)
        lent = np.frombuffer(column.chunk(0).buffers()[1], cells.values.dtype)
        assert np.shares_memory(cells.values, lent)
    rows = FEW_ROWS + 1
    short = table(rows).set_column(2, "b", pa.array(range(rows), pa.int16()))
    assert predictor._encode(short, "ignore").dtype == "f4"
    assert predictor._encode(table(rows), "ignore").dtype == "f8"  # "b" has 64 bits
    missing = pa.table({"x": pa.array([1, None, 3], pa.float32()), "y": pa.array([None, True, False])})
    for cells, want in zip(Table.read(missing).columns, [[1, np.nan, 3], [np.nan, 1, 0]], strict=True):
        assert isinstance(cells, NumberCells)
        assert np.array_equal(cells.values, want, equal_nan=True)
