"""A model of Hugging Face's transformers behind stock MMS: a pipeline, called as SageMaker's own toolkit calls it."""

import json
from typing import Any

import transformers
from transformers import pipeline

transformers.utils.logging.disable_progress_bar()


class ModelHandler:
    def __init__(self) -> None:
        self.model: Any = None

    def initialize(self, context: Any) -> None:
        folder = context.system_properties["model_dir"]
        self.model = pipeline("text-classification", model=folder, device="cpu", local_files_only=True)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        return [self._predict(row["body"]) for row in data]

    def _predict(self, body: bytes) -> str:
        call = json.loads(body)
        return json.dumps(self.model(call["inputs"], **call.get("parameters", {})))


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    if _service.model is None:
        _service.initialize(context)
    return None if data is None else _service.handle(data, context)
