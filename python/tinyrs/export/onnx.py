"""Exports a predictor as an ONNX graph: preprocessing, network, labels.

The outputs have the names and shapes of skl2onnx, scikit-learn's converter: `label` (rows,) and
`probabilities` (rows, classes); in multilabel models both have the shape (rows, labels). The graph computes
what tinyrs computes but checks nothing: an infinite input is treated as a very large number, and an
overflowing sum is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import build_info
from tinyrs.export.model import Embedding, Layer, Member, Model
from tinyrs.tabular.preprocessor import CategoryColumn

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as missing:
    raise ImportError(f"ONNX needs the package onnx ({missing}): pip install 'tinyrs[onnx]'") from missing

# The oldest operator set that compares strings (19) and has Gelu (20); onnxruntime supports it since 1.17.
OPSET, IR_VERSION = 20, 9
# Scaled numbers are clipped to +-MAX_SCALED, as in feature_encoder.rs.
MAX_SCALED = 1e18
OPERATORS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}
# For float64, onnxruntime lacks the first two, and its Gelu has float32 constants (measured error: 2e-9).
# Their float64 versions are composed of other operators.
OPERATORS_F32 = {"leaky_relu": "LeakyRelu", "selu": "Selu", "gelu": "Gelu"}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Gelu": {"approximate": "tanh"},
    "Softmax": {"axis": 1},
}
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_SCALE, GELU_CUBIC = 1.5957691216057308, 0.044715


class _Graph:
    """A graph under construction. Values are identified by their names, none of which is in `reserved`."""

    def __init__(self, reserved: Sequence[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names = set(reserved)

    def name(self, wanted: str) -> str:
        """A name that no other value has: `wanted`, with underscores appended if necessary."""
        while not wanted or wanted in self.names:
            wanted += "_"
        self.names.add(wanted)
        return wanted

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Adds a constant and returns its name."""
        tensor = numpy_helper.from_array(np.asarray(value, dtype=dtype), self.name("constant"))
        self.constants.append(tensor)
        return str(tensor.name)

    def bfloat16(self, value: npt.NDArray[np.float32]) -> str:
        """Adds a constant of float32 numbers that bfloat16, the upper half of a float32, holds exactly."""
        halves = (value.view(np.uint32) >> 16).astype("<u2")
        name = self.name("constant")
        self.constants.append(
            helper.make_tensor(name, TensorProto.BFLOAT16, value.shape, halves.tobytes(), raw=True)
        )
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node with the operator `kind` and returns the name of its output."""
        output = output or self.name(kind.lower())
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}.{kind}", **attributes))
        return output


class _Columns:
    """The inputs of a graph: one matrix (rows, columns), or one input (rows, 1) for each column."""

    def __init__(self, graph: _Graph, model: Model, text: set[int], matrix: bool) -> None:
        self.graph, self.n_columns, self.matrix = graph, model.n_columns, matrix
        # Preprocessing subtracts the centre of each column in float64.
        number = TensorProto.DOUBLE if model.preprocessor else _type(model)
        if matrix:
            shapes = {"X": (number, model.n_columns)}
        else:
            names = [model.column_name(i) for i in range(model.n_columns)]
            types = [TensorProto.STRING if i in text else number for i in range(model.n_columns)]
            shapes = {name: (kind, 1) for name, kind in zip(names, types, strict=True)}
        self.values = {graph.name(name): shape for name, shape in shapes.items()}
        times = model.times()
        if matrix:
            docs = ["; ".join(f"column {i}: {times[i]}" for i in sorted(times))]
        else:
            docs = [times.get(i, "") for i in range(model.n_columns)]
        self.inputs = [
            helper.make_tensor_value_info(name, kind, ["rows", width], doc_string=doc)
            for (name, (kind, width)), doc in zip(self.values.items(), docs, strict=True)
        ]

    def take(self, columns: Sequence[int]) -> str:
        """The name of a value (rows, columns) that holds these columns, which have the same type."""
        names = list(self.values)
        if self.matrix:
            if list(columns) == list(range(self.n_columns)):
                return names[0]
            return self.graph.op("Gather", names[0], self.graph.constant(columns, np.int64), axis=1)
        chosen = [names[column] for column in columns]
        return chosen[0] if len(chosen) == 1 else self.graph.op("Concat", *chosen, axis=1)


def to_bytes(model: Model, inputs: str = "auto") -> bytes:
    """The bytes of an ONNX file; `inputs` as for `Predictor.to_onnx`."""
    if inputs not in ("auto", "matrix", "columns"):
        raise ValueError(f"inputs: expected 'auto', 'matrix' or 'columns', got {inputs!r}")
    for category in model.categories:
        if category.buckets:
            raise model.error(
                category.column,
                f"expected at most {len(category.names)} categories in an ONNX export, got more: ONNX has no "
                "checksum to tell the rarer ones apart. Merge them before fit, or use to_c",
            )
    text = {category.column for category in model.categories if model.is_text(category)}
    if inputs == "matrix" and text:
        raise model.error(min(text), "expected numbers for inputs='matrix', got strings: use 'columns'")
    graph = _Graph(["label", "probabilities"])
    columns = _Columns(graph, model, text, matrix=inputs == "matrix" or (inputs == "auto" and not text))
    x = _features(graph, model, columns)
    outputs_of = [_network(graph, member, x, model.dtype) for member in model.members()]
    if len(outputs_of) > 1:
        # Not Mean, which onnxruntime lacks for float64.
        count = graph.constant(len(outputs_of), model.dtype)
        graph.op("Div", graph.op("Sum", *outputs_of), count, output="probabilities")
    else:
        graph.op("Identity", outputs_of[0], output="probabilities")
    label_type, label_shape = _label(graph, model)
    outputs = [
        helper.make_tensor_value_info("label", label_type, label_shape),
        helper.make_tensor_value_info("probabilities", _type(model), ["rows", len(model.classes)]),
    ]
    built = helper.make_model(
        helper.make_graph(graph.nodes, "tinyrs", columns.inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinyrs",
        producer_version=build_info()["version"],
    )
    return bytes(built.SerializeToString(deterministic=True))


def _type(model: Model) -> int:
    """The ONNX element type of the network's precision."""
    return int(TensorProto.FLOAT if model.dtype == np.float32 else TensorProto.DOUBLE)


