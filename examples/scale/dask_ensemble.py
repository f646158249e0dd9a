#!/usr/bin/env python3
"""Trains one member of an ensemble on each partition of a table, where the partition is.

./examples/scale/dask_ensemble.py rows/ target --scheduler tcp://10.0.0.1:8786
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import numpy.typing as npt
from distributed import Client
from tinyrs import Predictor, TinyClassifier


def train(rows: Any, target: str, seed: int) -> Predictor:
    """A member, trained on one partition."""
    model = TinyClassifier(n_ensemble=1, random_state=seed)
    return model.fit(rows.drop(columns=target), rows[target]).predictor()


def ensemble(rows: dd.DataFrame, target: str) -> list[Predictor]:
    """The members; only they travel, not the rows. Each partition must have all classes."""
    parts = rows.to_delayed()
    members = [dask.delayed(train)(part, target, seed) for seed, part in enumerate(parts)]
    return list(dask.compute(*members))


def predict_proba(members: Sequence[Predictor], X: Any) -> npt.NDArray[np.floating[Any]]:
    """The mean of the members' probabilities, (rows, classes)."""
    return np.mean([member.predict_proba(X) for member in members], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", help="folder of Parquet files")
    parser.add_argument("target", help="column of the class")
    parser.add_argument("--scheduler", help="address of the cluster's scheduler")
    parser.add_argument("--members", type=Path, default=Path("members"), help="folder to write models to")
    flags = parser.parse_args()
    cluster = {"address": flags.scheduler} if flags.scheduler else {"n_workers": 2, "threads_per_worker": 1}
    with Client(**cluster):
        members = ensemble(dd.read_parquet(flags.source), flags.target)
    flags.members.mkdir(exist_ok=True)
    for i, member in enumerate(members):
        member.save(flags.members / f"{i:04}.safetensors")
    print(f"{len(members)} models in {flags.members}")


if __name__ == "__main__":
    main()
