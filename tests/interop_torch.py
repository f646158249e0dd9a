"""Import of PyTorch models, from modules and from the files of both of PyTorch's ONNX exporters.

Run by `make interop`, not by `make test`, because PyTorch takes gigabytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyrs
import torch
from torch import nn

X = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
TORCH = {
    "tanh": lambda: [nn.Linear(7, 32), nn.Tanh(), nn.Linear(32, 20), nn.Tanh(), nn.Linear(20, 3)],
    "relu and softmax": lambda: [nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1)],
    "gelu": lambda: [nn.Linear(7, 32), nn.GELU(approximate="tanh"), nn.Linear(32, 3)],
    "silu and dropout": lambda: [nn.Linear(7, 32), nn.SiLU(), nn.Dropout(0.3), nn.Linear(32, 3)],
    "selu, nested": lambda: [nn.Sequential(nn.Linear(7, 32), nn.SELU()), nn.Linear(32, 3), nn.LogSoftmax(1)],
    "leaky relu": lambda: [nn.Flatten(), nn.Linear(7, 32, bias=False), nn.LeakyReLU(), nn.Linear(32, 3)],
    "batch normalisation": lambda: [
        nn.BatchNorm1d(7),
        nn.Linear(7, 32),
        nn.BatchNorm1d(32, affine=False),
        nn.ReLU(),
        nn.BatchNorm1d(32),
        nn.Linear(32, 3),
    ],
    "one sigmoid": lambda: [nn.Linear(7, 32), nn.Sigmoid(), nn.Linear(32, 1), nn.Sigmoid()],
}


def export(model: Any, x: Any, path: Path, dynamo: bool) -> Path:
    if dynamo:
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=({0: torch.export.Dim("n")},))
    else:
        torch.onnx.export(
            model, (x,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}, verbose=False
        )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", TORCH)
def test_torch(tmp_path: Path, name: str, double: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*TORCH[name]())
    x = torch.from_numpy(X)
    model.train()
    for _ in range(5):  # batch statistics that differ from those of x
        model(3 * x + 1)
    model.eval()
    model, x = (model.double(), x.double()) if double else (model, x)
    with torch.no_grad():
        out = model(x)
    logits = "softmax" if isinstance(model[-1], nn.Linear) else None
    if logits or isinstance(model[-1], nn.LogSoftmax):
        out = torch.softmax(out, 1)
    want = out.numpy()
    # One sigmoid is the probability of the second of two classes.
    want = np.hstack([1 - want, want]) if want.shape[1] == 1 else want
    for predictor in (
        tinyrs.from_torch(model, logits=logits),
        tinyrs.from_onnx(export(model, x, tmp_path / "dynamo.onnx", True), logits=logits),
        tinyrs.from_onnx(export(model, x, tmp_path / "script.onnx", False), logits=logits),
    ):
        np.testing.assert_allclose(
            predictor.predict_proba(x.numpy()), want, rtol=0, atol=1e-12 if double else 1e-6
        )


@pytest.mark.filterwarnings("ignore")
def test_unsupported_modules_raise(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(7, 32), nn.GELU(), nn.Linear(32, 3), nn.Softmax(1)).eval()
    with pytest.raises(ValueError, match=r"layer 1 \(GELU\): expected approximate='tanh', got 'none'"):
        tinyrs.from_torch(model)
    path = export(model, torch.from_numpy(X), tmp_path / "model.onnx", True)
    with pytest.raises(ValueError, match=r"Gelu.*expected an activation that tinyrs has"):
        tinyrs.from_onnx(path)