def _features(graph: _Graph, model: Model, columns: _Columns) -> str:
    """The features (rows, features) as `FeatureEncoder` computes them, in the network's precision."""
    if model.preprocessor is None:
        return columns.take(range(model.n_columns))
    blocks = []
    numbers = [number for number in model.preprocessor.numbers if number.scale > 0]
    if numbers:
        x = columns.take([number.column for number in numbers])
        centre = graph.constant([number.centre for number in numbers], np.float64)
        scale = graph.constant([number.scale for number in numbers], np.float64)
        # A missing number is replaced by the median.
        x = graph.op("Where", graph.op("IsNaN", x), centre, x)
        z = graph.op("Mul", graph.op("Sub", x, centre), scale)
        z = graph.op(
            "Clip", z, graph.constant(-MAX_SCALED, np.float64), graph.constant(MAX_SCALED, np.float64)
        )
        third = graph.op("Div", z, graph.constant(3, np.float64))
        root = graph.op("Add", graph.op("Mul", third, third), graph.constant(1, np.float64))
        blocks.append(graph.op("Div", z, graph.op("Sqrt", root)))
    flagged = [number.column for number in model.preprocessor.numbers if number.missing_indicator]
    if flagged:
        blocks.append(graph.op("IsNaN", columns.take(flagged)))
    blocks += [_one_hot(graph, model, columns, category) for category in model.categories if category.n_codes]
    if not blocks:
        # No column varies: the only feature is 0. It is computed from a column to have the same rows.
        first = columns.take([0])
        same = graph.op("Equal", first, first)
        blocks.append(graph.op("And", same, graph.op("Not", same)))
    blocks = [graph.op("Cast", block, to=_type(model)) for block in blocks]
    return blocks[0] if len(blocks) == 1 else graph.op("Concat", *blocks, axis=1)


