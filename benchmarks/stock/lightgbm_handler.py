"""A model of LightGBM behind stock MMS: a class with initialize and handle, and the function that MMS calls."""

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np


class ModelHandler:
    def __init__(self) -> None:
        self.model: Any = None

    def initialize(self, context: Any) -> None:
        self.model = lightgbm.Booster(model_file=Path(context.system_properties["model_dir"]) / "model.txt")

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        return [self._predict(row["body"]) for row in data]

    def _predict(self, body: bytes) -> str:
        rows = np.asarray(json.loads(body), dtype=np.float32)
        return json.dumps(self.model.predict(rows).tolist())


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    if _service.model is None:
        _service.initialize(context)
    return None if data is None else _service.handle(data, context)
