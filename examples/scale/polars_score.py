#!/usr/bin/env python3
"""Scores Parquet files with the streaming engine of Polars: all cores, memory for a few batches.

./examples/scale/polars_score.py model.safetensors 'rows/*.parquet' scored.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl
from tinyrs.scale import Scorer


def score(scorer: Scorer, source: str, target: str) -> None:
    """Writes the scored rows of `source` to `target`, which appears when it is whole."""
    rows = pl.scan_parquet(source)
    schema = scorer(pl.DataFrame(schema=rows.collect_schema())).schema
    unfinished = Path(f"{target}.part")
    rows.map_batches(scorer, schema=schema, streamable=True).sink_parquet(unfinished)
    unfinished.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model")
    parser.add_argument("source", help="Parquet file or pattern")
    parser.add_argument("target", help="Parquet file to write")
    flags = parser.parse_args()
    # Polars calls the scorer from each of its threads.
    score(Scorer(flags.model, n_threads=1), flags.source, flags.target)


if __name__ == "__main__":
    main()
