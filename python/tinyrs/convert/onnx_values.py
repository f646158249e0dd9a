"""What the values of an ONNX graph stand for, and what its operations make of them.

A graph is followed from its input to its outputs, and every value on the way is understood as one of

    Constant   an array from the file
    Values     sums of weights, or what a scaler makes of the input
    Pointwise  a function of each of such values
    Output     probabilities; Named, if their classes have names
    Label      the class that they tell

An activation is recognised by what it does, not by how it is written: exporters put gelu and silu together in
many ways, so each function is computed on a grid of numbers and compared with ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from tinyrs.convert.chain import Array, Values
from tinyrs.convert.pointwise import FUNCTIONS, GRID, name_of

Attributes = dict[str, Any]
LINEAR = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, eq=False)
class Constant:
    array: Array


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A function of `of`: its values on GRID. If it is a x + b, `linear` is (a, b)."""

    of: Values
    on_grid: Array
    linear: tuple[float, float] | None
    node: str  # that computed it


@dataclass(frozen=True)
class Output:
    """Softmax or sigmoid of these values; or "pair", the probabilities of two classes from the one value."""

    of: Values
    kind: str


@dataclass(frozen=True, eq=False)
class Label:
    """The most probable class: its place, or its name."""

    of: Output
    classes: Array | None = None


@dataclass(frozen=True, eq=False)
class Named:
    """Probabilities with the names of their classes, a ZipMap."""

    of: Output
    classes: Array


Value = Constant | Values | Pointwise | Output | Label | Named


def refuse(what: str, message: str) -> NoReturn:
    raise ValueError(f"ONNX model: {what}: {message}")


def result(where: str, domain: str, kind: str, inputs: list[Value], attributes: Attributes) -> Value:
    """What an operation makes of its inputs."""
    operation = OPERATIONS.get((domain, kind))
    if operation is not None:
        return operation(inputs, attributes)
    if kind in FUNCTIONS and domain in ("", "ai.onnx.ml"):
        return _pointwise(where, kind, inputs, attributes)
    refuse(where, "expected what a network of dense layers is made of, got another operation")


def end_of(value: Value) -> Output | Values:
    """What a value is at the end of a network."""
    if isinstance(value, Pointwise) and value.linear is None:
        name = name_of(value.on_grid)
        if name != "sigmoid":
            refuse(value.node, f"expected softmax or sigmoid at the end, got {name or 'something else'}")
        return Output(value.of, "sigmoid")
    if isinstance(value, Output):
        return value
    return _sums(value)


def _sums(value: Value) -> Values:
    """A value as what a layer of weights can take."""
    if isinstance(value, Values):
        return value
    if not isinstance(value, Pointwise):
        raise ValueError(f"expected values of a layer, got {type(value).__name__}")
    if value.linear is not None:
        return value.of.affine(*value.linear)
    name = name_of(value.on_grid)
    if name in (None, "step"):
        refuse(value.node, "expected an activation that tinyrs has, got another function")
    return value.of.activation(name)


def _constant(value: Value, what: str) -> Array:
    if not isinstance(value, Constant):
        raise ValueError(f"expected a constant as {what}, got {type(value).__name__}")
    return value.array


def _vector(array: Array) -> Array:
    """(n,), (1, n) or a number, as (n,)."""
    if array.size != (array.shape[-1] if array.ndim else 1) or array.dtype.kind not in "fiu":
        raise ValueError(f"expected a number for each column, got {array.dtype} of shape {array.shape}")
    return array.reshape(-1).astype(np.float64)


def _attribute(attributes: Attributes, name: str, default: Any, *allowed: Any) -> Any:
    value = attributes.get(name, default)
    if allowed and value not in allowed:
        raise ValueError(f"expected {name}={allowed[0]}, got {value}")
    return value


def _pointwise(where: str, kind: str, inputs: list[Value], attributes: Attributes) -> Value:
    """A function of single numbers; or one for each column, if it is a x + b."""
    constants = [value.array for value in inputs if isinstance(value, Constant)]
    others = [value for value in inputs if not isinstance(value, Constant)]
    straight = kind in LINEAR and len(others) == 1 == len(constants)
    first = isinstance(inputs[0], Constant)
    if straight and (constants[0].size > 1 or (isinstance(others[0], Values) and others[0].width == 1)):
        return _sums(others[0]).affine(*_linear(kind, _vector(constants[0]), first))
    if any(array.size != 1 for array in constants):
        raise ValueError("expected a number, got an array")
    numbers = [
        float(value.array.reshape(())) if isinstance(value, Constant) else _on_grid(value) for value in inputs
    ]
    with np.errstate(all="ignore"):
        found = np.asarray(FUNCTIONS[kind](*numbers, **attributes))
    if not others:
        return Constant(found)
    of = {id(base): base for base in map(_base, others)}
    if len(of) > 1:
        raise ValueError("expected values of one layer, got values of two")
    linear = others[0].linear if isinstance(others[0], Pointwise) else (1.0, 0.0)
    if not straight or linear is None or (kind == "Div" and first):
        linear = None
    else:
        scale, shift = _linear(kind, float(_vector(constants[0])[0]), first)
        linear = (float(linear[0] * scale), float(linear[1] * scale + shift))
    return Pointwise(next(iter(of.values())), found, linear, where)


def _linear(kind: str, number: Array | float, first: bool) -> tuple[Array | float, Array | float]:
    """`value kind number`, or the other way round if the number is first, as scale and shift."""
    if kind == "Add":
        return 1.0, number
    if kind == "Sub":
        return (-1.0, number) if first else (1.0, -number)
    if kind == "Mul":
        return number, 0.0
    if first:
        raise ValueError("expected a division by numbers, got one by values")
    with np.errstate(divide="ignore"):
        return np.divide(1, number), 0.0


