"""Imports ONNX files: multi-layer perceptrons exported by PyTorch, Keras or skl2onnx."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyrs.convert.elementwise import name_of
from tinyrs.convert.onnx_operators import (
    Constant,
    Elementwise,
    Label,
    NamedProbabilities,
    Probabilities,
    Value,
    arrays_of,
    interpret,
    network_end,
    refuse,
)
from tinyrs.convert.partial_network import Array, PartialNetwork, output_activation, to_predictor
from tinyrs.predictor import Predictor

try:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as missing:
    raise ImportError(f"ONNX needs the package onnx ({missing}): pip install 'tinyrs[onnx]'") from missing


# Nodes and layers can share an array of the file, and arrays a part of a file with external data. All arrays
# together, and the parameters of the network, may take this many times the bytes of the files, and FREE_BYTES
# in addition.
MAX_GROWTH, FREE_BYTES = 16, 16 << 20


def from_onnx(
    path: str | os.PathLike[str], *, logits: str | None = None, classes: Sequence[Any] | None = None
) -> Predictor:
    """Imports a multi-layer perceptron from an ONNX file as a predictor with the same probabilities.

    Parameters
    ----------
    path : path
        A file exported by PyTorch, Keras or skl2onnx. It may contain dense layers, the activations of tinyrs,
        batch normalisation and a scaler before the first layer (which are folded into the layers), softmax or
        sigmoid, and labels. The weights may be in another file in the same folder.
    logits : {"softmax", "sigmoid"}, optional
        The output activation of a graph that ends in logits. A single sigmoid is the probability of the
        second of two classes.
    classes : sequence, optional
        The class labels; by default those in the file, or 0, 1, ...

    Raises
    ------
    ValueError
        If the file is not an ONNX model, has an operator that tinyrs cannot import (the message names the
        node), or would take far more memory than its size.
    OSError
        If the file cannot be read.
    ImportError
        If the package onnx is not installed.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ValueError(f"path: expected an ONNX model, got another file: {error}") from None
    if not model.graph.node:
        raise ValueError("path: expected an ONNX model, got one without nodes, or another file")
    return _Reader(model.graph, path.parent, len(data)).predictor(logits, classes)


