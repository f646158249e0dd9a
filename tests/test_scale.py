"""`Scorer`: tables of each library, what it is pickled to, processes, threads, errors."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cases_of_scale
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tinyrs
from tinyrs.scale import Scorer

ROWS = cases_of_scale.make_rows(300).drop_columns(["kind"])


@pytest.fixture(scope="module")
def predictor() -> tinyrs.Predictor:
    training = cases_of_scale.make_rows(600, seed=1)
    model = tinyrs.TinyClassifier(hidden_layer_sizes=(16,), max_iter=5, random_state=0)
    return model.fit(training.drop_columns(["id", "kind"]), training["kind"].to_numpy()).predictor()


def as_pandas(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    return frame.set_index(pd.Index(np.arange(len(frame)) * 2 + 5))


LIBRARIES: dict[str, Any] = {
    "pandas": as_pandas,
    "polars": pl.from_arrow,
    "pyarrow": lambda table: table,
    "record batch": lambda table: pa.RecordBatch.from_pylist(table.to_pylist(), schema=table.schema),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("rows", [300, 1, 0])
def test_a_table_of_each_library_gets_the_columns(
    predictor: tinyrs.Predictor, library: str, rows: int
) -> None:
    table = LIBRARIES[library](ROWS.slice(0, rows))
    scored = Scorer(predictor, proba=True, prefix="p_")(table)
    assert type(scored) is type(table)
    if library == "pandas":
        assert (scored.index == table.index).all()
    got = pa.table(scored).to_pydict()
    p = predictor.predict_proba(ROWS.slice(0, rows))
    names = ["id", "length", "width", "colour", "p_label", "p_probability"]
    assert list(got)[:9] == [*names, "p_probability_a", "p_probability_b", "p_probability_c"]
    assert got["p_label"] == predictor.predict(ROWS.slice(0, rows)).tolist()
    assert got["p_probability"] == p.max(axis=1, initial=0).tolist()
    assert got["p_probability_b"] == p[:, 1].tolist()


def test_an_empty_table_has_the_types_of_a_full_one(predictor: tinyrs.Predictor) -> None:
    scorer = Scorer(predictor, columns=["id"])
    assert scorer(ROWS.slice(0, 0)).schema == scorer(ROWS).schema
    assert scorer(ROWS).column_names == ["id", "label", "probability"]
    assert [len(batch) for batch in scorer.map(ROWS.to_batches(100))] == [100, 100, 100]


def test_a_scorer_is_pickled_with_its_model_which_a_process_reads_once(
    predictor: tinyrs.Predictor, tmp_path: Path
) -> None:
    predictor.save(tmp_path / "model")
    scorer = Scorer(tmp_path / "model", columns=["id"], proba=True, prefix="p_", n_threads=1)
    (tmp_path / "model").unlink()
    data = pickle.dumps(scorer)
    assert len(data) < len(predictor.to_bytes()) + 300
    copies = [pickle.loads(data), pickle.loads(data)]
    assert copies[0](ROWS) == scorer(ROWS)
    assert copies[0].predictor is copies[1].predictor


@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_other_processes_give_the_same_bits(predictor: tinyrs.Predictor, method: str) -> None:
    scorer = Scorer(predictor)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(scorer, [ROWS] * 3) == [scorer(ROWS)] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_worker_obeys_the_limit_of_its_engine() -> None:
    code = "import cases_of_scale; print(*cases_of_scale.threads())"
    path = f"{Path(tinyrs.__file__).parent.parent}:{Path(__file__).parent}"
    limits = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=limits, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "0"], done.stderr


def test_no_engine_is_imported() -> None:
    code = (
        "import sys, tinyrs.scale; print(*{'dask', 'ray', 'pyspark', 'pyarrow', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == [], done.stderr


def test_without_mlflow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.delitem(sys.modules, "tinyrs.mlflow", raising=False)
    with pytest.raises(ImportError, match=r"tinyrs\.mlflow needs MLflow: pip install mlflow-skinny"):
        importlib.import_module("tinyrs.mlflow")


def test_errors_say_what_was_expected(predictor: tinyrs.Predictor) -> None:
    scorer = Scorer(predictor)
    with pytest.raises(
        TypeError, match="expected a data frame, got a dict; in Ray, pass batch_format='pyarrow'"
    ):
        scorer({"length": np.ones(2)})
    with pytest.raises(ValueError, match="already has a column 'label', 'probability'"):
        scorer(scorer(ROWS))
    with pytest.raises(ValueError, match="missing columns: 'length'"):
        scorer(ROWS.drop_columns(["length"]))
    with pytest.raises(TypeError, match="expected a Predictor or its file, got a Network"):
        Scorer(tinyrs.Network([2, 2]))  # type: ignore[arg-type]
    rows, both = np.arange(20.0).reshape(-1, 1), np.ones((20, 2), int)
    both[:10] = 0
    model = tinyrs.TinyClassifier(hidden_layer_sizes=(4,), max_iter=1).fit(rows, both)
    with pytest.raises(ValueError, match="expected one label for each row, got a multilabel model"):
        Scorer(model.predictor())
