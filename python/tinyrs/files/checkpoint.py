"""Checkpoints of `Network.fit`: model files with the state that training needs to continue."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrs._tinyrs import Network, Optimizer
from tinyrs.files import model_file
from tinyrs.files.model_file import Fields, refuse, tensor

Pairs = Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]
NUMBERS = ("loss", "learning_rate", "seconds", "samples_per_second")
NON_FINITE = ("inf", "-inf", "nan")
VALIDATION = ("validation_loss", "validation_score")


def write(path: str | os.PathLike[str], options: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes a checkpoint of a network with these options.

    `state` comes from `fit`: parameters, best, optimizer, records and settings."""
    network, tensors = model_file.describe_network(Network.from_parameters(state["parameters"], **options))
    # The optimizer is stored as in its pickle.
    constructor, _, moments = state["optimizer"].__reduce__()
    groups = {"best": state["best"], "first": moments["first"], "second": moments["second"]}
    for group, pairs in groups.items():
        for i, (weight, bias) in enumerate(pairs or ()):
            tensors[f"{group}.{i}.weight"], tensors[f"{group}.{i}.bias"] = weight.reshape(-1), bias
    model = {
        "network": network,
        "settings": state["settings"],
        "optimizer": {"keywords": constructor.keywords, "steps": moments["steps"]},
        "has_second": bool(moments["second"]),
        "has_best": state["best"] is not None,
        "records": [{name: _to_json(value) for name, value in r.items()} for r in state["records"]],
    }
    model_file.write(path, model_file.to_bytes("checkpoint", model, tensors))


def read(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the state that `fit` continues from: parameters, best, optimizer, records and seed.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or its settings or data differ from `settings`. A seed of None
        matches any; checkpoints of versions that did not store digests of the data match any data.
    OSError
        If the file cannot be read.
    """
    kind, model, tensors = model_file.from_bytes(model_file.read(path))
    if kind != "checkpoint":
        raise ValueError(f"resume: expected a checkpoint, got a model file of kind {kind!r}")
    stored = model.fields("settings")
    # Older versions stored it in the network only.
    stored.values.setdefault("precision", model.fields("network").get("precision", str))
    seed = stored.whole("seed", below=2**64)
    for name, value in settings.items():
        if name == "data":
            _check_data(stored, value)
        elif not (name == "seed" and value is None) and stored.values.get(name) != value:
            written = stored.values.get(name)
            raise ValueError(
                f"resume: the checkpoint was written with {name}={written!r}, got {name}={value!r}"
            )
    parameters = model_file.restore_network(model.fields("network"), tensors).parameters()

    def pairs(group: str) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        def like(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            found = tensor(tensors, name, [array.dtype.name], (array.size,))
            return np.asarray(found).reshape(array.shape)

        return [
            (like(f"{group}.{i}.weight", weight), like(f"{group}.{i}.bias", bias))
            for i, (weight, bias) in enumerate(parameters)
        ]

    return {
        "parameters": parameters,
        "best": pairs("best") if model.get("has_best", bool) else None,
        "optimizer": _optimizer(model, pairs),
        "records": [_record(fields, place) for place, fields in enumerate(model.objects("records"))],
        "seed": seed,
    }


def _check_data(stored: Fields, digests: Mapping[str, str | None]) -> None:
    """Raises a ValueError unless the checkpoint was written with the data of these digests, by argument."""
    if "data" not in stored.values:
        return
    written = stored.fields("data").values
    for name, digest in digests.items():
        before = written.get(name)
        if (before is None) != (digest is None):
            with_or_without, given = ("without", "one") if before is None else ("with", "none")
            raise ValueError(f"resume: the checkpoint was written {with_or_without} {name}, got {given}")
        if before != digest:
            raise ValueError(f"resume: {name} differs from the {name} of the checkpoint: pass the same data")


def _optimizer(model: Fields, pairs: Any) -> Optimizer:
    fields = model.fields("optimizer")
    moments = {
        "precision": model.fields("network").get("precision", str),
        "steps": fields.whole("steps", below=2**63),
        "first": pairs("first"),
        "second": pairs("second") if model.get("has_second", bool) else [],
    }
    try:
        optimizer = Optimizer(**fields.get("keywords", dict, "an object"))
        optimizer.__setstate__(moments)
    except (TypeError, ValueError) as error:
        refuse("model.optimizer", "the numbers of an Optimizer", str(error))
    return optimizer


def _record(fields: Fields, place: int) -> dict[str, Any]:
    if fields.whole("epoch") != place:
        refuse(f"{fields.path}.epoch", f"{place}, the position in the list", fields.values["epoch"])
    validation = VALIDATION if VALIDATION[0] in fields.values else ()
    return {"epoch": place} | {name: _number(fields, name) for name in (*NUMBERS, *validation)}


def _to_json(value: float) -> float | str:
    """A number of a record, for example a score of -inf, as JSON, which has only finite numbers."""
    return value if math.isfinite(value) else repr(value)


def _number(fields: Fields, name: str) -> float:
    """The number in a field that `_to_json` wrote."""
    if fields.values.get(name) in NON_FINITE:
        return float(fields.values[name])
    return fields.get(name, float)
