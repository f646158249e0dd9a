"""Checkpoints of `Network.fit`: model files with the state that training needs to continue."""

from __future__ import annotations

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
        "records": state["records"],
    }
    model_file.write(path, model_file.to_bytes("checkpoint", model, tensors))


def read(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the state that `fit` continues from: parameters, best, optimizer, records and seed.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or its settings differ from `settings`. A seed of None matches any.
    OSError
        If the file cannot be read.
    """
    kind, model, tensors = model_file.from_bytes(model_file.read(path))
    if kind != "checkpoint":
        raise ValueError(f"resume: expected a checkpoint, got a model file of kind {kind!r}")
    stored = model.fields("settings")
    seed = stored.whole("seed", below=2**64)
    for name, value in settings.items():
        if not (name == "seed" and value is None) and stored.values.get(name) != value:
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
    return {"epoch": place} | {name: fields.get(name, float) for name in (*NUMBERS, *validation)}
