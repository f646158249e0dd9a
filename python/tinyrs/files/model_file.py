"""Model files: safetensors with a versioned JSON description, which is checked before it is used.

A file holds tensors and one metadata entry, `tinyrs`: a JSON object with

    format    the version of this layout; `load` raises for a version newer than its own. Since version 2, the
              columns of a predictor have kinds; version 3 is that of files with tensors of 8 or 16 bits,
              version 4 that of files with several networks whose outputs are averaged, version 5 that of
              files whose networks have a numeric embedding, which is the first two layers, version 6 that of
              files in which some of several networks have one
    tinyrs    the version of tinyrs that wrote the file
    kind      "network", "checkpoint" or "predictor"
    model     what the tensors mean: see below, `tinyrs.files.checkpoint` and `tinyrs.files.predictor_file`
    sha256    the checksum of all of the above and of the tensors

The checksum detects damage, not malice: the author of a malicious file can compute it. Therefore every field
is checked too. The checksum covers the compact JSON with sorted keys, with numbers as they were written, and
the tensors (`digest`, in Rust). Objects may be nested at most 128 deep.
"""

from __future__ import annotations

from itertools import repeat

from tinyrs._tinyrs import (
    Network,
    Tensor,
    build_info,
    digest,
    parse_json,
    read_safetensors,
    write_safetensors,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn, TypeVar

    import numpy.typing as npt

    T = TypeVar("T")
    Tensors = Mapping[str, Tensor]

# The newest format. A file has the oldest one that can hold it, so that older versions read it too: see
# `_format`.
FORMAT = 6
NARROW = {"float16", "bfloat16", "int8"}
KEY = "tinyrs"


class Fields:
    """The fields of a JSON object from a file, each checked when it is read.

    `path` is the path of the object in the description, for error messages. All methods raise a ValueError
    that names the field, if it is missing or has another type.
    """

    def __init__(self, path: str, value: object) -> None:
        self.path = path
        if not isinstance(value, dict):
            self._refuse("", "an object", value)
        self.values: dict[str, Any] = value

    def _refuse(self, name: str, expected: str, got: object) -> NoReturn:
        refuse(self._path(name), expected, got)

    def _path(self, name: str) -> str:
        return ".".join(part for part in (self.path, name) if part)

    def get(self, name: str, kind: type[T], expected: str = "") -> T:
        """The field `name`, of type `kind`; `expected` describes it in the error message."""
        value = self.values.get(name)
        # In JSON, True is not an integer, and 1 may stand for a float.
        if kind is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError:
                self._refuse(name, "a float", value)
        if type(value) is not kind:
            self._refuse(name, expected or f"a {kind.__name__}", value)
        return value

    def whole(self, name: str, least: int = 0, below: int = 2**31) -> int:
        """The field `name`: an integer in [least, below)."""
        value = self.get(name, int, "a whole number")
        if not least <= value < below:
            self._refuse(name, f"a whole number from {least} to {below - 1}", value)
        return value

    def strings(self, name: str) -> list[str]:
        """The field `name`: a list of strings."""
        values = self.get(name, list, "a list of strings")
        if not all(type(value) is str for value in values):
            self._refuse(name, "a list of strings", values)
        return values

    def objects(self, name: str) -> list[Fields]:
        """The field `name`: a list of objects."""
        values = self.get(name, list, "a list of objects")
        return [Fields(f"{self._path(name)}[{i}]", value) for i, value in enumerate(values)]

    def fields(self, name: str) -> Fields:
        """The field `name`: an object."""
        return Fields(self._path(name), self.values.get(name))


def refuse(field: str, expected: str, got: object) -> NoReturn:
    """Raises the ValueError for a field of a file that is not as expected."""
    text = repr(got)
    raise ValueError(
        f"model file: {field}: expected {expected}, got {text if len(text) < 80 else text[:77] + '...'}"
    )


def tensor(tensors: Tensors, name: str, dtypes: Sequence[str], shape: tuple[int, ...]) -> Tensor:
    """The tensor `name`; ValueError unless it has one of `dtypes` and this shape, where -1 is any size."""
    found = tensors.get(name)
    if found is None:
        refuse(name, "a tensor", None)
    fits = len(found.shape) == len(shape) and all(
        want in (-1, got) for want, got in zip(shape, found.shape, strict=True)
    )
    if found.dtype not in dtypes or not fits:
        sizes = ", ".join("any" if size == -1 else str(size) for size in shape)
        got = f"{found.dtype} of shape {found.shape}"
        raise ValueError(f"model file: {name}: expected {' or '.join(dtypes)} of shape ({sizes}), got {got}")
    return found


def to_bytes(kind: str, model: Mapping[str, Any], arrays: Mapping[str, Tensor | npt.NDArray[Any]]) -> bytes:
    """The bytes of a model file: the same for the same contents.

    Raises
    ------
    ValueError
        If `model` holds NaN, an infinite number, or a string that is not valid Unicode.
    """
    import json

    tensors = {
        name: a if isinstance(a, Tensor) else Tensor(a.dtype.str, a.shape, a.tobytes())
        for name, a in arrays.items()
    }
    description = {
        "format": _format(model, tensors),
        "tinyrs": build_info()["version"],
        "kind": kind,
        "model": model,
    }
    try:
        sha = digest(json.dumps(description, allow_nan=False), tensors)
    except ValueError as error:
        # A number is NaN or infinite, or a name or label has a lone surrogate (as from `surrogateescape`).
        raise ValueError(f"model: expected finite numbers and valid Unicode, got {error}") from None
    return write_safetensors(tensors, {KEY: json.dumps(description | {"sha256": sha}, sort_keys=True)})


def _format(model: Mapping[str, Any], tensors: Tensors) -> int:
    """The oldest format with such a model and such tensors."""
    network = model.get("network", model)
    if "members" in network:
        return 6
    if "numeric_embedding" in network:
        return 5
    if any(name.startswith("members.") for name in tensors):
        return 4
    return 3 if any(t.dtype in NARROW for t in tensors.values()) else 2


def from_bytes(data: bytes) -> tuple[str, Fields, Tensors]:
    """The kind, the model and the tensors in the bytes of a model file; the tensors are views of `data`.

    Raises
    ------
    ValueError
        If they are not those of a model file, are damaged, or have a newer format.
    """
    try:
        metadata, tensors = read_safetensors(data)
    except ValueError as error:
        raise ValueError(f"model file: {error}") from None
    if KEY not in metadata:
        refuse("metadata", f"an entry {KEY!r}", sorted(metadata))
    try:
        description = parse_json(metadata[KEY])
    except ValueError as error:
        raise ValueError(f"model file: {KEY}: expected JSON, got {error}") from None
    fields = Fields("", description)
    version = fields.whole("format", least=1)
    if version > FORMAT:
        by = fields.values.get("tinyrs")
        raise ValueError(
            f"model file: format: expected at most {FORMAT}, got {version}: the file was written by "
            f"tinyrs {by}, and this is tinyrs {build_info()['version']}"
        )
    if fields.get("sha256", str) != digest(metadata[KEY], tensors):
        raise ValueError(
            "model file: sha256: expected the checksum of the contents, got another: the file is damaged"
        )
    return fields.get("kind", str), fields.fields("model"), tensors


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file completely or not at all."""
    from tinyrs.files.atomic import writing

    with writing(path) as file:
        file.write(data)


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file. It is not memory-mapped: if a mapped file is truncated, access to it kills the
    process."""
    with open(path, "rb") as file:
        data = file.read()
    if not data:
        raise ValueError(f"model file: expected a safetensors file, got the empty file {str(path)!r}")
    return data


# Networks.


def network_to_bytes(network: Network) -> bytes:
    """The bytes of the model file of a network."""
    return to_bytes("network", *describe_network(network))


def describe_network(network: Network) -> tuple[dict[str, Any], dict[str, Tensor | npt.NDArray[Any]]]:
    """The description and the tensors of a network, from which `restore_network` makes an equal one."""
    members = network.members
    tensors: dict[str, Tensor | npt.NDArray[Any]] = {}
    descriptions = []
    for m, member in enumerate(members):
        layers = member._stored()
        description: dict[str, Any] = {**member.options, "n_layers": len(layers)}
        # Left out of files of full precision, which stay as older versions wrote them.
        if network.weights != network.precision:
            description["weights"] = [layer["format"] for layer in layers]
        descriptions.append(description)
        prefix = f"members.{m}." if len(members) > 1 else ""
        for i, layer in enumerate(layers):
            tensors[f"{prefix}layers.{i}.weight"] = layer["W"]
            tensors[f"{prefix}layers.{i}.bias"] = layer["b"]
            if "scale" in layer:
                tensors[f"{prefix}layers.{i}.scale"] = layer["scale"]
    if len(members) == 1:
        return descriptions[0], tensors
    if all(description == descriptions[0] for description in descriptions):
        return {**descriptions[0], "n_members": len(members)}, tensors
    return {"members": descriptions}, tensors


# The dtype of the weights in each format of a layer.
WEIGHT_DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
    "int8_weights": "int8",
}
OPTIONS: dict[str, Callable[[Fields, str], Any]] = {
    "activation": lambda fields, name: (
        fields.get(name, str) if isinstance(fields.values.get(name), str) else fields.strings(name)
    ),
    "output_activation": lambda fields, name: fields.get(name, str),
    "precision": lambda fields, name: fields.get(name, str),
    "activation_scale": lambda fields, name: fields.get(name, float),
    "epsilon_exp": lambda fields, name: fields.get(name, float),
    "epsilon_square": lambda fields, name: fields.get(name, float),
}


