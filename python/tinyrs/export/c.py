"""Exports a predictor as a C99 header: preprocessing, network, labels; it is linked with libm only.

The header is also valid C++. It computes what tinyrs computes, in the network's precision, but checks
nothing: an infinite input is treated as a very large number, and an overflowing sum is infinite.

Weights of int8 are int8_t in the header, a quarter of the size of float. C99 has no floating point of 16
bits: weights of f16 and bf16 are float in the header, with the same values.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from string import Template
from typing import Any

import numpy as np

from tinyrs._tinyrs import build_info
from tinyrs.export import c_templates as text
from tinyrs.export.model import Layer, Member, Model
from tinyrs.tabular.preprocessor import CategoryColumn

# Substitutes the values of the model and the given ones into a template.
Fill = Callable[..., str]
ITEMS_PER_LINE = 6
# The arrays of an `Embedding`, in the order of the arguments of the C function.
EMBEDDING_ARRAYS = ("w1", "b1", "w2", "b2")


def name_from(file: str) -> str:
    """The default prefix of the identifiers in a header, derived from the name of its file."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", file).strip("_")
    return name if name[:1].isalpha() else f"model_{name}".rstrip("_")


def to_text(model: Model, name: str) -> str:
    """The text of the header; all identifiers in it start with `name`.

    Raises
    ------
    ValueError
        If `name` is not an identifier, or C cannot express a category or a class.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name: expected ASCII letters, digits and underscores, a letter first, got {name!r}"
        )
    members = model.members()
    # Some may have no embedding; the layers of all are of the same kinds.
    embedding = next((member.embedding for member in members if member.embedding is not None), None)
    layers = members[0].layers
    single = model.dtype == np.float32
    values = {
        "name": name,
        "NAME": name.upper(),
        "real": "float" if single else "double",
        "f": "f" if single else "",
        "version": build_info()["version"],
        "n_columns": str(model.n_columns),
        "n_classes": str(len(model.classes)),
        "n_features": str(members[0].n_features),
        "includes": _includes(layers),
    }

    def fill(template: str, **more: object) -> str:
        return Template(template).substitute(values, **more)

    used = {layer.activation for layer in layers}
    columns = [model.column_name(column) for column in range(model.n_columns)]
    buffers, calls = _calls(members, name, values["real"])
    parts = [
        fill(text.HEAD),
        *_times(model),
        _array("const char *const", f"{name}_columns", map(_string, columns)),
        _classes(model, name),
        *_encoders(model, fill),
        *_features(model, name, fill),
        *([fill(text.EMBED, n=embedding.n_inputs)] if embedding else []),
        *_products(layers, fill),
        *(fill(code) for activation, code in text.ACTIVATIONS.items() if activation in used),
        *([fill(text.ADD)] if len(members) > 1 else []),
        *([fill(text.SCALE)] if len(members) > 1 or any(layer.scale != 1 for layer in layers) else []),
        *(
            text
            for m, member in enumerate(members)
            for text in _weights(member, _prefix(name, m), values["real"])
        ),
        fill(text.PREDICT_PROBA, buffers=buffers, calls=calls),
        fill(text.PREDICT_MULTILABEL if model.multilabel else text.PREDICT),
        text.TAIL,
    ]
    return "\n".join(parts)


# Literals.


def _string(value: str) -> str:
    if "\0" in value:
        raise ValueError(f"expected strings without NUL in a C export, got {value!r}")
    return '"' + "".join(map(_character, value.encode())) + '"'


def _character(byte: int) -> str:
    """A byte in a string literal.

    Octal escapes, unlike hexadecimal ones, end after three digits. ? is escaped because ?? may start a
    trigraph.
    """
    if 32 <= byte < 127:
        return f"\\{chr(byte)}" if chr(byte) in '"\\?' else chr(byte)
    return f"\\{byte:03o}"


def _real(value: Any) -> str:
    """The shortest literal that is read as the same number."""
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    return f"{value!s}f" if isinstance(value, np.float32) else str(value)


def _whole(value: int) -> str:
    if value == -(2**63):
        return f"{value + 1}LL - 1"  # 2**63 is not a long long
    return f"{value}ULL" if value >= 2**63 else f"{value}LL"


def _array(kind: str, name: str, items: Iterable[str]) -> str:
    items = list(items)
    lines = (", ".join(items[i : i + ITEMS_PER_LINE]) for i in range(0, len(items), ITEMS_PER_LINE))
    return f"static {kind} {name}[] = {{\n    " + ",\n    ".join(lines) + "};\n"


# Parts of the header.


def _classes(model: Model, name: str) -> str:
    labels = model.labels()
    if isinstance(labels[0], str):
        return _array("const char *const", f"{name}_classes", [_string(str(label)) for label in labels])
    if isinstance(labels[0], int):
        kind = "const unsigned long long" if max(labels) >= 2**63 else "const long long"
        return _array(kind, f"{name}_classes", [_whole(int(label)) for label in labels])
    return _array("const double", f"{name}_classes", [_real(label) for label in labels])


def _times(model: Model) -> Iterator[str]:
    """The comment on the columns of dates, times and durations."""
    times = sorted(model.times().items())
    if times:
        yield (
            "/* Numbers that mean a time:\n"
            + "\n".join(f"   row[{i}]: {text}" for i, text in times)
            + " */\n"
        )


def _encoders(model: Model, fill: Fill) -> Iterator[str]:
    """For each column of categories, a function that returns the code of a category."""
    texts = [category for category in model.categories if model.is_text(category)]
    if texts:
        yield fill(text.SAME)
    if any(category.buckets for category in texts):
        yield fill(text.BUCKET)
    for category in model.categories:
        keys, is_text = model.keys(category), category in texts
        if is_text:
            kind, items = "const char *const", ["0" if key is None else _string(str(key)) for key in keys]
        else:
            kind, items = "const double", ["NAN" if key is None else _real(key) for key in keys]
        # C has no empty arrays.
        yield _array(kind, fill("${name}_known_$column", column=category.column), items or ["0"])
        yield fill(
            text.ENCODE_TEXT if is_text else text.ENCODE_NUMBER,
            column=category.column,
            n_known=len(items),
            missing=-1 if math.isnan(category.code(None)) else category.code(None),
            otherwise=fill(_bucket(model, category)),
        )


def _bucket(model: Model, category: CategoryColumn) -> str:
    """The C expression for the code of a category that has no code of its own."""
    if not category.buckets:
        return "-1"
    if category.hash_prefix == "f:":
        raise model.error(
            category.column, "expected text, or at most 256 numbers, in a C export; train the model again"
        )
    start = zlib.crc32(category.hash_prefix.encode())
    return f"{len(category.names)} + ${{name}}_bucket({start}UL, category, {category.buckets})"


def _features(model: Model, name: str, fill: Fill) -> Iterator[str]:
    """The function that computes the features as `FeatureEncoder` does, and its constants."""
    if model.preprocessor is None:
        yield fill(text.COPY)
        return
    numbers = [number for number in model.preprocessor.numbers if number.scale > 0]
    indicators = [number.column for number in model.preprocessor.numbers if number.missing_indicator]
    blocks = ""
    if numbers:
        yield _array("const int", f"{name}_number", [str(number.column) for number in numbers])
        yield _array("const double", f"{name}_centre", [_real(number.centre) for number in numbers])
        yield _array("const double", f"{name}_scale", [_real(number.scale) for number in numbers])
        blocks += fill(text.NUMBERS, count=len(numbers))
    if indicators:
        yield _array("const int", f"{name}_flagged", map(str, indicators))
        blocks += fill(text.MISSING_INDICATORS, count=len(indicators))
    if model.categories:
        yield _array("const int", f"{name}_category", [str(c.column) for c in model.categories])
        yield _array("const int", f"{name}_codes", [str(c.n_codes) for c in model.categories])
        blocks += fill(text.CATEGORIES, count=len(model.categories))
    yield fill(text.FEATURES, blocks=blocks or "    (void)row;\n")


def _includes(layers: list[Layer]) -> str:
    formats = {layer.format for layer in layers}
    headers = ["math.h"]
    if formats & {"int8", "int8_weights", "bf16"}:
        headers.append("stdint.h")
    if "bf16" in formats:
        headers.append("string.h")
    return "".join(f"#include <{header}>\n" for header in headers)


def _products(layers: list[Layer], fill: Fill) -> Iterator[str]:
    """The functions that compute W x + b for the formats of the layers."""
    formats = {layer.format for layer in layers}
    if formats - {"int8", "int8_weights"}:
        yield fill(text.DENSE)
    if "int8" in formats:
        yield fill(text.DENSE_INT8)
    if "int8_weights" in formats:
        yield fill(text.DENSE_INT8_WEIGHTS)
    if "bf16" in formats:
        yield fill(text.ROUND_TO_BFLOAT16)


def _prefix(name: str, member: int) -> str:
    """What the names of the arrays of a network start with."""
    return name if member == 0 else f"{name}_m{member}"


def _weights(member: Member, prefix: str, real: str) -> Iterator[str]:
    if member.embedding is not None:
        for array in EMBEDDING_ARRAYS:
            values = getattr(member.embedding, array).ravel()
            yield _array(f"const {real}", f"{prefix}_embedding_{array}", map(_real, values))
    for i, layer in enumerate(member.layers):
        weight = layer.weight if layer.format == "int8" else layer.weight.T
        if layer.weight_scale is None:
            yield _array(f"const {real}", f"{prefix}_w{i}", map(_real, weight.ravel()))
        else:
            yield _array("const int8_t", f"{prefix}_w{i}", map(str, weight.ravel().tolist()))
            yield _array("const float", f"{prefix}_s{i}", map(_real, layer.weight_scale))
        yield _array(f"const {real}", f"{prefix}_b{i}", map(_real, layer.bias))


def _product(layer: Layer, x: str, z: str, name: str, arrays: str) -> list[str]:
    """The statements that compute z = W x + b, where x and z are the names of buffers.

    `arrays` are the names of the layer's arrays, with % for their kind.
    """
    n_out, n_in = layer.weight.shape
    weights, scales, bias = (arrays % kind for kind in "wsb")
    if layer.format == "int8":
        return [f"{name}_dense_int8({x}, {n_in}, {weights}, {scales}, {bias}, q, {z}, {n_out});"]
    if layer.format == "int8_weights":
        return [f"{name}_dense_int8_weights({x}, {n_in}, {weights}, {scales}, {bias}, {z}, {n_out});"]
    rounding = [f"{name}_round_to_bfloat16({x}, {n_in});"] if layer.format == "bf16" else []
    return [*rounding, f"{name}_dense({x}, {n_in}, {weights}, {bias}, {z}, {n_out});"]


def _network(member: Member, name: str, prefix: str, buffers: tuple[str, str, str], out: str) -> list[str]:
    """The statements that compute a network, whose arrays start with `prefix`.

    `buffers` are its input, and two for its hidden layers.
    """
    (x, *hidden), lines = buffers, []
    if member.embedding is not None:
        arrays = ", ".join(f"{prefix}_embedding_{array}" for array in EMBEDDING_ARRAYS)
        lines.append(f"{name}_embed({x}, {arrays});")
    layers = member.layers
    for i, layer in enumerate(layers):
        z = hidden[i % 2] if i < len(layers) - 1 else out
        n_out = len(layer.bias)
        lines += _product(layer, x, z, name, f"{prefix}_%s{i}")
        if layer.activation != "identity":
            lines.append(f"{name}_{layer.activation}({z}, {n_out});")
        if layer.scale != 1:
            lines.append(f"{name}_times({z}, {n_out}, {_real(layer.weight.dtype.type(layer.scale))});")
        x = z
    return lines


def _calls(members: list[Member], name: str, real: str) -> tuple[str, str]:
    """The declarations of buffers, and the calls that compute the networks and the mean of their outputs."""
    layers = members[0].layers
    n_inputs, n_classes = max(member.n_inputs for member in members), len(layers[-1].bias)
    widths = [len(layer.bias) for layer in layers[:-1]]
    if len(members) == 1:
        # The buffer of the input serves the second hidden layer too.
        sizes = dict.fromkeys("ab"[: len(layers)], max([n_inputs, *widths]))
        lines = [
            f"{name}_features(row, a);",
            *_network(members[0], name, name, ("a", "b", "a"), "probabilities"),
        ]
    else:
        hidden = dict.fromkeys("ab"[: len(widths)], max(widths, default=0))
        sizes = {"x": n_inputs, **hidden, "p": n_classes}
        lines = []
        for m, member in enumerate(members):
            # An embedding reads the features, which bfloat16 has rounded in the network before.
            if m == 0 or (member.embedding is not None and layers[0].format == "bf16"):
                lines.append(f"{name}_features(row, x);")
            out = "p" if m else "probabilities"
            lines += _network(member, name, _prefix(name, m), ("x", "a", "b"), out)
            if m:
                lines.append(f"{name}_add(p, {n_classes}, probabilities);")
        share = _real(layers[-1].bias.dtype.type(1 / len(members)))
        lines.append(f"{name}_times(probabilities, {n_classes}, {share});")
    buffers = real + " " + ", ".join(f"{buffer}[{size}]" for buffer, size in sizes.items()) + ";"
    if any(layer.format == "int8" for layer in layers):
        buffers += f" int8_t q[{max([n_inputs, *widths])}];"
    return buffers, "".join(f"    {line}\n" for line in lines)
