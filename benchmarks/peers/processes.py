"""What only a fresh process shows: the time to a prediction, what importing costs, whether threads idle."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tinyrs.bench import verify

from peers.engines import onnx_bytes, sklearn_model
from peers.workloads import SMALL_TANH, Work

_WORK = SMALL_TANH

# From the interpreter's start to an answer, by library: its module, and what is run and leaves it in y.
COLD_STARTS = {
    "tinyrs": (
        "tinyrs",
        """
import numpy as np, tinyrs
with np.load("network.npz") as file:
    layers = [(file[f"W{i}"], file[f"b{i}"]) for i in range(len(file) // 2)]
network = tinyrs.Network.from_parameters(layers, activation="tanh", output_activation="softmax")
y = network.forward(np.load("x.npy"))
""",
    ),
    "onnxruntime": (
        "onnxruntime",
        """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
y = session.run(None, {"x": np.load("x.npy")})[0]
""",
    ),
    "openvino": (
        "openvino",
        """
import numpy as np, openvino
hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
network = openvino.Core().compile_model("network.onnx", "CPU", hints)
y = network(np.load("x.npy"))[0]
""",
    ),
    "scikit-learn": (
        "sklearn",
        """
import joblib, numpy as np
y = joblib.load("network.joblib").predict_proba(np.load("x.npy"))
""",
    ),
}
_PRINT = "print(y.tolist())\n"

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
    # Of `import numpy, tinyrs`, over `import numpy`.
    import_s: float = 0.0
    # Processor time of a second's sleep after passes with all threads.
    idle_s: float = 0.0


def run(code: str, folder: Path) -> tuple[float, str]:
    """The wall time of a fresh interpreter that runs `code` in `folder`, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, done.stdout


def write_files(work: Work, folder: Path, modules: Mapping[str, str]) -> None:
    """The network, as each of `modules` (library: module) reads it, and an input."""
    layers = work.parameters()
    np.save(folder / "x.npy", work.inputs()[0])
    arrays = {
        f"{name}{i}": array for i, pair in enumerate(layers) for name, array in zip("Wb", pair, strict=True)
    }
    np.savez(folder / "network.npz", **arrays)  # type: ignore[arg-type]
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
    imports = {"import": "import numpy, tinyrs", "without": "import numpy"}
    seconds: dict[str, list[float]] = {name: [] for name in (*cold, *imports)}
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
        # The first round brings the files into memory, and is checked instead of timed.
        for r in range(runs + 1):
            for kind, code in (cold | imports).items():
                elapsed, printed = run(code, folder)
                if r > 0:
                    seconds[kind].append(elapsed)
                elif kind in cold:
                    try:
                        verify.check(expected, np.array(json.loads(printed)))
                    except verify.WrongAnswerError as wrong:
                        result.failures[kind] = str(wrong)
        result.idle_s = float(run(_IDLE, folder)[1])
    medians: dict[str, Any] = {kind: float(np.median(times)) for kind, times in seconds.items()}
    result.cold_s = {kind: medians[kind] for kind in cold if kind not in result.failures}
    result.import_s = medians["import"] - medians["without"]
    return result
