"""Each library, called as its makers recommend: a NumPy array in, a NumPy array out.

By name, a function that takes the work and its layers, and gives an `Engine` for any number of threads; so
the weights are converted, and where the library allows it held, once. It raises ImportError where the library
is not installed.
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

from peers.workloads import Work

During = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run.

    `run` takes (batch, inputs); where `takes_rows`, (inputs,) instead of a batch of one. `during` holds as
    long as it is this engine's turn: what sets its threads, where that is not done once and for all.
    """

    run: Callable[[Array], Array]
    during: During = nullcontext
    takes_rows: bool = False


Make = Callable[[Work, Sequence[Layer]], Callable[[int], Engine]]


def tinyrs_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    network = tinyrs.Network.from_parameters(
        layers,
        activation=work.activation,
        output_activation=work.output_activation,
        precision=work.precision,
    )

    @contextmanager
    def limited(threads: int) -> Iterator[None]:
        before = tinyrs.get_num_threads()
        tinyrs.set_num_threads(threads)
        try:
            yield
        finally:
            tinyrs.set_num_threads(before)

    return lambda threads: Engine(network.forward, partial(limited, threads), takes_rows=True)


def blas_limited(threads: int) -> During:
    """NumPy's and SciPy's BLAS have that many threads."""
    return partial(threadpool_limits, threads, user_api="blas")


def numpy_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    def run(x: Array) -> Array:
        return oracle.forward(x, layers, activation=work.activation, output_activation=work.output_activation)

    return lambda threads: Engine(run, blas_limited(threads), takes_rows=True)


def sklearn_model(work: Work, layers: Sequence[Layer]) -> Any:
    """MLPClassifier with the attributes that `fit` would have set."""
    from sklearn.neural_network import MLPClassifier

    names = {"sigmoid": "logistic", "same": "logistic"}
    model = MLPClassifier(work.sizes[1:-1], activation=names.get(work.activation, work.activation))
    model.coefs_ = [np.ascontiguousarray(weight.T) for weight, _ in layers]
    model.intercepts_ = [bias for _, bias in layers]
    model.n_features_in_, model.n_outputs_, model.n_layers_ = work.sizes[0], work.sizes[-1], len(work.sizes)
    model.out_activation_ = names.get(work.output_activation, work.output_activation)
    return model


def sklearn_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    model = sklearn_model(work, layers)
    return lambda threads: Engine(model.predict_proba, blas_limited(threads))


def onnx_bytes(work: Work, layers: Sequence[Layer]) -> bytes:
    """The network as ONNX, of a fixed batch."""
    from onnx import TensorProto, helper, numpy_helper

    operators = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softmax": "Softmax"}
    kind = TensorProto.FLOAT if work.precision == "f32" else TensorProto.DOUBLE
    nodes, initializers, value = [], [], "x"
    for i, (weight, bias) in enumerate(layers):
        initializers += [numpy_helper.from_array(weight, f"W{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        value = f"z{i}"
        name = work.activation
        if i == len(layers) - 1 and work.output_activation != "same":
            name = work.output_activation
        if name != "identity":
            nodes.append(helper.make_node(operators[name], [value], [f"a{i}"]))
            value = f"a{i}"
    x = helper.make_tensor_value_info("x", kind, (work.batch, work.sizes[0]))
    y = helper.make_tensor_value_info(value, kind, (work.batch, work.sizes[-1]))
    graph = helper.make_graph(nodes, "network", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def onnxruntime_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """A row and its result are bound to memory of ours: 5.4 us a pass through 64-128-128-10, where `run`,
    which takes a batch without copying it, had 7.5."""
    import onnxruntime as ort

    model = onnx_bytes(work, layers)

    def engine(threads: int) -> Engine:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        if work.batch > 1:
            return Engine(lambda x: session.run(None, {"x": x})[0])
        x_bound = np.empty((1, work.sizes[0]), work.dtype)
        y_bound = np.empty((1, work.sizes[-1]), work.dtype)
        binding, (output,) = session.io_binding(), session.get_outputs()
        binding.bind_input("x", "cpu", 0, work.dtype.type, x_bound.shape, x_bound.ctypes.data)
        binding.bind_output(output.name, "cpu", 0, work.dtype.type, y_bound.shape, y_bound.ctypes.data)

        def run_bound(x: Array) -> Array:
            x_bound[:] = x
            session.run_with_iobinding(binding)
            return y_bound

        return Engine(run_bound)

    return engine


def openvino_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """One request, used again and again. f32 has to be asked for: where there is AMX, bf16 is what one gets.

    Into the request's own memory a row is copied, 14 us a pass through 64-128-128-10, where sharing the row's
    took 18, and `infer(x, share_inputs=True, share_outputs=True)` 23; a batch is shared.
    """
    import openvino as ov

    core = ov.Core()
    model = core.read_model(onnx_bytes(work, layers))

    def engine(threads: int) -> Engine:
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
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

        return Engine(run_row if work.batch == 1 else run_batch)

    return engine


@contextmanager
def on_one_core() -> Iterator[None]:
    """Every thread of this process on one core. Where that cannot be done, all but on Linux, nothing is."""
    tasks = Path("/proc/self/task")
    masks = {}
    for task in (int(task.name) for task in tasks.iterdir()) if tasks.exists() else ():
        # It may have ended meanwhile.
        with suppress(ProcessLookupError):
            masks[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, {min(os.sched_getaffinity(os.getpid()))})
    try:
        yield
    finally:
        for task, mask in masks.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, mask)


def jax_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """Jitted; the weights are an argument, which it neither copies nor compiles in.

    Its threads are those of the process and cannot be set (`xla_cpu_multi_thread_eigen` changed nothing in
    0.10): for one thread, all are on one core.
    """
    import jax

    # Without it f64 would silently be f32.
    jax.config.update("jax_enable_x64", work.precision == "f64")
    functions: dict[str, Callable[[Any], Any]] = {
        "sigmoid": jax.nn.sigmoid,
        "tanh": jax.numpy.tanh,
        "relu": jax.nn.relu,
        "softmax": jax.nn.softmax,
        "identity": lambda z: z,
    }
    activation = functions[work.activation]
    output = functions.get(work.output_activation, activation)
    parameters = [(jax.device_put(np.ascontiguousarray(W.T)), jax.device_put(b)) for W, b in layers]

    def network(parameters: Any, x: Any) -> Any:
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        W, b = parameters[-1]
        return output(x @ W + b)

    forward = jax.jit(network)

    def run(x: Array) -> Array:
        # Waits for the result, and is a view of it.
        return np.asarray(forward(parameters, x))

    return lambda threads: Engine(run, on_one_core if threads == 1 else nullcontext)


def torch_engine(work: Work, layers: Sequence[Layer]) -> Callable[[int], Engine]:
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
        modules += [linear, functions[work.activation]()]
    if work.output_activation != "same":
        modules[-1] = functions[work.output_activation]()
    model = torch.nn.Sequential(*modules).eval()

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
