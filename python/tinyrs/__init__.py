"""tinyrs: a tiny, fast neural-network classifier for CPUs.

>>> import numpy as np, tinyrs
>>> network = tinyrs.Network([4, 16, 3], output_activation="softmax", seed=7)
>>> probabilities = network.forward(np.ones((2, 4), dtype=np.float32))
>>> probabilities.shape
(2, 3)
"""

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

__version__: str = build_info()["version"]

__all__ = [
    "History",
    "Network",
    "Optimizer",
    "__version__",
    "build_info",
    "get_num_threads",
    "machine_limits",
    "set_num_threads",
]
