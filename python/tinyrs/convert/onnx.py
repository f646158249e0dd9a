"""Predictors from ONNX files: multi-layer perceptrons as PyTorch, Keras and skl2onnx write them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyrs.convert.chain import Array, Values, head, predictor
from tinyrs.convert.onnx_values import (
    Constant,
    Label,
    Named,
    Output,
    Pointwise,
    Value,
    end_of,
    refuse,
    result,
)
from tinyrs.convert.pointwise import name_of
from tinyrs.predictor import Predictor

try:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as missing:
    raise ImportError(f"ONNX needs the package onnx ({missing}): pip install 'tinyrs[onnx]'") from missing


def from_onnx(
    path: str | os.PathLike[str], *, logits: str | None = None, classes: Sequence[Any] | None = None
) -> Predictor:
    """The multi-layer perceptron in an ONNX file as a predictor of the same probabilities.

    Parameters
    ----------
    path : path
        As PyTorch, Keras or skl2onnx write it: dense layers, activations that tinyrs has, batch normalisation
        and a scaler in front (which become part of the layers), softmax or sigmoid, labels. Weights may lie
        in a file beside it.
    logits : {"softmax", "sigmoid"}, optional
        What makes probabilities of the sums that the graph ends in, if it does. One sigmoid alone is the
        probability of the second of two classes.
    classes : sequence, optional
        The labels; by default those in the file, else 0, 1, ...

    Raises
    ------
    ValueError
        If it is no ONNX file, or something else than such a network: the message names the node.
    OSError
        If it cannot be read.
    ImportError
        If the package onnx is not installed.
    """
    path = Path(path)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"path: expected an ONNX model, got another file: {error}") from None
    if not model.graph.node:
        raise ValueError("path: expected an ONNX model, got one without nodes, or another file")
    return _Reader(model.graph, path.parent).predictor(logits, classes)


class _Reader:
    """Follows one graph."""

    def __init__(self, graph: onnx.GraphProto, folder: Path) -> None:
        self.values: dict[str, Value] = {}
        self.folder = folder
        self.double = False
        self.graph = graph
        if graph.sparse_initializer:
            refuse("graph", "expected no sparse initializers, got some")
        for tensor in graph.initializer:
            self.values[tensor.name] = Constant(self._array(f"initializer {tensor.name!r}", tensor))
        # Old files list the initializers among the inputs.
        inputs = [value for value in graph.input if value.name not in self.values]
        if len(inputs) != 1:
            refuse("graph", f"expected one input, a matrix, got {len(inputs)}")
        self.values[inputs[0].name] = _input(inputs[0])
        for number, node in enumerate(graph.node):
            where = f"node {node.name or number!r} ({node.op_type})"
            try:
                value = self._value(node, where)
            # A node may lack inputs and attributes that it must have, or have wrong ones.
            except (ValueError, TypeError, LookupError, OverflowError) as error:
                message = str(error)
                if message.startswith("ONNX model: "):
                    raise
                raise ValueError(f"ONNX model: {where}: {message}") from None
            for name in node.output[:1]:
                self.values[name] = value

    def _array(self, what: str, tensor: onnx.TensorProto) -> Array:
        external = tensor.data_location == TensorProto.EXTERNAL or tensor.external_data
        try:
            array = _external(tensor, self.folder) if external else np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            refuse(what, f"expected a tensor, got {error}")
        if array.shape != tuple(tensor.dims):
            refuse(what, f"expected the shape {tuple(tensor.dims)}, got {array.shape}")
        self.double = self.double or (array.dtype == np.float64 and array.ndim == 2)
        return array

    # What a node gives.

    def _value(self, node: onnx.NodeProto, where: str) -> Value:
        attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                attributes[attribute.name] = self._array(where, attribute.t)
            else:
                attributes[attribute.name] = helper.get_attribute_value(attribute)
        if node.op_type == "Cast":
            attributes["to"] = helper.tensor_dtype_to_np_dtype(attributes["to"])
        absent = [name for name in node.input if name and name not in self.values]
        if absent:
            refuse(where, f"expected inputs that were computed before, got {absent[0]!r}")
        # An optional input that is left out at the end is as good as none.
        inputs = [self.values[name] for name in node.input if name]
        if node.op_type == "Constant" and node.domain == "" and attributes:
            return Constant(np.asarray(next(iter(attributes.values()))))
        if not inputs:
            refuse(where, "expected inputs, got none")
        return result(where, node.domain, node.op_type, inputs, attributes)

    # What it all comes to.

    def predictor(self, logits: str | None, classes: Sequence[Any] | None) -> Predictor:
        outputs: list[tuple[str, Output | Values]] = []
        labels: Array | Sequence[Any] | None = None
        best = several = False
        for value in self.graph.output:
            found = self.values.get(value.name)
            if isinstance(found, Pointwise) and name_of(found.on_grid) == "step":
                several = True
            elif isinstance(found, Label):
                best, labels = True, found.classes if labels is None else labels
                outputs.append((value.name, found.of))
            elif isinstance(found, Named):
                labels = found.classes if labels is None else labels
                outputs.append((value.name, found.of))
            elif isinstance(found, Pointwise | Values | Output):
                outputs.append((value.name, end_of(found)))
            else:
                refuse(f"output {value.name!r}", "expected probabilities or labels, got something else")
        if not outputs or any(end != outputs[0][1] for _, end in outputs):
            refuse("graph", f"expected one output of probabilities, got {[name for name, _ in outputs]}")
        name, end = outputs[0]
        kind = None if isinstance(end, Values) else end.kind
        try:
            output = head("sigmoid" if kind == "pair" else kind, logits)
        except ValueError as error:
            raise ValueError(f"{error} (output {name!r})") from None
        return predictor(
            end if isinstance(end, Values) else end.of,
            output,
            labels if classes is None else classes,
            precision="f64" if self.double else "f32",
            multilabel=output == "sigmoid" and (several or not best),
        )


def _external(tensor: onnx.TensorProto, folder: Path) -> Array:
    """A tensor whose numbers lie in a file of their own, in the folder of the model or below."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    path = (folder / place["location"]).resolve()
    # The model chose the path: it must not lead, nor a link on it, to what is none of its business.
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"external data at {place['location']!r}, outside the folder of the model")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
    count, offset = math.prod(tensor.dims), int(place.get("offset", 0))
    length = int(place.get("length", count * dtype.itemsize))
    if min((*tensor.dims, offset, 0)) < 0 or length != count * dtype.itemsize:
        raise ValueError(f"{length} bytes at {offset} as external data of shape {tuple(tensor.dims)}")
    try:
        size = path.stat().st_size
        if offset + length > size:
            raise ValueError(
                f"{size} bytes in {path.name!r}, too few for external data up to {offset + length}"
            )
        return np.fromfile(path, dtype, count, offset=offset).reshape(tensor.dims)
    except OSError as error:
        raise ValueError(f"external data that cannot be read: {error}") from None


def _input(value: onnx.ValueInfoProto) -> Values:
    shape = value.type.tensor_type.shape.dim
    if not value.type.tensor_type.HasField("shape"):
        return Values(None)
    if len(shape) < 2:
        refuse(f"input {value.name!r}", f"expected (rows, columns), got {len(shape)} axes")
    # 0 for an axis of any length: then nobody said how many there are.
    width = math.prod(axis.dim_value for axis in shape[1:])
    return Values(width if width > 0 else None, is_flat=len(shape) == 2)
