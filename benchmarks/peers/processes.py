"""What only a new process shows: the time to the first prediction, the import time, and idle threads."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tinyrs
from tinyrs import Predictor
from tinyrs.bench import verify

from peers.engines import onnx_bytes, sklearn_model
from peers.workloads import SMALL_TANH, Workload

_WORKLOAD = SMALL_TANH

# For each library the module it needs, and a program that leaves its answer in y as a list. Only tinyrs works
# without NumPy.
COLD_STARTS = {
    "tinyrs": (
        "tinyrs",
        """
import tinyrs
predictor = tinyrs.load("network.safetensors")
with open("x.txt") as file:
    x = [float(number) for number in file.read().split()]
y = [list(predictor.predict_proba_one(x).values())]
""",
    ),
    "tinyrs, NumPy arrays": (
        "tinyrs",
        """
import numpy as np, tinyrs
y = tinyrs.load("network.safetensors").predict_proba(np.load("x.npy")).tolist()
""",
    ),
    "onnxruntime": (
        "onnxruntime",
        """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
y = session.run(None, {"x": np.load("x.npy")})[0].tolist()
""",
    ),
    "openvino": (
        "openvino",
        """
import numpy as np, openvino
hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
network = openvino.Core().compile_model("network.onnx", "CPU", hints)
y = network(np.load("x.npy"))[0].tolist()
""",
    ),
    "scikit-learn": (
        "sklearn",
        """
import joblib, numpy as np
y = joblib.load("network.joblib").predict_proba(np.load("x.npy")).tolist()
""",
    ),
}
_PRINT = "print(y)\n"

_IMPORT = """
import time, numpy
start = time.perf_counter()
import tinyrs
print(time.perf_counter() - start)
"""

_IDLE = """
import time, numpy as np, tinyrs
network = tinyrs.Network([1024] * 9, seed=0)
for batch in (1, 256):
    x = np.ones((batch, 1024), np.float32)
    for _ in range(5):
        network.forward(x)
start = time.process_time()
time.sleep(1)
print(time.process_time() - start)
"""


@dataclass
class Processes:
    """Median seconds of new processes."""

    # By library, from the start of the interpreter to the answer.
    cold_s: dict[str, float] = field(default_factory=dict)
    # By library, why it has no time.
    failures: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    # `import tinyrs` after `import numpy`.
    import_s: float = 0.0
    # Processor time while the process sleeps for a second after passes with all threads.
    idle_s: float = 0.0


def run(code: str, folder: Path) -> tuple[float, str]:
    """The wall time of a new interpreter that runs `code` in `folder`, and what it printed."""
    # Installed packages are loaded from bytecode; the package under development should be too.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, env=env
    )
    return time.perf_counter() - start, done.stdout


def write_files(workload: Workload, folder: Path, libraries: Iterable[str]) -> None:
    """Writes an input, and the network in the file formats that `libraries` read."""
    layers, x = workload.parameters(), workload.inputs()[0]
    np.save(folder / "x.npy", x)
    (folder / "x.txt").write_text(" ".join(map(repr, x[0].tolist())))
    network = tinyrs.Network.from_parameters(
        layers, activation=workload.activation, output_activation=workload.output_activation
    )
    Predictor(network, None, np.arange(workload.sizes[-1])).save(folder / "network.safetensors")
    if {"onnxruntime", "openvino"} & set(libraries):
        (folder / "network.onnx").write_bytes(onnx_bytes(workload, layers))
    if "scikit-learn" in libraries:
        import joblib

        joblib.dump(sklearn_model(workload, layers), folder / "network.joblib")


def measure(runs: int) -> Processes:
    """Medians over `runs` processes of each library, which take turns."""
    result = Processes()
    cold: dict[str, str] = {}
    for name, (module, code) in COLD_STARTS.items():
        if importlib.util.find_spec(module):
            cold[name] = code + _PRINT
        else:
            result.absent.append(name)
    seconds: dict[str, list[float]] = {name: [] for name in cold}
    import_s = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(_WORKLOAD, folder, cold)
        expected = verify.reference_of(
            _WORKLOAD.parameters(),
            _WORKLOAD.inputs()[0],
            _WORKLOAD.precision,
            _WORKLOAD.activation,
            output_activation=_WORKLOAD.output_activation,
        )
        # The first round brings the files into the page cache, and is verified instead of timed. The order
        # rotates, because a process that follows one with several threads is slower.
        libraries = list(cold)
        for r in range(runs + 1):
            import_s.append(float(run(_IMPORT, folder)[1]))
            first = r % len(libraries)
            for library in libraries[first:] + libraries[:first]:
                elapsed, printed = run(cold[library], folder)
                if r > 0:
                    seconds[library].append(elapsed)
                else:
                    try:
                        verify.check(expected, np.array(json.loads(printed)))
                    except verify.WrongAnswerError as wrong:
                        result.failures[library] = str(wrong)
        result.idle_s = float(run(_IDLE, folder)[1])
    result.cold_s = {
        library: float(np.median(times))
        for library, times in seconds.items()
        if library not in result.failures
    }
    result.import_s = float(np.median(import_s[1:]))
    return result