class _Reader:
    """Interprets the nodes of a graph, in order."""

    def __init__(self, graph: onnx.GraphProto, folder: Path, n_bytes: int) -> None:
        """`folder` is that of the model, whose file has `n_bytes`."""
        self.values: dict[str, Value] = {}
        self.folder = folder
        self.has_double_weights = False
        self.graph = graph
        # The sizes of the files, and the arrays that were read or made so far, by their id.
        self.file_sizes = {folder: n_bytes}
        self.arrays: dict[int, Array] = {}
        self.array_bytes = 0
        if graph.sparse_initializer:
            refuse("graph", "expected no sparse initializers, got some")
        for tensor in graph.initializer:
            what = f"initializer {tensor.name!r}"
            self.values[tensor.name] = Constant(self._array(what, tensor))
            self._count(what, self.values[tensor.name])
        # Old files list initializers as inputs too.
        inputs = [value for value in graph.input if value.name not in self.values]
        if len(inputs) != 1:
            refuse("graph", f"expected one input, a matrix, got {len(inputs)}")
        self.values[inputs[0].name] = _input(inputs[0])
        for index, node in enumerate(graph.node):
            described = f"node {node.name or index!r} ({node.op_type})"
            try:
                value = self._value(node, described)
            # Besides ValueError, what missing or invalid inputs and attributes raise.
            except (ValueError, TypeError, LookupError, OverflowError) as error:
                message = str(error)
                if message.startswith("ONNX model: "):
                    raise
                raise ValueError(f"ONNX model: {described}: {message}") from None
            self._count(described, value)
            for name in node.output[:1]:
                self.values[name] = value

    def _count(self, described: str, value: Value) -> None:
        """Raises a ValueError if the arrays up to those of `value` take too much memory."""
        for array in arrays_of(value):
            while isinstance(array.base, np.ndarray):  # a view takes no memory
                array = array.base
            if id(array) not in self.arrays:
                self.arrays[id(array)] = array
                self.array_bytes += array.nbytes
        self._check_size(described, self.array_bytes)

    def _check_size(self, described: str, n_bytes: int) -> None:
        file_bytes = sum(self.file_sizes.values())
        if n_bytes > MAX_GROWTH * file_bytes + FREE_BYTES:
            refuse(
                described,
                f"expected arrays in proportion to a file of {file_bytes:,} bytes, got {n_bytes:,} bytes, "
                "because nodes share arrays",
            )

    def _array(self, what: str, tensor: onnx.TensorProto) -> Array:
        external = tensor.data_location == TensorProto.EXTERNAL or tensor.external_data
        try:
            if external:
                array = _external(tensor, self.folder, self.file_sizes)
            else:
                array = np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            refuse(what, f"expected a tensor, got {error}")
        if array.shape != tuple(tensor.dims):
            refuse(what, f"expected the shape {tuple(tensor.dims)}, got {array.shape}")
        self.has_double_weights = self.has_double_weights or (array.dtype == np.float64 and array.ndim == 2)
        return array

    def _value(self, node: onnx.NodeProto, described: str) -> Value:
        """The meaning of the first output of a node; `described` is the node in error messages."""
        attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                attributes[attribute.name] = self._array(described, attribute.t)
            else:
                attributes[attribute.name] = helper.get_attribute_value(attribute)
        if node.op_type == "Cast":
            attributes["to"] = helper.tensor_dtype_to_np_dtype(attributes["to"])
        absent = [name for name in node.input if name and name not in self.values]
        if absent:
            refuse(described, f"expected inputs that earlier nodes computed, got {absent[0]!r}")
        # An empty name stands for an omitted optional input.
        inputs = [self.values[name] for name in node.input if name]
        if node.op_type == "Constant" and node.domain == "" and attributes:
            return Constant(np.asarray(next(iter(attributes.values()))))
        if not inputs:
            refuse(described, "expected inputs, got none")
        return interpret(described, node.domain, node.op_type, inputs, attributes)

    def predictor(self, logits: str | None, classes: Sequence[Any] | None) -> Predictor:
        """The predictor with the probabilities that the graph outputs; arguments as in `from_onnx`."""
        outputs: list[tuple[str, Probabilities | PartialNetwork]] = []
        labels: Array | Sequence[Any] | None = None
        has_label = has_indicators = False
        for value in self.graph.output:
            found = self.values.get(value.name)
            if isinstance(found, Elementwise) and name_of(found.on_grid) == "step":
                has_indicators = True
            elif isinstance(found, Label):
                has_label, labels = True, found.classes if labels is None else labels
                outputs.append((value.name, found.probabilities))
            elif isinstance(found, NamedProbabilities):
                labels = found.classes if labels is None else labels
                outputs.append((value.name, found.probabilities))
            elif isinstance(found, Elementwise | PartialNetwork | Probabilities):
                outputs.append((value.name, network_end(found)))
            else:
                refuse(f"output {value.name!r}", "expected probabilities or labels, got another value")
        if not outputs or any(end != outputs[0][1] for _, end in outputs):
            refuse("graph", f"expected one output of probabilities, got {[name for name, _ in outputs]}")
        name, end = outputs[0]
        network = end if isinstance(end, PartialNetwork) else end.logits
        # Every layer of the network has its own copy of its parameters, of up to 8 bytes each.
        self._check_size("graph", 8 * network.n_parameters)
        kind = None if isinstance(end, PartialNetwork) else end.kind
        try:
            activation = output_activation("sigmoid" if kind == "pair" else kind, logits)
        except ValueError as error:
            raise ValueError(f"{error} (output {name!r})") from None
        return to_predictor(
            network,
            activation,
            labels if classes is None else classes,
            precision="f64" if self.has_double_weights else "f32",
            multilabel=activation == "sigmoid" and (has_indicators or not has_label),
        )


def _external(tensor: onnx.TensorProto, folder: Path, file_sizes: dict[Path, int]) -> Array:
    """A tensor that is stored in another file, in the folder of the model or below; sets the file's size."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = (folder / entries["location"]).resolve()
    # The path comes from the model, so neither it nor a symbolic link may lead out of the folder.
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"external data at {entries['location']!r}, outside the folder of the model")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
    count, offset = math.prod(tensor.dims), int(entries.get("offset", 0))
    length = int(entries.get("length", count * dtype.itemsize))
    if min((*tensor.dims, offset, 0)) < 0 or length != count * dtype.itemsize:
        raise ValueError(f"{length} bytes at {offset} as external data of shape {tuple(tensor.dims)}")
    try:
        size = file_sizes[path] = path.stat().st_size
        if offset + length > size:
            raise ValueError(
                f"{size} bytes in {path.name!r}, too few for external data up to {offset + length}"
            )
        return np.fromfile(path, dtype, count, offset=offset).reshape(tensor.dims)
    except OSError as error:
        raise ValueError(f"external data that cannot be read: {error}") from None


def _input(value: onnx.ValueInfoProto) -> PartialNetwork:
    """The input of the graph; its axes after the first are flattened."""
    shape = value.type.tensor_type.shape.dim
    if not value.type.tensor_type.HasField("shape"):
        return PartialNetwork(None)
    if len(shape) < 2:
        refuse(f"input {value.name!r}", f"expected (rows, columns), got {len(shape)} axes")
    # The length of an axis is 0 if it is unknown.
    width = math.prod(axis.dim_value for axis in shape[1:])
    return PartialNetwork(width if width > 0 else None, is_flat=len(shape) == 2)
