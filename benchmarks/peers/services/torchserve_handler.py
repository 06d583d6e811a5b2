"""A model behind TorchServe; its archive contains this file."""

from pathlib import Path
from typing import Any

from benchmarks.peers.services.prediction import Predict, load


class ModelHandler:
    def initialize(self, context: Any) -> None:
        self._predict: Predict = load(Path(context.system_properties["model_dir"]))

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        return [self._predict(row["body"]) for row in data]  # TorchServe has decoded the JSON