def _base(value: Value) -> Values:
    if isinstance(value, Values):
        return value
    if isinstance(value, Pointwise):
        return value.of
    raise ValueError(f"expected values of a layer, got {type(value).__name__}")


def _on_grid(value: Value) -> Array:
    return value.on_grid if isinstance(value, Pointwise) else GRID


# Operations on whole values.


def _gemm(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "transA", 0, 0)
    weight = _constant(inputs[1], "weights")
    weight = weight if _attribute(attributes, "transB", 0, 0, 1) else weight.T
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    bias = _vector(_constant(inputs[2], "biases")) * beta if len(inputs) > 2 else 0.0
    return _sums(inputs[0]).dense(weight if alpha == 1 else weight * alpha, bias)


def _matmul(inputs: list[Value], attributes: Attributes) -> Value:
    return _sums(inputs[0]).dense(_constant(inputs[1], "weights").T)


def _scaler(inputs: list[Value], attributes: Attributes) -> Value:
    scale = np.asarray(attributes.get("scale", [1.0]), dtype=np.float64)
    return _sums(inputs[0]).affine(scale, -np.asarray(attributes.get("offset", [0.0])) * scale)


def _batch_normalization(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "training_mode", 0, 0)
    names = ("scale", "shift", "mean", "variance")
    scale, shift, mean, variance = (
        _vector(_constant(value, name)) for value, name in zip(inputs[1:], names, strict=True)
    )
    return _sums(inputs[0]).normalised(mean, variance, attributes.get("epsilon", 1e-5), scale, shift)


def _same(inputs: list[Value], attributes: Attributes) -> Value:
    return inputs[0]


def _cast(inputs: list[Value], attributes: Attributes) -> Value:
    to, value = np.dtype(attributes["to"]), inputs[0]
    step = isinstance(value, Pointwise) and name_of(value.on_grid) == "step"
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
    # Rows stay rows: (-1, width), (0, width), (0, -1).
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] not in (-1, 0) or shape == [-1, -1]:
        raise ValueError(f"expected the shape (rows, columns), got {shape}")
    value, width = _flat(inputs[0]), None if shape[1] == -1 else int(shape[1])
    if width is not None and _base(value).width not in (None, width):
        raise ValueError(f"expected {_base(value).width} columns, got {width}")
    return replace(value, width=width) if isinstance(value, Values) and value.width is None else value


def _flat(value: Value) -> Value:
    return replace(value, is_flat=True) if isinstance(value, Values) else value


def _transpose(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "perm", [1, 0], [1, 0])
    return Constant(_constant(inputs[0], "weights").T)


def _softmax(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "axis", -1, -1, 1)
    return Output(_sums(inputs[0]), "softmax")


def _concat(inputs: list[Value], attributes: Attributes) -> Value:
    """1 - p and p, the probabilities of two classes."""
    _attribute(attributes, "axis", 1, 1, -1)
    if len(inputs) == 2 and all(isinstance(value, Pointwise) for value in inputs):
        other, p = inputs
        assert isinstance(other, Pointwise)
        assert isinstance(p, Pointwise)
        if (
            p.of is other.of
            and name_of(p.on_grid) == "sigmoid" == name_of(1 - other.on_grid)
            and p.of.width == 1
        ):
            return Output(p.of, "pair")
    raise ValueError("expected 1 - p and p of one sigmoid, got something else")


def _argmax(inputs: list[Value], attributes: Attributes) -> Value:
    _attribute(attributes, "axis", 0, 1, -1)
    end = end_of(inputs[0])
    if isinstance(end, Values):
        raise ValueError("expected probabilities, got sums")
    return Label(end)


def _pick(inputs: list[Value], attributes: Attributes) -> Value:
    """Names by their places."""
    names, place = inputs
    if not isinstance(place, Label) or place.classes is not None:
        raise ValueError("expected the place of the most probable class, got something else")
    return Label(place.of, _names(_constant(names, "classes").reshape(-1).tolist()))


def _zipmap(inputs: list[Value], attributes: Attributes) -> Value:
    names = [*attributes.get("classlabels_strings", []), *attributes.get("classlabels_int64s", [])]
    end = end_of(inputs[0])
    if isinstance(end, Values):
        raise ValueError("expected probabilities, got sums")
    return Named(end, _names(names))


def _names(values: list[Any]) -> Array:
    return np.array([value.decode() if isinstance(value, bytes) else value for value in values])


OPERATIONS: dict[tuple[str, str], Callable[[list[Value], Attributes], Value]] = {
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    ("ai.onnx.ml", "Scaler"): _scaler,
    ("", "BatchNormalization"): _batch_normalization,
    ("", "Identity"): _same,
    ("", "Dropout"): lambda inputs, attributes: inputs[0],
    ("", "Cast"): _cast,
    ("", "CastLike"): _same,
    ("", "Flatten"): _flatten,
    ("", "Reshape"): _reshape,
    ("", "Transpose"): _transpose,
    ("", "Softmax"): _softmax,
    # The same classes and probabilities, told by their logarithms.
    ("", "LogSoftmax"): _softmax,
    ("", "Concat"): _concat,
    ("", "ArgMax"): _argmax,
    ("", "Gather"): _pick,
    ("ai.onnx.ml", "ArrayFeatureExtractor"): _pick,
    ("ai.onnx.ml", "ZipMap"): _zipmap,
}
