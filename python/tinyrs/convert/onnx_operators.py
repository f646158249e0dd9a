"""Interprets the operators of an ONNX graph: the meaning of a node's output, from that of its inputs.

A value in the graph means one of

    Constant        an array from the file
    PartialNetwork  logits, or the input after a scaler, or the output of a layer
    Elementwise     a function of each element of a PartialNetwork
    Probabilities   softmax or sigmoid of a PartialNetwork; NamedProbabilities, together with class labels
    Label           the most probable class

An activation is recognised by its values, not by its operators, because exporters compose gelu and silu in
many ways: an `Elementwise` holds its function's values on a grid, which are compared with those of the
activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from tinyrs.convert.elementwise import FUNCTIONS, GRID, name_of
from tinyrs.convert.partial_network import Array, PartialNetwork
from tinyrs.files.class_labels import label_array

Attributes = dict[str, Any]
LINEAR = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, eq=False)
class Constant:
    array: Array


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A function f of each element of `source`.

    Attributes
    ----------
    source : PartialNetwork
    on_grid : array
        f(GRID).
    linear : (a, b) or None
        If f(x) is known to be a x + b.
    node : str
        The node that computed it, for error messages.
    """

    source: PartialNetwork
    on_grid: Array
    linear: tuple[float, float] | None
    node: str


@dataclass(frozen=True)
class Probabilities:
    """The output activation `kind` of `logits`.

    `kind` is "softmax" or "sigmoid"; or "pair", the columns 1 - p and p of the sigmoid p of a single logit.
    """

    logits: PartialNetwork
    kind: str


@dataclass(frozen=True, eq=False)
class Label:
    """The most probable class: its index, or its label if there are `classes`."""

    probabilities: Probabilities
    classes: Array | None = None


@dataclass(frozen=True, eq=False)
class NamedProbabilities:
    """Probabilities together with the class labels: the output of a ZipMap."""

    probabilities: Probabilities
    classes: Array


Value = Constant | PartialNetwork | Elementwise | Probabilities | Label | NamedProbabilities


def arrays_of(value: Value) -> list[Array]:
    """The arrays in a value, without those of all layers but the last: other values hold them too."""
    if isinstance(value, Constant):
        return [value.array]
    if isinstance(value, PartialNetwork):
        last = [array for layer in value.layers[-1:] for array in (layer.weight, layer.bias)]
        own = (value.weight, value.scale, value.shift)
        return last + [array for array in own if isinstance(array, np.ndarray)]
    if isinstance(value, Elementwise):
        return [value.on_grid, *arrays_of(value.source)]
    if isinstance(value, Probabilities):
        return arrays_of(value.logits)
    return arrays_of(value.probabilities) + ([] if value.classes is None else [value.classes])


def refuse(what: str, message: str) -> NoReturn:
    """Raises the ValueError for a part of the graph that is not as expected."""
    raise ValueError(f"ONNX model: {what}: {message}")


def interpret(node: str, domain: str, kind: str, inputs: list[Value], attributes: Attributes) -> Value:
    """The output of the operator `kind`; `node` describes the node in error messages."""
    operator = OPERATORS.get((domain, kind))
    if operator is not None:
        return operator(inputs, attributes)
    if kind in FUNCTIONS and domain in ("", "ai.onnx.ml"):
        return _elementwise(node, kind, inputs, attributes)
    refuse(node, "expected an operator of a network of dense layers, got another one")


def network_end(value: Value) -> Probabilities | PartialNetwork:
    """The probabilities or logits in an output of the graph."""
    if isinstance(value, Elementwise) and value.linear is None:
        name = name_of(value.on_grid)
        if name != "sigmoid":
            refuse(value.node, f"expected softmax or sigmoid at the end, got {name or 'another function'}")
        return Probabilities(value.source, "sigmoid")
    if isinstance(value, Probabilities):
        return value
    return _layer_input(value)


def _layer_input(value: Value) -> PartialNetwork:
    """The network up to `value`, to which a layer can be added."""
    if isinstance(value, PartialNetwork):
        return value
    if not isinstance(value, Elementwise):
        raise ValueError(f"expected the output of a layer, got {type(value).__name__}")
    if value.linear is not None:
        return value.source.affine(*value.linear)
    name = name_of(value.on_grid)
    if name in (None, "step"):
        refuse(value.node, "expected an activation that tinyrs has, got another function")
    return value.source.activation(name)


def _constant(value: Value, what: str) -> Array:
    if not isinstance(value, Constant):
        raise ValueError(f"expected a constant as {what}, got {type(value).__name__}")
    return value.array


