#!/usr/bin/env python3
"""Trains on handwritten digits, logs each epoch and the model with MLflow, and loads the model again.

./examples/mlflow_model.py
"""

from __future__ import annotations

import mlflow
import tinyrs.mlflow
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    X, y = load_digits(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=0)
    with mlflow.start_run():
        classifier = tinyrs.TinyClassifier(
            max_iter=32, callbacks=[tinyrs.mlflow.log_record], random_state=0
        ).fit(X_train, y_train)
        mlflow.log_metric("test_accuracy", classifier.score(X_test, y_test))
        logged = tinyrs.mlflow.log_model(classifier.predictor(), "digits")

    model = tinyrs.mlflow.load_model(logged.model_uri)
    anywhere = mlflow.pyfunc.load_model(logged.model_uri)  # what other tools see
    assert (anywhere.predict(X_test) == model.predict(X_test)).all()
    accuracy = (model.predict(X_test) == y_test).mean()
    print(f"test accuracy {accuracy:.2%} of {logged.model_uri}")


if __name__ == "__main__":
    main()
