"""TinyClassifier as a state machine: calls in any order, each of which changes all or nothing.

`TINYRS_STATES=1000` (`make states`) runs this many sequences instead of a few.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tinyrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from tinyrs import TinyClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3))
# Data sets with different columns and classes.
DATA: list[tuple[Any, Any]] = [
    (X, np.where(X[:, 0] > 0, "yes", "no")),
    (X[:, :2], np.arange(70) % 3),
    (pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "x", "y")}), X[:, 0] > 0),
]
# What training on a table with other columns raises; a warning is an error in tests.
OTHER_COLUMNS = (ValueError, TypeError, UserWarning)


class Raise:
    """A callback that raises `error` after `epochs` epochs."""

    def __init__(self, error: BaseException, epochs: int) -> None:
        self.error, self.epochs = error, epochs

    def __call__(self, record: Any) -> None:
        self.epochs -= 1
        if self.epochs < 0:
            raise self.error


class ClassifierStates(RuleBasedStateMachine):
    """`data` is the data set of the last successful training, `p` what the classifier predicted after it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = TinyClassifier(n_layers=1, width=4, max_iter=4, random_state=0)
        self.data: int | None = None
        self.p: Any = None

    def trained(self, data: int) -> None:
        self.data, self.p = data, self.model.predict_proba(DATA[data][0])

    @rule(data=st.sampled_from(range(len(DATA))))
    def fit(self, data: int) -> None:
        if self.model.warm_start and self.data not in (None, data):
            return  # a warm start needs the same columns
        self.model.fit(*DATA[data])
        self.trained(data)

    @rule(data=st.sampled_from(range(len(DATA))))
    def partial_fit(self, data: int) -> None:
        if self.data in (None, data):
            self.model.partial_fit(*DATA[data])
            self.trained(data)
        else:
            with pytest.raises(OTHER_COLUMNS):
                self.model.partial_fit(*DATA[data])

    @rule(
        method=st.sampled_from(["fit", "partial_fit"]),
        data=st.sampled_from(range(len(DATA))),
        error=st.sampled_from([KeyboardInterrupt(), RuntimeError("planted"), MemoryError()]),
        epochs=st.integers(0, 3),
    )
    def fail(self, method: str, data: int, error: BaseException, epochs: int) -> None:
        self.model.set_params(callbacks=[Raise(error, 0 if method == "partial_fit" else epochs)])
        with pytest.raises((type(error), *OTHER_COLUMNS)):
            getattr(self.model, method)(*DATA[data])
        self.model.set_params(callbacks=None)

    @rule(
        bad=st.sampled_from(
            [{"sample_weight": -np.ones(70)}, {"eval_set": []}, {"eval_metric": "no such metric"}]
        )
    )
    def refuse(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"weight|eval_"):
            self.model.fit(*DATA[0], **bad)

    @rule(warm_start=st.booleans(), alpha=st.sampled_from([0.0, 0.1]))
    def set_params(self, warm_start: bool, alpha: float) -> None:
        self.model.set_params(warm_start=warm_start, alpha=alpha)

    @rule()
    def pickle(self) -> None:
        self.model = pickle.loads(pickle.dumps(self.model))

    @rule()
    def clone(self) -> None:
        """A clone is not fitted; the original stays fitted."""
        with pytest.raises(NotFittedError):
            clone(self.model).predict(DATA[0][0])

    @precondition(lambda self: self.data is not None)
    @rule()
    def save_and_load(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tinyrs"
            self.model.save(path)
            saved, deployed = path.read_bytes(), tinyrs.load(path)
            self.model = TinyClassifier.load(path)
            self.model.save(path)
            assert path.read_bytes() == saved
        assert isinstance(deployed, tinyrs.Predictor)
        np.testing.assert_array_equal(deployed.predict_proba(DATA[self.data or 0][0]), self.p)

    @invariant()
    def predictions_follow_the_last_training(self) -> None:
        if self.data is None:
            with pytest.raises(NotFittedError):
                self.model.predict(DATA[0][0])
            assert not [name for name in vars(self.model) if name.endswith("_") and name[0] != "_"]
            return
        rows, labels = DATA[self.data]
        np.testing.assert_array_equal(self.model.predict_proba(rows), self.p)
        assert set(self.model.predict(rows)) <= set(labels)
        assert self.model.n_features_in_ == rows.shape[1]
        assert len(self.model.loss_curve_) == self.model.n_iter_


TestClassifierStates = ClassifierStates.TestCase
TestClassifierStates.settings = settings(
    max_examples=int(os.environ.get("TINYRS_STATES", "12")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_a_loaded_classifier_continues(tmp_path: Path) -> None:
    rows, labels = DATA[0]
    model = TinyClassifier(
        n_layers=1, width=4, max_iter=3, warm_start=True, class_weight={"yes": 2.0, "no": 1}, random_state=3
    ).fit(rows, labels, eval_metric=["auc", "log_loss"])
    model.save(tmp_path / "model.tinyrs")
    again = TinyClassifier.load(tmp_path / "model.tinyrs")
    assert again.get_params() == model.get_params() | {"hidden_layer_sizes": again.hidden_layer_sizes}
    assert again.evals_result_ == model.evals_result_
    assert again.score(rows, labels) == model.score(rows, labels)
    for continued in (model, again):
        continued.fit(rows, labels).partial_fit(rows, labels)
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))


def test_a_sparse_classifier_loads(tmp_path: Path) -> None:
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(np.where(X > 0.5, X * [1, 100, 0], 0))
    labels = np.asarray(matrix[:, 0].todense()).ravel() > 0
    model = TinyClassifier(n_layers=1, width=4, max_iter=3, random_state=0).fit(matrix, labels)
    model.save(tmp_path / "model.tinyrs")
    again = TinyClassifier.load(tmp_path / "model.tinyrs")
    np.testing.assert_allclose(again.predict_proba(matrix), model.predict_proba(matrix), rtol=1e-5)
    again.partial_fit(matrix, labels)


def test_files_without_parameters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tinyrs"
    TinyClassifier(n_layers=1, width=4, max_iter=1).fit(*DATA[0]).predictor().save(path)
    with pytest.raises(ValueError, match=r"load it with tinyrs\.load"):
        TinyClassifier.load(path)