def _one_hot(graph: _Graph, model: Model, columns: _Columns, category: CategoryColumn) -> str:
    """Whether a row has each category of a column: (rows, codes)."""
    keys, x = model.keys(category), columns.take([category.column])
    if model.is_text(category):
        return graph.op("Equal", x, graph.constant([["" if key is None else key for key in keys]], object))
    numbers = [[np.nan if key is None else key for key in keys]]
    known = graph.op("Equal", x, graph.constant(numbers, np.float64))
    if None not in keys:
        return known
    missing = graph.constant([[key is None for key in keys]], np.bool_)
    return graph.op("Or", known, graph.op("And", graph.op("IsNaN", x), missing))


def _network(graph: _Graph, member: Member, x: str, dtype: np.dtype[np.floating[Any]]) -> str:
    """The outputs (rows, classes) of a network for x (rows, features)."""
    if member.embedding is not None:
        x = _embed(graph, member.embedding, x, dtype)
    for layer in member.layers:
        x = _dense(graph, layer, x, dtype)
        x = _activate(graph, x, layer.activation, dtype)
        if layer.scale != 1:
            x = graph.op("Mul", x, graph.constant(layer.scale, dtype))
    return x


def _embed(graph: _Graph, embedding: Embedding, x: str, dtype: np.dtype[np.floating[Any]]) -> str:
    """The features x (rows, features), and after them what the embedding appends."""
    numbers = [graph.constant([value], np.int64) for value in (0, embedding.n_inputs, 1)]
    last = graph.constant([2], np.int64)
    turns = graph.op("Unsqueeze", graph.op("Slice", x, *numbers), last)
    turns = graph.op("Mul", turns, graph.constant(embedding.w1, dtype))
    turns = graph.op("Add", turns, graph.constant(embedding.b1, dtype))
    # Without whole turns, the product with 2 pi is as accurate as for small numbers.
    turns = graph.op("Sub", turns, graph.op("Round", turns))
    cosines = graph.op("Cos", graph.op("Mul", turns, graph.constant(2 * np.pi, dtype)))
    # A product (1, 16) x (16, 3) for each row and number.
    cosines = graph.op("Unsqueeze", cosines, last)
    sums = graph.op("MatMul", cosines, graph.constant(embedding.w2.transpose(0, 2, 1), dtype))
    sums = graph.op("Reshape", sums, graph.constant([-1, embedding.n_added], np.int64))
    sums = graph.op("Add", sums, graph.constant(embedding.b2.ravel(), dtype))
    return graph.op("Concat", x, sums, axis=1)


def _dense(graph: _Graph, layer: Layer, x: str, dtype: np.dtype[np.floating[Any]]) -> str:
    """W x + b, (rows, outputs), for x (rows, inputs). The weights have the size that they have in tinyrs."""
    if layer.format == "int8":
        return _dense_int8(graph, layer, x)
    bias = graph.constant(layer.bias, dtype)
    if layer.format == "int8_weights":
        assert layer.weight_scale is not None
        integers, scale = graph.constant(layer.weight, np.int8), graph.constant(layer.weight_scale, dtype)
        weight = graph.op("DequantizeLinear", integers, scale, axis=0)
    elif layer.format == "f16":
        weight = graph.op("Cast", graph.constant(layer.weight, np.float16), to=TensorProto.FLOAT)
    elif layer.format == "bf16":
        weight = graph.op("Cast", graph.bfloat16(layer.weight), to=TensorProto.FLOAT)
        x = graph.op("Cast", graph.op("Cast", x, to=TensorProto.BFLOAT16), to=TensorProto.FLOAT)
    else:
        weight = graph.constant(layer.weight, dtype)
    return graph.op("Gemm", x, weight, bias, transB=1)


