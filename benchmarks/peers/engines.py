"""The forward pass of each library, called as its documentation recommends: NumPy array in, NumPy array out.

ENGINES maps a name to a function of a workload and its layers, which converts the weights once and returns a
function of the number of threads; that one returns an `Engine`. It raises ImportError if the library is not
installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tinyrs
from threadpoolctl import threadpool_limits
from tinyrs import oracle
from tinyrs.oracle import Array, Layer

from peers.workloads import Workload

Active = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run.

    `run` takes (batch, inputs); if `takes_rows`, it takes (inputs,) instead of a batch of one. `active`
    is entered for as long as the engine runs: it sets the number of threads, unless the engine was built
    with it.
    """

    run: Callable[[Array], Array]
    active: Active = nullcontext
    takes_rows: bool = False


Make = Callable[[Workload, Sequence[Layer]], Callable[[int], Engine]]


def tinyrs_engine(
    workload: Workload, layers: Sequence[Layer], weights: str | None = None
) -> Callable[[int], Engine]:
    """The network, with its weights quantized to the format `weights` if given."""
    network = tinyrs.Network.from_parameters(
        layers,
        activation=workload.activation,
        output_activation=workload.output_activation,
        precision=workload.precision,
    )
    if weights is not None:
        network = network.quantize(weights)

    @contextmanager
    def limited(threads: int) -> Iterator[None]:
        before = tinyrs.get_num_threads()
        tinyrs.set_num_threads(threads)
        try:
            yield
        finally:
            tinyrs.set_num_threads(before)

    return lambda threads: Engine(network.forward, partial(limited, threads), takes_rows=True)


def blas_limited(threads: int) -> Active:
    """Limits the BLAS of NumPy and SciPy to `threads` threads."""
    return partial(threadpool_limits, threads, user_api="blas")


