"""The example for Spark, and models of MLflow in it, with two worker processes; run by `make scale`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cases_of_scale
import pyarrow as pa
import pytest
from cases_of_scale import COLUMNS, Case, WatchedScorer, check_equal, example
from pyspark.sql import SparkSession
from tinyrs.scale import Scorer


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    # A master and two executors, each a process with one core and its own Python process.
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
    # Several batches for each process.
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return cases_of_scale.make_case(tmp_path)


@pytest.mark.parametrize("kill", [False, True])
def test_scores_are_those_of_one_call(spark: SparkSession, case: Case, kill: bool, tmp_path: Path) -> None:
    rows, target = spark.read.parquet(case.source), str(tmp_path / "scored")
    scorer = WatchedScorer(case.model, columns=COLUMNS, kill=kill)
    example("spark_score").scored(rows, scorer).write.parquet(target)
    check_equal(target, case.expected)
    scorer.watch.check()


def test_workers_use_no_more_threads_than_spark_gives_them(spark: SparkSession) -> None:
    def threads(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            allowed, started = cases_of_scale.threads()
            yield pa.RecordBatch.from_pydict({"allowed": [allowed], "started": [started]})

    rows = spark.range(8, numPartitions=2).mapInArrow(threads, "allowed long, started long").collect()
    assert [tuple(row) for row in rows] == [(1, 0)] * 2


def test_mlflow_gives_spark_a_function(spark: SparkSession, case: Case, tmp_path: Path) -> None:
    import mlflow
    import tinyrs.mlflow

    tinyrs.mlflow.save_model(Scorer(case.model).predictor, tmp_path / "flower")
    predict = mlflow.pyfunc.spark_udf(spark, str(tmp_path / "flower"), result_type="string")
    rows = spark.read.parquet(case.source)
    rows.select("id", predict("length", "width", "colour").alias("label")).write.parquet(
        str(tmp_path / "labels")
    )
    check_equal(str(tmp_path / "labels"), case.expected.select(["id", "label"]))
