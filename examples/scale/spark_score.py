#!/usr/bin/env python3
"""Scores Parquet files with Spark: Arrow batches go to Python processes, which have the model by broadcast.

spark-submit examples/scale/spark_score.py model.safetensors rows/ scored/
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from tinyrs.scale import Scorer


def scored(rows: DataFrame, scorer: Callable[[Any], Any]) -> DataFrame:
    """The rows with the columns that the scorer adds."""
    schema = scorer(to_arrow_schema(rows.schema).empty_table()).schema
    shared = rows.sparkSession.sparkContext.broadcast(scorer)

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return map(shared.value, batches)

    return rows.mapInArrow(score, from_arrow_schema(schema))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model, which only the driver reads")
    parser.add_argument("source", help="folder of Parquet files")
    parser.add_argument("target", help="folder to write Parquet files to")
    flags = parser.parse_args()
    spark = SparkSession.builder.getOrCreate()
    scored(spark.read.parquet(flags.source), Scorer(flags.model)).write.parquet(flags.target)


if __name__ == "__main__":
    main()
