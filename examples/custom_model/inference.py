"""A model with its own pre- and post-processing: nearest neighbours over scanned digits, sent as images."""

import io
import json
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier


def model_fn(model_dir: str) -> KNeighborsClassifier:
    return joblib.load(Path(model_dir) / "model.joblib")


def input_fn(request_body: bytes, request_content_type: str) -> NDArray[np.float32]:
    """Decode any image into one row of 64 grey pixels."""
    if not request_content_type.startswith(("image/", "application/x-image")):
        raise ValueError(f"send an image, not {request_content_type}")
    image = Image.open(io.BytesIO(request_body)).convert("L").resize((8, 8))
    return np.asarray(image, dtype=np.float32).reshape(1, 64)


def predict_fn(input_data: NDArray[np.float32], model: KNeighborsClassifier) -> dict[str, object]:
    distances, _ = model.kneighbors(input_data)
    return {"digit": int(model.predict(input_data)[0]), "nearest": round(float(distances[0, 0]), 1)}


def output_fn(prediction: dict[str, object], accept: str) -> tuple[str, str]:
    return json.dumps(prediction), "application/json"
