#!/usr/bin/env python3
"""Scores the result of a query of DuckDB and lets DuckDB write it: Arrow batches in, Arrow batches out.

./examples/scale/duckdb_score.py model.safetensors "FROM 'rows/*.parquet'" scored.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb
import pyarrow as pa
from tinyrs.scale import Scorer


def score(scorer: Scorer, query: str, target: str, batch_size: int = 100_000) -> None:
    """Writes the scored rows of `query` to `target`, which appears when it is whole."""
    with duckdb.connect() as source, duckdb.connect() as sink:
        rows = source.sql(query).to_arrow_reader(batch_size)
        schema = scorer(rows.schema.empty_table()).schema
        scored = sink.from_arrow(pa.RecordBatchReader.from_batches(schema, scorer.map(rows)))
        unfinished = Path(f"{target}.part")
        scored.write_parquet(str(unfinished))
        unfinished.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model")
    parser.add_argument("query", help="query of DuckDB whose result has the columns of the model")
    parser.add_argument("target", help="Parquet file to write")
    flags = parser.parse_args()
    score(Scorer(flags.model), flags.query, flags.target)


if __name__ == "__main__":
    main()
