"""Serves a model with the V2 inference protocol of KServe, Triton and MLServer (REST).

MODEL=model.safetensors uvicorn --app-dir examples/serve v2_app:app --port 8080

KServe runs it as a custom predictor: a container with this command. Each column is an input of shape (rows,)
or (rows, 1), and the outputs are `label` and `probabilities`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tinyrs
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

NAME = os.environ.get("MODEL_NAME", "tinyrs")
model = tinyrs.load(os.environ["MODEL"])
assert isinstance(model, tinyrs.Predictor)
app = FastAPI(title="tinyrs")


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Request(BaseModel):
    inputs: list[Tensor]
    id: str | None = None


class Response(BaseModel):
    model_name: str
    id: str | None
    outputs: list[Tensor]


@app.get("/v2/health/live")
@app.get("/v2/health/ready")
@app.get(f"/v2/models/{NAME}/ready")
async def ready() -> dict[str, bool]:
    return {"live": True, "ready": True}


@app.get("/v2")
async def server() -> dict[str, Any]:
    return {"name": "tinyrs", "version": tinyrs.__version__, "extensions": []}


@app.get(f"/v2/models/{NAME}")
async def metadata() -> dict[str, Any]:
    names = model.feature_names_in_ or [str(i) for i in range(model.n_features_in_)]
    # The type that a request names is for its reader: JSON has numbers, strings and booleans.
    inputs = [{"name": name, "datatype": "BYTES", "shape": [-1, 1]} for name in names]
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(model.classes_)]},
    ]
    return {"name": NAME, "versions": [], "platform": "tinyrs", "inputs": inputs, "outputs": outputs}


@app.post(f"/v2/models/{NAME}/infer")
async def infer(request: Request) -> Response:
    rows = {len(tensor.data) for tensor in request.inputs}
    if len(rows) != 1:
        raise HTTPException(400, f"inputs: expected as many values in each, got {sorted(rows)}")
    columns = {tensor.name: tensor.data for tensor in request.inputs}
    table = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    try:
        p = model.predict_proba(table)
    except (ValueError, TypeError) as error:
        raise HTTPException(400, str(error)) from None
    labels = [str(label) for label in model.classes_[p.argmax(axis=1)]]
    probabilities = np.asarray(p, np.float32)
    outputs = [
        Tensor(name="label", shape=[len(labels)], datatype="BYTES", data=labels),
        Tensor(
            name="probabilities",
            shape=list(p.shape),
            datatype="FP32",
            data=probabilities.ravel().tolist(),
        ),
    ]
    return Response(model_name=NAME, id=request.id, outputs=outputs)