def restore_network(model: Fields, tensors: Tensors) -> Network:
    """The network that `describe_network` described.

    Raises
    ------
    ValueError
        If an option or a tensor is missing or invalid.
    """
    members, prefixes = [model], [""]
    if "members" in model.values:
        members = model.objects("members")
        if len(members) < 2:
            refuse(model._path("members"), "at least two objects", model.values["members"])
    elif "n_members" in model.values:
        # The bound keeps a file with a huge number from running a long loop.
        members = [model] * model.whole("n_members", least=2, below=max(len(tensors), 2) + 1)
    if len(members) > 1:
        prefixes = [f"members.{m}." for m in range(len(members))]
    try:
        return Network.ensemble(map(_restore_member, members, repeat(tensors), prefixes))
    except ValueError as error:
        message = str(error)
        raise error if message.startswith("model file: ") else ValueError(f"model file: {message}") from None


def _restore_member(model: Fields, tensors: Tensors, prefix: str) -> Network:
    """The only network of a file, or one of several; the names of its tensors start with `prefix`."""
    options = {name: read(model, name) for name, read in OPTIONS.items()}
    if "numeric_embedding" in model.values:
        options["numeric_embedding"] = model.get("numeric_embedding", str)
    # The bound keeps a file with a huge number from running a long loop.
    n_layers = model.whole("n_layers", least=1, below=len(tensors) + 1)
    if "weights" in model.values:
        return Network._from_stored(_stored_layers(model, tensors, prefix, n_layers), **options)
    dtype = {"f32": "float32", "f64": "float64"}.get(options["precision"], "float32")
    layers = (_weight_and_bias(tensors, f"{prefix}layers.{i}", dtype, dtype) for i in range(n_layers))
    return Network.from_parameters(layers, **options)


