"""ONNX files: `from_onnx` gives a predictor, or a ValueError."""

from __future__ import annotations

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx_graphs import ACTIVATIONS, Builder, layer
from tinyrs import from_onnx

from fuzz.harness import FOLDER, Source, refuses

FILE = FOLDER / "model.onnx"


def graph(activation: str) -> bytes:
    builder = Builder()
    hidden = ACTIVATIONS[activation][1](builder, builder.gemm("x", *layer(4, 5)))
    output = builder.op("Softmax", builder.gemm(hidden, *layer(5, 3)), axis=-1)
    return builder.save(FILE, output).read_bytes()


GRAPHS = [graph(activation) for activation in ACTIVATIONS]
KINDS = (
    *(
        "Gemm",
        "MatMul",
        "Add",
        "Mul",
        "Sub",
        "Div",
        "Pow",
        "Sqrt",
        "Exp",
        "Softmax",
        "Sigmoid",
        "Reshape",
        "Cast",
    ),
    *(
        "Constant",
        "BatchNormalization",
        "Flatten",
        "Concat",
        "ArgMax",
        "ZipMap",
        "Scaler",
        "Identity",
        "Shape",
    ),
)


def mutated(source: Source) -> bytes:
    """One of the graphs with a few changes that keep it a protocol buffer."""
    model = onnx.load_model_from_string(source.pick(GRAPHS))
    for _ in range(1 + source.whole(3)):
        node = source.pick(model.graph.node)
        names = (
            [tensor.name for tensor in model.graph.initializer]
            + [n.output[0] for n in model.graph.node]
            + ["x", ""]
        )
        tensor = source.pick(model.graph.initializer)
        kind = source.whole(8)
        if kind == 0:
            node.op_type = source.pick(KINDS)
        elif kind == 1 and node.input:
            node.input[source.whole(len(node.input) - 1)] = source.pick(names)
        elif kind == 2 and node.input:
            del node.input[-1]
        elif kind == 3:
            node.attribute.append(
                onnx.helper.make_attribute(
                    source.pick(["axis", "alpha", "transA", "transB", "perm", "value", "to"]),
                    source.pick([-1, 0, 7, 2**40, 0.5, float("nan"), [1, 0], "x"]),
                )
            )
        elif kind == 4:
            del tensor.dims[:]
            tensor.dims.extend(source.pick([[], [0], [-1], [2**40, 2**40], [20], [5, 4], [1, 1, 20]]))
        elif kind == 5:
            tensor.data_type = source.whole(30)
        elif kind == 6:
            tensor.raw_data = source.take(source.whole(100))
        elif kind == 7:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(source.real(), dtype="f"), tensor.name))
        else:
            model.graph.node.append(node)
    return bytes(model.SerializeToString())


def seeds() -> dict[str, bytes]:
    return {f"graph-{i}": b"f" + data for i, data in enumerate(GRAPHS)} | {"changes": b"m" + bytes(range(64))}


def one(data: bytes) -> None:
    if data.startswith(b"m"):
        try:
            data = b"f" + mutated(Source(data[1:]))
        except (DecodeError, UnicodeDecodeError):
            return
    FILE.write_bytes(data[1:])
    predictor = refuses(lambda: from_onnx(FILE))
    if predictor is not None:
        refuses(lambda: predictor.predict_proba(np.zeros((2, predictor.network.layer_sizes[0]), np.float32)))
        predictor.to_bytes()
