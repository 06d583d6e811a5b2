"""BentoML with one service that keeps a dictionary of models."""

from typing import Any

import bentoml

from benchmarks.peers.services.prediction import Predict, load, model_folder


@bentoml.service(traffic={"timeout": 300})  # s; on a busy machine the first answer may take longer than the default
class Models:
    def __init__(self) -> None:
        self._models: dict[str, Predict] = {}

    @bentoml.api
    def predict(self, model: str, rows: list[list[float]]) -> list[Any]:
        if model not in self._models:
            self._models[model] = load(model_folder(model))
        predictions: list[Any] = self._models[model](rows)
        return predictions