def _weight_and_bias(
    tensors: Tensors, layer: str, weight_dtype: str, bias_dtype: str
) -> tuple[Tensor, Tensor]:
    weight = tensor(tensors, f"{layer}.weight", [weight_dtype], (-1, -1))
    return weight, tensor(tensors, f"{layer}.bias", [bias_dtype], weight.shape[:1])


def _stored_layers(model: Fields, tensors: Tensors, prefix: str, n_layers: int) -> list[dict[str, Any]]:
    """The layers of a quantized network, as `Network._from_stored` takes them; `prefix` is its member's."""
    formats = model.strings("weights")
    if len(formats) != n_layers or not set(formats) <= WEIGHT_DTYPES.keys():
        expected = f"{n_layers} of {', '.join(WEIGHT_DTYPES)}"
        refuse(f"{model.path}.weights", expected, formats)
    layers = []
    for i, name in enumerate(formats):
        layer = f"{prefix}layers.{i}"
        weight, bias = _weight_and_bias(tensors, layer, WEIGHT_DTYPES[name], "float32")
        layers.append({"format": name, "W": weight, "b": bias})
        if WEIGHT_DTYPES[name] == "int8":
            layers[i]["scale"] = tensor(tensors, f"{layer}.scale", ["float32"], weight.shape[:1])
    return layers
