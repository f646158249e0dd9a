"""scikit-learn's callbacks (scikit-learn 1.9 or newer)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from tinyrs import TinyClassifier

callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")


class Listener:
    """Records the calls it gets, and stops training after `stop` epochs."""

    def __init__(self, stop: int = 10**9) -> None:
        self.calls: list[tuple[str, str]] = []
        self.scores: list[float] = []
        self.stop = stop

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None
    ) -> bool:
        self.calls.append(("end", context.task_name))
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(*load_iris(return_X_y=True)))
        return len(self.scores) >= self.stop


def small(**options: Any) -> TinyClassifier:
    return TinyClassifier(**{"n_layers": 1, "width": 8, "max_iter": 5, "random_state": 0} | options)


def test_an_epoch_is_a_task() -> None:
    listener, clf = Listener(), small()
    clf.set_callbacks(listener).fit(*load_iris(return_X_y=True))
    epoch = [("begin", "epoch"), ("end", "epoch")]
    fit = [("begin", "fit"), *epoch * 5, ("end", "fit")]
    assert listener.calls == [("setup", "fit"), *fit, ("teardown", "fit")]
    assert listener.scores[0] < listener.scores[-1]
    # Callbacks do not change the result, and the refit is not reported to them.
    np.testing.assert_array_equal(
        clf.predict_proba(load_iris().data),
        small().fit(*load_iris(return_X_y=True)).predict_proba(load_iris().data),
    )


def test_a_callback_ends_training() -> None:
    listener, clf = Listener(stop=2), small()
    clf.set_callbacks(listener).fit(*load_iris(return_X_y=True))
    assert clf.n_iter_ == 2


def test_callbacks_are_torn_down_after_an_error() -> None:
    class Failing(Listener):
        def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
            if context.task_name == "epoch":
                raise RuntimeError("planted")

    listener = Failing()
    with pytest.raises(RuntimeError, match="planted"):
        small().set_callbacks(listener).fit(*load_iris(return_X_y=True))
    assert listener.calls[-1] == ("teardown", "fit")


def test_scikit_learns_progress_bar_works_in_a_search(capsys: Any) -> None:
    search = GridSearchCV(small(), {"width": [4, 8]}, cv=2)
    bar = callback.ProgressBar(max_propagation_depth=None)
    search.set_callbacks(bar).fit(*load_iris(return_X_y=True))
    assert "TinyClassifier - fit" in capsys.readouterr().out
