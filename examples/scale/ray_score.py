#!/usr/bin/env python3
"""Scores Parquet files with Ray Data, on all processors of the cluster.

./examples/scale/ray_score.py model.safetensors rows/ scored/
"""

from __future__ import annotations

import argparse
from typing import Any

import ray
from tinyrs.scale import Scorer


def score(scorer: Any, source: str, target: str) -> None:
    """Writes Parquet files to the folder `target`.

    A task reads, scores and writes some rows, which never go through Ray's object store. Each process of Ray
    loads the model once.
    """
    rows = ray.data.read_parquet(source)
    # Whole blocks, which are not copied.
    scored = rows.map_batches(scorer, batch_format="pyarrow", batch_size=None)
    scored.write_parquet(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model, which only this process reads")
    parser.add_argument("source", help="folder of Parquet files")
    parser.add_argument("target", help="folder to write Parquet files to")
    flags = parser.parse_args()
    ray.init()
    score(Scorer(flags.model), flags.source, flags.target)


if __name__ == "__main__":
    main()
