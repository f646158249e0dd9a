"""tinyrs: a tiny, fast neural-network classifier for CPUs.

>>> import numpy as np, tinyrs
>>> network = tinyrs.Network([4, 16, 3], output_activation="softmax", seed=7)
>>> probabilities = network.forward(np.ones((2, 4), dtype=np.float32))
>>> probabilities.shape
(2, 3)
"""

from __future__ import annotations

import sys

from tinyrs._tinyrs import (
    Optimizer,
    build_info,
    get_num_threads,
    machine_limits,
    set_num_threads,
)
from tinyrs.network import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    from tinyrs.budget import fit_to_budget as fit_to_budget
    from tinyrs.classifier import TinyClassifier as TinyClassifier
    from tinyrs.convert.onnx import from_onnx as from_onnx
    from tinyrs.convert.sklearn import from_sklearn as from_sklearn
    from tinyrs.convert.torch import from_torch as from_torch
    from tinyrs.history import History as History
    from tinyrs.inspection import permutation_importance as permutation_importance
    from tinyrs.predictor import Predictor as Predictor
    from tinyrs.predictor import load as load
    from tinyrs.tabular.shift import DataShiftWarning as DataShiftWarning

__version__: str = build_info()["version"]

__all__ = [
    "DataShiftWarning",
    "History",
    "Network",
    "Optimizer",
    "Predictor",
    "TinyClassifier",
    "__version__",
    "build_info",
    "fit_to_budget",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "get_num_threads",
    "load",
    "machine_limits",
    "permutation_importance",
    "set_num_threads",
]


# Names that are imported on first use, so that `import tinyrs` is quick; see `tinyrs._lazy`.
_LAZY = {
    "DataShiftWarning": "tinyrs.tabular.shift",
    "History": "tinyrs.history",
    "Predictor": "tinyrs.predictor",
    "TinyClassifier": "tinyrs.classifier",
    "fit_to_budget": "tinyrs.budget",
    "from_onnx": "tinyrs.convert.onnx",
    "from_sklearn": "tinyrs.convert.sklearn",
    "from_torch": "tinyrs.convert.torch",
    "load": "tinyrs.predictor",
    "permutation_importance": "tinyrs.inspection",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinyrs' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


class _ThreadpoolctlHook:
    """An import hook that lets `threadpoolctl.threadpool_limits` limit the threads of tinyrs.

    tinyrs does not import threadpoolctl: that takes longer than to load a model and predict one row."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "threadpoolctl":
            return None
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (find(name, path, target) for find in finders if find)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register_with(module)

            spec.loader.exec_module = execute_and_register
        return spec


def _register_with(threadpoolctl: ModuleType) -> None:
    from tinyrs import _threadpool

    _threadpool.register(threadpoolctl)


if sys.modules.get("threadpoolctl"):
    _register_with(sys.modules["threadpoolctl"])
else:
    sys.meta_path.insert(0, _ThreadpoolctlHook)
