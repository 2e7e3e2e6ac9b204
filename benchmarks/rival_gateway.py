"""The rival: what a team writes first. FastAPI, pydantic, ``def predict``; it logs nothing."""

import os

import lightgbm
import numpy as np
from fastapi import FastAPI
from pydantic import create_model

booster = lightgbm.Booster(model_file=os.environ["MODEL_FILE"])
names = booster.feature_name()
Row = create_model("Row", **dict.fromkeys(names, (float, ...)))
Request = create_model("Request", rows=(list[Row], ...))
app = FastAPI()


@app.post("/predict")
def predict(request: Request) -> dict:  # type: ignore[valid-type, type-arg]
    matrix = np.array([[getattr(row, name) for name in names] for row in request.rows])  # type: ignore[attr-defined]
    return {"predictions": [{"score": score} for score in booster.predict(matrix, num_threads=1).tolist()]}