def numpy_engine(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    def run(x: Array) -> Array:
        return oracle.forward(
            x, layers, activation=workload.activation, output_activation=workload.output_activation
        )

    return lambda threads: Engine(run, blas_limited(threads), takes_rows=True)


def sklearn_model(workload: Workload, layers: Sequence[Layer]) -> Any:
    """An MLPClassifier with the attributes that `fit` would have set."""
    from sklearn.neural_network import MLPClassifier

    names = {"sigmoid": "logistic", "same": "logistic"}
    model = MLPClassifier(
        workload.sizes[1:-1], activation=names.get(workload.activation, workload.activation)
    )
    model.coefs_ = [np.ascontiguousarray(weight.T) for weight, _ in layers]
    model.intercepts_ = [bias for _, bias in layers]
    model.n_features_in_, model.n_outputs_, model.n_layers_ = (
        workload.sizes[0],
        workload.sizes[-1],
        len(workload.sizes),
    )
    model.out_activation_ = names.get(workload.output_activation, workload.output_activation)
    return model


def sklearn_engine(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    model = sklearn_model(workload, layers)
    return lambda threads: Engine(model.predict_proba, blas_limited(threads))


def onnx_bytes(workload: Workload, layers: Sequence[Layer]) -> bytes:
    """The network as an ONNX model with a fixed batch size."""
    from onnx import TensorProto, helper, numpy_helper

    operators = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softmax": "Softmax"}
    kind = TensorProto.FLOAT if workload.precision == "f32" else TensorProto.DOUBLE
    nodes, initializers, value = [], [], "x"
    for i, (weight, bias) in enumerate(layers):
        initializers += [numpy_helper.from_array(weight, f"W{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        value = f"z{i}"
        name = workload.activation
        if i == len(layers) - 1 and workload.output_activation != "same":
            name = workload.output_activation
        if name != "identity":
            nodes.append(helper.make_node(operators[name], [value], [f"a{i}"]))
            value = f"a{i}"
    x = helper.make_tensor_value_info("x", kind, (workload.batch, workload.sizes[0]))
    y = helper.make_tensor_value_info(value, kind, (workload.batch, workload.sizes[-1]))
    graph = helper.make_graph(nodes, "network", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def onnxruntime_engine(
    workload: Workload, layers: Sequence[Layer], convert: Callable[[bytes], bytes] | None = None
) -> Callable[[int], Engine]:
    """The model, after `convert` if given.

    Binds a row and its result to arrays of ours, which is faster than `run`: 5.4 and 7.5 us per pass
    through 64-128-128-10 (compare.py --only small). `run` takes a batch without copying it.
    """
    import onnxruntime as ort

    model = onnx_bytes(workload, layers)
    if convert is not None:
        model = convert(model)

    def engine(threads: int) -> Engine:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        if workload.batch > 1:
            return Engine(lambda x: session.run(None, {"x": x})[0])
        x_bound = np.empty((1, workload.sizes[0]), workload.dtype)
        y_bound = np.empty((1, workload.sizes[-1]), workload.dtype)
        binding, (output,) = session.io_binding(), session.get_outputs()
        binding.bind_input("x", "cpu", 0, workload.dtype.type, x_bound.shape, x_bound.ctypes.data)
        binding.bind_output(output.name, "cpu", 0, workload.dtype.type, y_bound.shape, y_bound.ctypes.data)

        def run_bound(x: Array) -> Array:
            x_bound[:] = x
            session.run_with_iobinding(binding)
            return y_bound

        return Engine(run_bound)

    return engine


def openvino_engine(
    workload: Workload,
    layers: Sequence[Layer],
    precision: str = "f32",
    convert: Callable[[Any], Any] | None = None,
) -> Callable[[int], Engine]:
    """The model, after `convert` if given, computing in `precision`.

    Reuses one request, and asks for f32: on CPUs with AMX the default is bf16.

    A row is copied into the memory of the request: 14 us per pass through 64-128-128-10, against 18 with
    shared memory (compare.py --only small). A batch is shared.
    """
    import openvino as ov

    core = ov.Core()
    model = core.read_model(onnx_bytes(workload, layers))
    if convert is not None:
        model = convert(model)

    def engine(threads: int) -> Engine:
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        request = core.compile_model(
            model, "CPU", hints | {"INFERENCE_NUM_THREADS": threads}
        ).create_infer_request()
        x_own, y_own = request.get_input_tensor(0).data, request.get_output_tensor(0)

        def run_row(x: Array) -> Array:
            x_own[:] = x
            request.infer()
            return np.asarray(y_own.data)

        def run_batch(x: Array) -> Array:
            request.set_input_tensor(ov.Tensor(x, shared_memory=True))
            request.infer()
            return np.asarray(y_own.data)

        return Engine(run_row if workload.batch == 1 else run_batch)

    return engine


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keeps all threads of this process on one core. Does nothing except on Linux."""
    tasks = Path("/proc/self/task")
    masks = {}
    for task in (int(task.name) for task in tasks.iterdir()) if tasks.exists() else ():
        # The thread may have ended.
        with suppress(ProcessLookupError):
            masks[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, {min(os.sched_getaffinity(os.getpid()))})
    try:
        yield
    finally:
        for task, mask in masks.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, mask)


def jax_engine(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """A jitted function with the weights as an argument, so that they are neither copied nor compiled in.

    The number of threads cannot be set (`xla_cpu_multi_thread_eigen` has no effect in 0.10), so "one thread"
    means all threads on one core.
    """
    import jax

    # Otherwise jax silently computes f64 in f32.
    jax.config.update("jax_enable_x64", workload.precision == "f64")
    functions: dict[str, Callable[[Any], Any]] = {
        "sigmoid": jax.nn.sigmoid,
        "tanh": jax.numpy.tanh,
        "relu": jax.nn.relu,
        "softmax": jax.nn.softmax,
        "identity": lambda z: z,
    }
    activation = functions[workload.activation]
    output = functions.get(workload.output_activation, activation)
    parameters = [(jax.device_put(np.ascontiguousarray(W.T)), jax.device_put(b)) for W, b in layers]

    def network(parameters: Any, x: Any) -> Any:
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        W, b = parameters[-1]
        return output(x @ W + b)

    forward = jax.jit(network)

    def run(x: Array) -> Array:
        # Waits for the result; the array is a view of it.
        return np.asarray(forward(parameters, x))

    return lambda threads: Engine(run, on_one_core if threads == 1 else nullcontext)


def torch_engine(
    workload: Workload, layers: Sequence[Layer], convert: Callable[[Any], Any] | None = None
) -> Callable[[int], Engine]:
    """The module, after `convert` if given, which must return the dtype of the workload."""
    import torch

    functions = {
        "sigmoid": torch.nn.Sigmoid,
        "tanh": torch.nn.Tanh,
        "relu": torch.nn.ReLU,
        "softmax": lambda: torch.nn.Softmax(-1),
        "identity": torch.nn.Identity,
    }
    modules: list[torch.nn.Module] = []
    for weight, bias in layers:
        linear = torch.nn.utils.skip_init(
            torch.nn.Linear, weight.shape[1], weight.shape[0], dtype=torch.from_numpy(bias).dtype
        )
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, functions[workload.activation]()]
    if workload.output_activation != "same":
        modules[-1] = functions[workload.output_activation]()
    model = torch.nn.Sequential(*modules).eval()
    if convert is not None:
        model = convert(model)

    @contextmanager
    def inference(threads: int) -> Iterator[None]:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            yield

    def run(x: Array) -> Array:
        return np.asarray(model(torch.from_numpy(x)))

    return lambda threads: Engine(run, partial(inference, threads))


ENGINES: dict[str, Make] = {
    "tinyrs": tinyrs_engine,
    "numpy": numpy_engine,
    "scikit-learn": sklearn_engine,
    "onnxruntime": onnxruntime_engine,
    "openvino": openvino_engine,
    "jax": jax_engine,
    "PyTorch": torch_engine,
}
