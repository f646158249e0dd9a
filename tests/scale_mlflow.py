"""`tinyrs.mlflow` with mlflow-skinny and a store of files; run by `make scale`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cases_of_scale
import mlflow
import numpy as np
import pandas as pd
import pytest
import tinyrs
import tinyrs.mlflow
from conftest import Tool
from tinyrs.history import Record

TABLE = cases_of_scale.make_rows(300).drop_columns(["id"]).to_pandas()
X = TABLE.drop(columns="kind").assign(
    count=np.arange(300) % 7,
    seen=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(300) * 5, unit="h"),
    new=np.arange(300) % 2 == 0,
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield
    mlflow.end_run()


@pytest.fixture(scope="module")
def model() -> tinyrs.Predictor:
    classifier = tinyrs.TinyClassifier(hidden_layer_sizes=(16,), max_iter=5, random_state=0)
    return classifier.fit(X, TABLE["kind"]).predictor()


def test_a_saved_model_is_the_model(model: tinyrs.Predictor, tmp_path: Path) -> None:
    tinyrs.mlflow.save_model(model, tmp_path / "model")
    assert tinyrs.mlflow.load_model(str(tmp_path / "model")).to_bytes() == model.to_bytes()
    requirements = (tmp_path / "model" / "requirements.txt").read_text().split()
    assert requirements == [f"tinyrs[sklearn]=={tinyrs.__version__}", "mlflow-skinny"]


def test_any_table_that_the_model_takes_passes_the_signature(model: tinyrs.Predictor, tmp_path: Path) -> None:
    tinyrs.mlflow.save_model(model, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    names = ["length", "width", "colour", "count", "seen", "new"]
    assert [column.name for column in loaded.metadata.signature.inputs] == names
    types = [str(column.type) for column in loaded.metadata.signature.inputs]
    assert types == ["Any", "Any", "DataType.string", "Any", "DataType.datetime", "DataType.boolean"]
    for table in (X, X.astype({"count": float}), X[names[::-1]].assign(more=1)):
        assert (loaded.predict(table) == model.predict(X)).all()
    p = loaded.predict(X, params={"method": "predict_proba"})
    assert (p == model.predict_proba(X)).all()
    missing = X.assign(colour=None, length=np.nan)
    assert (loaded.predict(missing) == model.predict(missing)).all()
    with pytest.raises(mlflow.MlflowException, match="colour"):
        loaded.predict(X.drop(columns="colour"))
    with pytest.raises(ValueError, match='method: expected "predict" or "predict_proba"'):
        loaded.predict(X, params={"method": "to_c"})


def test_a_model_without_names_takes_columns_in_order(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3))
    classifier = tinyrs.TinyClassifier(hidden_layer_sizes=(4,), max_iter=2, random_state=0)
    model = classifier.fit(rows, rows[:, 0] > 0).predictor()
    tinyrs.mlflow.save_model(model, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert (loaded.predict(rows) == model.predict(rows)).all()
    assert (loaded.predict(pd.DataFrame(rows)) == model.predict(rows)).all()


def test_a_logged_model_is_found_by_its_run(model: tinyrs.Predictor) -> None:
    with mlflow.start_run():
        info = tinyrs.mlflow.log_model(model, "flowers", input_example=X.head(3))
    assert info.flavors["tinyrs"]["tinyrs_version"] == tinyrs.__version__
    assert tinyrs.mlflow.load_model(info.model_uri).to_bytes() == model.to_bytes()
    assert (mlflow.pyfunc.load_model(info.model_uri).predict(X) == model.predict(X)).all()


def test_records_become_metrics() -> None:
    records: list[Record] = []
    with mlflow.start_run() as run:
        callbacks = [records.append, tinyrs.mlflow.log_record]
        tinyrs.TinyClassifier(hidden_layer_sizes=(4,), max_iter=4, callbacks=callbacks).fit(X, TABLE["kind"])
    client = mlflow.MlflowClient()
    for name in set(records[0]) - {"epoch"}:
        history = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in history] == [(r["epoch"], r[name]) for r in records]  # type: ignore[literal-required]


def test_errors_say_what_was_expected(model: tinyrs.Predictor, tmp_path: Path) -> None:
    classifier = tinyrs.TinyClassifier()
    with pytest.raises(TypeError, match=r"got a TinyClassifier; pass model.predictor\(\)"):
        tinyrs.mlflow.save_model(classifier, tmp_path / "model")
    model.save(tmp_path / "file")
    mlflow.pyfunc.save_model(
        tmp_path / "other", loader_module="tinyrs.mlflow", data_path=tmp_path / "file", pip_requirements=[]
    )
    with pytest.raises(ValueError, match="expected a model of tinyrs, got one of python_function"):
        tinyrs.mlflow.load_model(str(tmp_path / "other"))


def test_the_example_runs(run_tool: Tool) -> None:
    done = run_tool("examples/mlflow_model.py")
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"test accuracy ([\d.]+)%", done.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 95