def _vector(array: Array) -> Array:
    """An array of shape (n,), (1, n) or () as float64 of shape (n,)."""
    if array.size != (array.shape[-1] if array.ndim else 1) or array.dtype.kind not in "fiu":
        raise ValueError(f"expected one number per column, got {array.dtype} of shape {array.shape}")
    return array.reshape(-1).astype(np.float64)


def _attribute(attributes: Attributes, name: str, default: Any, *allowed: Any) -> Any:
    """The attribute of a node; ValueError if it is not one of `allowed`."""
    value = attributes.get(name, default)
    if allowed and value not in allowed:
        raise ValueError(f"expected {name}={allowed[0]}, got {value}")
    return value


def _elementwise(node: str, kind: str, inputs: list[Value], attributes: Attributes) -> Value:
    """The output of an elementwise operator: `Elementwise`, or affine if the constant differs by column."""
    constants = [value.array for value in inputs if isinstance(value, Constant)]
    others = [value for value in inputs if not isinstance(value, Constant)]
    is_linear = kind in LINEAR and len(others) == 1 == len(constants)
    constant_first = isinstance(inputs[0], Constant)
    if is_linear and (
        constants[0].size > 1 or (isinstance(others[0], PartialNetwork) and others[0].width == 1)
    ):
        return _layer_input(others[0]).affine(*_scale_and_shift(kind, _vector(constants[0]), constant_first))
    if any(array.size != 1 for array in constants):
        raise ValueError("expected a number, got an array")
    numbers = [
        float(value.array.reshape(())) if isinstance(value, Constant) else _on_grid(value) for value in inputs
    ]
    with np.errstate(all="ignore"):
        found = np.asarray(FUNCTIONS[kind](*numbers, **attributes))
    if not others:
        return Constant(found)
    sources = {id(source): source for source in map(_source, others)}
    if len(sources) > 1:
        raise ValueError("expected the output of one layer, got those of two")
    linear = others[0].linear if isinstance(others[0], Elementwise) else (1.0, 0.0)
    if not is_linear or linear is None or (kind == "Div" and constant_first):
        linear = None
    else:
        scale, shift = _scale_and_shift(kind, float(_vector(constants[0])[0]), constant_first)
        linear = (float(linear[0] * scale), float(linear[1] * scale + shift))
    return Elementwise(next(iter(sources.values())), found, linear, node)


def _scale_and_shift(
    kind: str, number: Array | float, number_first: bool
) -> tuple[Array | float, Array | float]:
    """(a, b) with a x + b = `x kind number`, or `number kind x` if `number_first`."""
    if kind == "Add":
        return 1.0, number
    if kind == "Sub":
        return (-1.0, number) if number_first else (1.0, -number)
    if kind == "Mul":
        return number, 0.0
    if number_first:
        raise ValueError("expected a division by a constant, got one by the output of a layer")
    with np.errstate(divide="ignore"):
        return np.divide(1, number), 0.0


def _source(value: Value) -> PartialNetwork:
    """The network whose elements `value` is a function of."""
    if isinstance(value, PartialNetwork):
        return value
    if isinstance(value, Elementwise):
        return value.source
    raise ValueError(f"expected the output of a layer, got {type(value).__name__}")


def _on_grid(value: Value) -> Array:
    return value.on_grid if isinstance(value, Elementwise) else GRID


# Other operators. Each takes its inputs and attributes, and returns its output.


def _gemm(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "transA", 0, 0)
    weight = _constant(inputs[1], "weights")
    weight = weight if _attribute(attributes, "transB", 0, 0, 1) else weight.T
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    bias = _vector(_constant(inputs[2], "biases")) * beta if len(inputs) > 2 else 0.0
    return _layer_input(inputs[0]).linear(weight if alpha == 1 else weight * alpha, bias)


def _matmul(inputs: list[Value], attributes: Attributes) -> Value:
    return _layer_input(inputs[0]).linear(_constant(inputs[1], "weights").T)


def _scaler(inputs: list[Value], attributes: Attributes) -> Value:
    scale = np.asarray(attributes.get("scale", [1.0]), dtype=np.float64)
    return _layer_input(inputs[0]).affine(scale, -np.asarray(attributes.get("offset", [0.0])) * scale)


def _batch_normalization(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "training_mode", 0, 0)
    names = ("scale", "shift", "mean", "variance")
    scale, shift, mean, variance = (
        _vector(_constant(value, name)) for value, name in zip(inputs[1:], names, strict=True)
    )
    return _layer_input(inputs[0]).batch_norm(mean, variance, attributes.get("epsilon", 1e-5), scale, shift)


