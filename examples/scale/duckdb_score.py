#!/usr/bin/env python3
"""Scores the result of a query of DuckDB and lets DuckDB write it: Arrow batches in, Arrow batches out.

./examples/scale/duckdb_score.py model.safetensors "FROM 'rows/*.parquet'" scored.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb
from tinyrs import Predictor
from tinyrs.scale import Scorer


def score(model: Predictor, query: str, target: str) -> None:
    """Writes the scored rows of `query` to `target`, which appears when it is whole."""
    # A connection answers one query at a time.
    with duckdb.connect() as source, duckdb.connect() as sink:
        scored = model.predict_batches(source.sql(query), columns=None)
        unfinished = Path(f"{target}.part")
        sink.from_arrow(scored).write_parquet(str(unfinished))
        unfinished.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model")
    parser.add_argument("query", help="query of DuckDB whose result has the columns of the model")
    parser.add_argument("target", help="Parquet file to write")
    flags = parser.parse_args()
    score(Scorer(flags.model).predictor, flags.query, flags.target)


if __name__ == "__main__":
    main()