def _dense_int8(graph: _Graph, layer: Layer, x: str) -> str:
    """W x + b with x turned into integers by a scale for each row, and exact sums of integers.

    Not DynamicQuantizeLinear, which has one scale for all rows: a row's outputs would depend on the others.
    """
    f32 = np.float32
    largest = graph.constant(127, f32)
    scale = graph.op("ReduceMax", graph.op("Abs", x), graph.constant([1], np.int64), keepdims=1)
    scale = graph.op("Div", scale, largest)
    # For a row of zeros, any scale gives integers and sums of 0.
    is_zero = graph.op("Equal", scale, graph.constant(0, f32))
    scale = graph.op("Where", is_zero, graph.constant(1, f32), scale)
    rounded = graph.op("Round", graph.op("Div", x, scale))
    integers = graph.op("Clip", rounded, graph.constant(-127, f32), largest)
    integers = graph.op("Cast", integers, to=TensorProto.INT8)
    sums = graph.op("MatMulInteger", integers, graph.constant(layer.weight.T, np.int8))
    # The outer product of the scales as MatMul: with Mul, onnxruntime 1.32 fuses all from MatMulInteger on to
    # an operator that takes the scale of the first row for all rows.
    assert layer.weight_scale is not None
    factors = graph.op("MatMul", scale, graph.constant(layer.weight_scale[None], f32))
    product = graph.op("Mul", graph.op("Cast", sums, to=TensorProto.FLOAT), factors)
    return graph.op("Add", product, graph.constant(layer.bias, f32))


def _activate(graph: _Graph, z: str, activation: str, dtype: np.dtype[np.floating[Any]]) -> str:
    """activation(z), of the shape of z."""
    operator = OPERATORS.get(activation) or (OPERATORS_F32.get(activation) if dtype == np.float32 else None)
    if operator is not None:
        return graph.op(operator, z, **ATTRIBUTES.get(operator, {}))
    if activation == "leaky_relu":
        return graph.op("Max", z, graph.op("Mul", z, graph.constant(0.01, dtype)))
    if activation == "selu":
        zero, one = graph.constant(0, dtype), graph.constant(1, dtype)
        below = graph.op("Sub", graph.op("Exp", graph.op("Min", z, zero)), one)
        below = graph.op("Mul", below, graph.constant(SELU_SCALE * SELU_ALPHA, dtype))
        above = graph.op("Mul", z, graph.constant(SELU_SCALE, dtype))
        return graph.op("Where", graph.op("Greater", z, zero), above, below)
    if activation == "gelu":
        inner = graph.op("Mul", graph.op("Mul", z, z), graph.constant(GELU_SCALE * GELU_CUBIC, dtype))
        inner = graph.op("Add", inner, graph.constant(GELU_SCALE, dtype))
        return graph.op("Mul", z, graph.op("Sigmoid", graph.op("Mul", z, inner)))
    if activation == "silu":
        # Not z * Sigmoid(z), which onnxruntime 1.20 fuses to an operator that it has for float32 only.
        below = graph.op("Add", graph.op("Exp", graph.op("Neg", z)), graph.constant(1, dtype))
        return graph.op("Div", z, below)
    assert activation == "identity", activation
    return z


def _label(graph: _Graph, model: Model) -> tuple[int, list[str | int]]:
    """Adds the output `label` and returns its element type and shape."""
    if model.multilabel:
        likely = graph.op("Greater", "probabilities", graph.constant(0.5, model.dtype))
        graph.op("Cast", likely, output="label", to=TensorProto.INT64)
        return TensorProto.INT64, ["rows", len(model.classes)]
    labels = model.labels()
    kind = {str: object, int: np.int64, float: np.float64}[type(labels[0])]
    try:
        classes = graph.constant(labels, kind)
    except OverflowError:
        raise ValueError(f"classes: expected 64-bit integers in an ONNX export, got {max(labels)}") from None
    best = graph.op("ArgMax", "probabilities", axis=1, keepdims=0)
    graph.op("Gather", classes, best, output="label", axis=0)
    types = {str: TensorProto.STRING, int: TensorProto.INT64, float: TensorProto.DOUBLE}
    return types[type(labels[0])], ["rows"]
