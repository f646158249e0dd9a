#!/usr/bin/env python3
"""Trains on two thirds of scikit-learn's 1,797 handwritten digits; test accuracy on the rest: 98 %.

./examples/digits.py
"""

from __future__ import annotations

import argparse

import tinyrs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--epochs", type=int, default=60, help="passes over the training data (default: %(default)s)"
    )
    epochs = parser.parse_args().epochs

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=1 / 3, random_state=0, stratify=y
    )

    network = tinyrs.Network([64, 128, 10], activation="relu", output_activation="softmax", seed=0)
    network.fit(
        X_train,
        y_train,
        epochs=epochs,
        batch_size=32,
        learning_rate=3e-3,
        schedule="warmup_cosine",
        dropout=0.2,
        seed=0,
        progress=True,
    )
    accuracy = (network.forward(X_test).argmax(axis=1) == y_test).mean()
    print(f"test accuracy {accuracy:.2%} on {len(y_test)} digits")


if __name__ == "__main__":
    main()
