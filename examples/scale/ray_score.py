#!/usr/bin/env python3
"""Scores Parquet files with Ray Data: each worker process loads the model once, then takes batches.

./examples/scale/ray_score.py model.safetensors rows/ scored/ --workers 2
"""

from __future__ import annotations

import argparse
from typing import Any

import ray
from tinyrs.scale import Scorer


def score(model: Any, source: str, target: str, workers: int, scorer: type = Scorer, **options: Any) -> None:
    """Writes Parquet files to the folder `target`. `options` are those of the scorer.

    A worker keeps a processor of the cluster, which needs at least one more for the tasks that list and write
    files.
    """
    rows = ray.data.read_parquet(source)
    scored = rows.map_batches(
        scorer,
        fn_constructor_args=(model,),
        fn_constructor_kwargs=options,
        batch_format="pyarrow",
        batch_size=None,  # whole blocks, which are not copied
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    scored.write_parquet(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file of a model, which only this process reads")
    parser.add_argument("source", help="folder of Parquet files")
    parser.add_argument("target", help="folder to write Parquet files to")
    parser.add_argument("--workers", type=int, default=2, help="number of processes (default: %(default)s)")
    flags = parser.parse_args()
    ray.init()
    score(Scorer(flags.model).predictor, flags.source, flags.target, flags.workers)


if __name__ == "__main__":
    main()