def _identity(inputs: list[Value], attributes: Attributes) -> Value:
    return inputs[0]


def _cast(inputs: list[Value], attributes: Attributes) -> Value:
    to, value = np.dtype(attributes["to"]), inputs[0]
    step = isinstance(value, Elementwise) and name_of(value.on_grid) == "step"
    if isinstance(value, Constant):
        return Constant(value.array.astype(to))
    if to not in (np.float32, np.float64) and not isinstance(value, Label) and not step:
        raise ValueError(f"expected a cast to float32 or float64, got {to}")
    return value


def _flatten(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "axis", 1, 1)
    return _flat(inputs[0])


def _reshape(inputs: list[Value], attributes: Attributes) -> Value:
    shape = _constant(inputs[1], "shape").tolist()
    if isinstance(inputs[0], Label):
        return inputs[0]
    # Shapes that keep the rows: (-1, width), (0, width) and (0, -1).
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] not in (-1, 0) or shape == [-1, -1]:
        raise ValueError(f"expected the shape (rows, columns), got {shape}")
    value, width = _flat(inputs[0]), None if shape[1] == -1 else int(shape[1])
    if width is not None and _source(value).width not in (None, width):
        raise ValueError(f"expected {_source(value).width} columns, got {width}")
    return replace(value, width=width) if isinstance(value, PartialNetwork) and value.width is None else value


def _flat(value: Value) -> Value:
    return replace(value, is_flat=True) if isinstance(value, PartialNetwork) else value


def _transpose(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "perm", [1, 0], [1, 0])
    return Constant(_constant(inputs[0], "weights").T)


def _softmax(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "axis", -1, -1, 1)
    return Probabilities(_layer_input(inputs[0]), "softmax")


def _concat(inputs: list[Value], attributes: Attributes) -> Value:
    """The columns 1 - p and p of a sigmoid p."""
    _attribute(attributes, "axis", 1, 1, -1)
    if len(inputs) == 2 and all(isinstance(value, Elementwise) for value in inputs):
        other, p = inputs
        assert isinstance(other, Elementwise)
        assert isinstance(p, Elementwise)
        if (
            p.source is other.source
            and name_of(p.on_grid) == "sigmoid" == name_of(1 - other.on_grid)
            and p.source.width == 1
        ):
            return Probabilities(p.source, "pair")
    raise ValueError("expected 1 - p and p of a single sigmoid p, got other values")


def _argmax(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "axis", 0, 1, -1)
    end = network_end(inputs[0])
    if isinstance(end, PartialNetwork):
        raise ValueError("expected probabilities, got logits")
    return Label(end)


def _gather(inputs: list[Value], attributes: Attributes) -> Value:
    """The label of the most probable class, from its index."""
    classes, index = inputs
    if not isinstance(index, Label) or index.classes is not None:
        raise ValueError("expected the index of the most probable class, got another value")
    return Label(index.probabilities, _labels(_constant(classes, "classes").reshape(-1).tolist()))


def _zipmap(inputs: list[Value], attributes: Attributes) -> Value:
    classes = [*attributes.get("classlabels_strings", []), *attributes.get("classlabels_int64s", [])]
    end = network_end(inputs[0])
    if isinstance(end, PartialNetwork):
        raise ValueError("expected probabilities, got logits")
    return NamedProbabilities(end, _labels(classes))


def _labels(values: list[Any]) -> Array:
    return label_array([value.decode() if isinstance(value, bytes) else value for value in values])


OPERATORS: dict[tuple[str, str], Callable[[list[Value], Attributes], Value]] = {
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    ("ai.onnx.ml", "Scaler"): _scaler,
    ("", "BatchNormalization"): _batch_normalization,
    ("", "Identity"): _identity,
    ("", "Dropout"): lambda inputs, attributes: inputs[0],
    ("", "Cast"): _cast,
    ("", "CastLike"): _identity,
    ("", "Flatten"): _flatten,
    ("", "Reshape"): _reshape,
    ("", "Transpose"): _transpose,
    ("", "Softmax"): _softmax,
    # The logarithms of the same probabilities.
    ("", "LogSoftmax"): _softmax,
    ("", "Concat"): _concat,
    ("", "ArgMax"): _argmax,
    ("", "Gather"): _gather,
    ("ai.onnx.ml", "ArrayFeatureExtractor"): _gather,
    ("ai.onnx.ml", "ZipMap"): _zipmap,
}
