"""Reports the epochs of `TinyClassifier.fit` to scikit-learn's callbacks (scikit-learn 1.9 or newer).

With an older scikit-learn, nothing here has an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from tinyrs.history import Record

F = TypeVar("F", bound=Callable[..., Any])

try:
    import sklearn.callback as sklearn_callback
except ModuleNotFoundError:
    sklearn_callback = None

CallbackSupportMixin: Any = (
    sklearn_callback.CallbackSupportMixin if sklearn_callback else type("NoCallbacks", (), {})
)


def with_callbacks(method: F) -> F:
    """Decorates `fit`: the callbacks are torn down after it, also after an exception."""
    return cast(F, sklearn_callback.with_callbacks(method)) if sklearn_callback else method


class EpochTasks:
    """A callback of `Network.fit` that reports each epoch as a subtask of the task "fit".

    Parameters
    ----------
    estimator : TinyClassifier
    epochs : int
    X, y : array
        What the callbacks are shown as the training data.
    fitted_attributes : callable
        Returns the attributes of an estimator that is fitted up to the present epoch. Called if a callback
        asks for such an estimator.
    """

    def __init__(
        self,
        estimator: Any,
        epochs: int,
        X: Any,
        y: Any,
        fitted_attributes: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        self._end_arguments = {**self._arguments, "reconstruction_attributes": fitted_attributes}
        self._fit = estimator._init_callback_context(max_subtasks=epochs)
        self._fit.call_on_fit_task_begin(**self._arguments)
        self._epochs, self._epoch = epochs, self._begin_epoch()

    @classmethod
    def of(
        cls,
        estimator: Any,
        epochs: int,
        X: Any,
        y: Any,
        fitted_attributes: Callable[[], Mapping[str, Any]],
    ) -> EpochTasks | None:
        """As the constructor; None if no scikit-learn callbacks were set on the estimator."""
        return (
            cls(estimator, epochs, X, y, fitted_attributes) if hasattr(estimator, "_skl_callbacks") else None
        )

    def __call__(self, record: Record) -> bool:
        stop = bool(self._epoch.call_on_fit_task_end(**self._end_arguments))
        if not stop and record["epoch"] + 1 < self._epochs:
            self._epoch = self._begin_epoch()
        return stop

    def close(self) -> None:
        """Ends the task "fit"."""
        self._fit.call_on_fit_task_end(**self._end_arguments)

    def _begin_epoch(self) -> Any:
        return self._fit.subcontext(task_name="epoch").call_on_fit_task_begin(**self._arguments)
