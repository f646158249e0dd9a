"""ONNX graphs as other exporters write them, node by node, for the tests of `from_onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)


def answer(path: Path, data: Array) -> list[Any]:
    """The outputs of the model in onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: data}))


def layer(n_in: int, n_out: int, dtype: Any = np.float32) -> tuple[Array, Array]:
    """Random weights (outputs, inputs) and biases (outputs,)."""
    return RNG.normal(size=(n_out, n_in)).astype(dtype), RNG.normal(size=n_out).astype(dtype)


class Builder:
    """Builds a graph with one input `x`, by default of shape (rows, 4)."""

    def __init__(self, dtype: Any = np.float32) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.dtype = np.dtype(dtype)

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value, dtype=dtype or self.dtype), name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        name = f"/{len(self.nodes)}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, domain=domain, **attributes))
        return output

    def gemm(self, x: str, weight: Array, bias: Array) -> str:
        return self.op("Gemm", x, self.constant(weight), self.constant(bias), alpha=1.0, beta=1.0, transB=1)

    def save(self, path: Path, *outputs: str, shape: Any = ("batch", 4), opset: int = 18) -> Path:
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "main_graph",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(output, kind, ["batch", "n"]) for output in outputs],
            self.tensors,
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
        return path


def gelu_of_torchscript(g: Builder, x: str) -> str:
    """torch.onnx before opset 20: half * (x * (one + tanh(beta * (x + kappa * x^3))))."""
    cube = g.op("Mul", x, g.op("Mul", x, x))
    inner = g.op("Add", x, g.op("Mul", g.constant(0.044715), cube))
    tanh = g.op("Tanh", g.op("Mul", g.constant(0.7978845608028654), inner))
    return g.op("Mul", g.constant(0.5), g.op("Mul", x, g.op("Add", g.constant(1), tanh)))


def gelu_of_dynamo(g: Builder, x: str) -> str:
    """torch.onnx with dynamo before opset 20: the constants are computed in the graph."""
    inner = g.op("Add", x, g.op("Mul", g.constant(0.044715), g.op("Pow", x, g.constant(3))))
    two_over_pi = g.op("CastLike", g.op("Div", g.constant(2), g.constant(np.pi)), x)
    tanh = g.op("Tanh", g.op("Mul", g.op("Sqrt", two_over_pi), inner))
    return g.op("Mul", x, g.op("Mul", g.constant(0.5), g.op("Add", tanh, g.constant(1))))


def gelu_of_keras(g: Builder, x: str) -> str:
    """(0.5 * x) * (1 + tanh(...))."""
    cube = g.op("Mul", g.constant(0.044715), g.op("Pow", x, g.constant(3)))
    tanh = g.op("Tanh", g.op("Mul", g.constant(0.7978845834732056), g.op("Add", x, cube)))
    return g.op("Mul", g.op("Mul", x, g.constant(0.5)), g.op("Add", g.constant(1), tanh))


ACTIVATIONS: dict[str, tuple[str, Any]] = {
    "Relu": ("relu", lambda g, x: g.op("Relu", x)),
    "Tanh": ("tanh", lambda g, x: g.op("Tanh", x)),
    "Sigmoid": ("sigmoid", lambda g, x: g.op("Sigmoid", x)),
    "LeakyRelu": ("leaky_relu", lambda g, x: g.op("LeakyRelu", x, alpha=0.009999999776482582)),
    "Selu": (
        "selu",
        lambda g, x: g.op("Selu", x, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    ),
    "Selu by default": ("selu", lambda g, x: g.op("Selu", x)),
    "Gelu": ("gelu", lambda g, x: g.op("Gelu", x, approximate="tanh")),
    "gelu of TorchScript": ("gelu", gelu_of_torchscript),
    "gelu of dynamo": ("gelu", gelu_of_dynamo),
    "gelu of Keras": ("gelu", gelu_of_keras),
    "silu": ("silu", lambda g, x: g.op("Mul", x, g.op("Sigmoid", x))),
    "silu the other way round": ("silu", lambda g, x: g.op("Mul", g.op("Sigmoid", x), x)),
    "nothing": ("identity", lambda g, x: g.op("Identity", x)),
}
