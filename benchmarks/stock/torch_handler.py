"""A TorchScript model behind stock MMS: a class with initialize and handle, and the function that MMS calls."""

import json
from pathlib import Path
from typing import Any

import torch


class ModelHandler:
    def __init__(self) -> None:
        self.model: Any = None

    def initialize(self, context: Any) -> None:
        path = Path(context.system_properties["model_dir"]) / "model.pt"
        self.model = torch.jit.load(str(path)).eval()  # type: ignore[no-untyped-call]

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        return [self._predict(row["body"]) for row in data]

    def _predict(self, body: bytes) -> str:
        with torch.inference_mode():
            return json.dumps(self.model(torch.tensor(json.loads(body))).tolist())


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    if _service.model is None:
        _service.initialize(context)
    return None if data is None else _service.handle(data, context)
