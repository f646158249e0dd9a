#!/usr/bin/env python3
"""Scores Parquet files on a Dask cluster, one partition a task; without an address, on two local processes.

./examples/scale/dask_score.py model.safetensors rows/ scored/ --scheduler tcp://10.0.0.1:8786
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import dask.dataframe as dd
from distributed import Client
from tinyrs.scale import Scorer


def score(scorer: Callable[[Any], Any], source: str, target: str) -> None:
    """Writes one scored file for each partition of `source` to the folder `target`."""
    rows = dd.read_parquet(source, dtype_backend="pyarrow")  # columns as they are read, without copies
    scored = rows.map_partitions(scorer, meta=scorer(rows._meta))
    scored.to_parquet(target, write_index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model, which only this process reads")
    parser.add_argument("source", help="folder of Parquet files")
    parser.add_argument("target", help="folder to write Parquet files to")
    parser.add_argument("--scheduler", help="address of the cluster's scheduler")
    flags = parser.parse_args()
    cluster = {"address": flags.scheduler} if flags.scheduler else {"n_workers": 2, "threads_per_worker": 1}
    with Client(**cluster):
        score(Scorer(flags.model), flags.source, flags.target)


if __name__ == "__main__":
    main()
