"""scikit-learn's own callback protocol, where the installed version has it (1.9 and later).

An epoch is a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from tinyrs.history import Record

F = TypeVar("F", bound=Callable[..., Any])

try:
    import sklearn.callback as protocol
except ModuleNotFoundError:
    protocol = None

CallbackSupportMixin: Any = protocol.CallbackSupportMixin if protocol else type("NoCallbacks", (), {})


def with_callbacks(method: F) -> F:
    """The method, behind which the callbacks are torn down whatever happens."""
    return cast(F, protocol.with_callbacks(method)) if protocol else method


class EpochTasks:
    """A callback of `Network.fit` that tells those of scikit-learn of each epoch.

    `fitted` gives the attributes of an estimator that stopped at this epoch; it is called if one of them
    wants such an estimator.
    """

    def __init__(
        self, estimator: Any, epochs: int, data: tuple[Any, Any], fitted: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._task = {"estimator": estimator, "X": data[0], "y": data[1]}
        self._end = {**self._task, "reconstruction_attributes": fitted}
        self._fit = estimator._init_callback_context(max_subtasks=epochs)
        self._fit.call_on_fit_task_begin(**self._task)
        self._epochs, self._epoch = epochs, self._begin()

    @classmethod
    def of(
        cls, estimator: Any, epochs: int, data: tuple[Any, Any], fitted: Callable[[], Mapping[str, Any]]
    ) -> EpochTasks | None:
        """None where the estimator has no such callbacks."""
        return cls(estimator, epochs, data, fitted) if hasattr(estimator, "_skl_callbacks") else None

    def __call__(self, record: Record) -> bool:
        stop = bool(self._epoch.call_on_fit_task_end(**self._end))
        if not stop and record["epoch"] + 1 < self._epochs:
            self._epoch = self._begin()
        return stop

    def close(self) -> None:
        """Ends the task that all epochs are part of."""
        self._fit.call_on_fit_task_end(**self._end)

    def _begin(self) -> Any:
        return self._fit.subcontext(task_name="epoch").call_on_fit_task_begin(**self._task)
