"""tinyrs: a tiny, fast neural-network classifier for CPUs.

>>> import numpy as np, tinyrs
>>> network = tinyrs.Network([4, 16, 3], output_activation="softmax", seed=7)
>>> probabilities = network.forward(np.ones((2, 4), dtype=np.float32))
>>> probabilities.shape
(2, 3)
"""

from __future__ import annotations

from tinyrs import _threadpool as _threadpool
from tinyrs._tinyrs import (
    Network,
    Optimizer,
    build_info,
    get_num_threads,
    machine_limits,
    set_num_threads,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tinyrs.classifier import TinyClassifier as TinyClassifier
    from tinyrs.convert.onnx import from_onnx as from_onnx
    from tinyrs.convert.sklearn import from_sklearn as from_sklearn
    from tinyrs.convert.torch import from_torch as from_torch
    from tinyrs.history import History as History
    from tinyrs.predictor import Predictor as Predictor
    from tinyrs.predictor import load as load

__version__: str = build_info()["version"]

__all__ = [
    "History",
    "Network",
    "Optimizer",
    "Predictor",
    "TinyClassifier",
    "__version__",
    "build_info",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "get_num_threads",
    "load",
    "machine_limits",
    "set_num_threads",
]


# Imported when they are first asked for: `import tinyrs` is quick, see `tinyrs._lazy`.
_LAZY = {
    "History": "tinyrs.history",
    "Predictor": "tinyrs.predictor",
    "TinyClassifier": "tinyrs.classifier",
    "from_onnx": "tinyrs.convert.onnx",
    "from_sklearn": "tinyrs.convert.sklearn",
    "from_torch": "tinyrs.convert.torch",
    "load": "tinyrs.predictor",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinyrs' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
