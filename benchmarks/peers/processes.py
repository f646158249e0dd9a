"""What only a fresh process shows: the time to a prediction, what importing costs, whether threads idle."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tinyrs
from tinyrs import Predictor
from tinyrs.bench import verify

from peers.engines import onnx_bytes, sklearn_model
from peers.workloads import SMALL_TANH, Work

_WORK = SMALL_TANH

# From the interpreter's start to an answer, by what is asked: a library's module, and what is run and leaves
# the answer in y, as a list. tinyrs can do without NumPy, the others cannot.
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
    """Medians; `cold_s` by library, without those that are `absent` and those that failed to answer right."""

    cold_s: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    # Of `import tinyrs` where NumPy is imported already.
    import_s: float = 0.0
    # Processor time of a second's sleep after passes with all threads.
    idle_s: float = 0.0


def run(code: str, folder: Path) -> tuple[float, str]:
    """The wall time of a fresh interpreter that runs `code` in `folder`, and what it printed."""
    # A package that pip has installed is there as bytecode; one that is being worked on shall be so too.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, env=env
    )
    return time.perf_counter() - start, done.stdout


def write_files(work: Work, folder: Path, modules: Mapping[str, str]) -> None:
    """The network, as each of `modules` (library: module) reads it, and an input."""
    layers, x = work.parameters(), work.inputs()[0]
    np.save(folder / "x.npy", x)
    (folder / "x.txt").write_text(" ".join(map(repr, x[0].tolist())))
    network = tinyrs.Network.from_parameters(
        layers, activation=work.activation, output_activation=work.output_activation
    )
    Predictor(network, None, np.arange(work.sizes[-1])).save(folder / "network.safetensors")
    if {"onnxruntime", "openvino"} & set(modules):
        (folder / "network.onnx").write_bytes(onnx_bytes(work, layers))
    if "scikit-learn" in modules:
        import joblib

        joblib.dump(sklearn_model(work, layers), folder / "network.joblib")


def measure(runs: int) -> Processes:
    """Medians of `runs` processes of each kind, one kind after the other in each round."""
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
        write_files(_WORK, folder, cold)
        expected = verify.reference_of(
            _WORK.parameters(),
            _WORK.inputs()[0],
            _WORK.precision,
            _WORK.activation,
            output_activation=_WORK.output_activation,
        )
        # The first round brings the files into memory, and is checked instead of timed. The order rotates:
        # what runs after a process of several threads is slower.
        kinds = list(cold)
        for r in range(runs + 1):
            import_s.append(float(run(_IMPORT, folder)[1]))
            for kind in kinds[r % len(kinds) :] + kinds[: r % len(kinds)]:
                elapsed, printed = run(cold[kind], folder)
                if r > 0:
                    seconds[kind].append(elapsed)
                else:
                    try:
                        verify.check(expected, np.array(json.loads(printed)))
                    except verify.WrongAnswerError as wrong:
                        result.failures[kind] = str(wrong)
        result.idle_s = float(run(_IDLE, folder)[1])
    result.cold_s = {
        kind: float(np.median(times)) for kind, times in seconds.items() if kind not in result.failures
    }
    result.import_s = float(np.median(import_s[1:]))
    return result
