"""Serves a model with FastAPI: one row or several as JSON.

MODEL=model.safetensors uvicorn --app-dir examples/serve fastapi_app:app --workers 2

curl localhost:8000/predict --json '[{"length": 1.5, "width": 0.2, "colour": "red"}]'
"""

from __future__ import annotations

import os
from typing import Any

import tinyrs
from fastapi import FastAPI, HTTPException

model = tinyrs.load(os.environ["MODEL"])
assert isinstance(model, tinyrs.Predictor)
app = FastAPI(title="tinyrs")


@app.get("/health")
async def health() -> dict[str, float]:
    """The largest difference between outputs computed here and those that the model's file holds."""
    return {"self_test": model.verify()}


# A row takes microseconds: it is predicted in the event loop, faster than a thread could be woken.
@app.post("/predict")
async def predict(rows: list[dict[str, Any]]) -> list[dict[Any, float]]:
    """The probability of each class for each row."""
    try:
        return [model.predict_proba_one(row) for row in rows]
    except (ValueError, TypeError) as error:
        raise HTTPException(422, str(error)) from None
