"""The folder of `fit_to_budget(checkpoint=)`: models by what they were trained from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import joblib

Model = TypeVar("Model")


class Store:
    """Models that are not trained again. Without a folder, nothing is kept.

    Parameters
    ----------
    folder : str, path or None
        Made if it does not exist.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def get(
        self,
        kind: str,
        trained_from: Any,
        train: Callable[[], Model | None],
        load: Callable[[Path], Any],
    ) -> Model | None:
        """The model that was trained from this, or else that of `train`, which is kept unless it is None.

        Parameters
        ----------
        kind : str
            What the name of the file starts with.
        trained_from : object
            All that the model depends on: arrays, data frames, numbers; see `joblib.hash`.
        train, load : callable
            Models have a method `save`, and `load` reads what it wrote.
        """
        if self.folder is None:
            return train()
        path = self.folder / f"{kind}-{joblib.hash(trained_from)}.safetensors"
        if path.exists():
            found: Model = load(path)
            return found
        model = train()
        if model is not None:
            model.save(path)  # type: ignore[attr-defined]  # a Network or a TinyClassifier
        return model
