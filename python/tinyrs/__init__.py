"""tinyrs: a tiny, fast neural-network classifier for CPUs.

>>> import numpy as np, tinyrs
>>> network = tinyrs.Network([4, 16, 3], output_activation="softmax", seed=7)
>>> probabilities = network.forward(np.ones((2, 4), dtype=np.float32))
>>> probabilities.shape
(2, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinyrs import _threadpool as _threadpool
from tinyrs._tinyrs import (
    Network,
    Optimizer,
    build_info,
    get_num_threads,
    machine_limits,
    set_num_threads,
)
from tinyrs.training import History

if TYPE_CHECKING:
    from tinyrs.classifier import TinyClassifier as TinyClassifier

__version__: str = build_info()["version"]

__all__ = [
    "History",
    "Network",
    "Optimizer",
    "TinyClassifier",
    "__version__",
    "build_info",
    "get_num_threads",
    "machine_limits",
    "set_num_threads",
]


def __getattr__(name: str) -> Any:
    """The estimator is imported when it is first asked for: it needs scikit-learn, `import tinyrs` only
    NumPy."""
    if name == "TinyClassifier":
        from tinyrs.classifier import TinyClassifier

        return TinyClassifier
    raise AttributeError(f"module 'tinyrs' has no attribute {name!r}")
