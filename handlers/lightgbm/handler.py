"""LightGBM: a Booster, as `save_model` writes it."""

from collections.abc import Hashable
from typing import Any

import lightgbm
import numpy

from polyhost.handlers import recognition
from polyhost.handlers.base import Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body.payload import Inputs
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.lightgbm import models
from polyhost.handlers.number_columns import NumberColumns


class LightgbmHandler(BatchingHandler):
    """Serves what `Booster.predict` gives: a number for each row, or of several classes a row of probabilities."""

    def load(self, source: Source) -> None:
        path = recognition.only_file(source.directory, "lightgbm")
        self.use_model(models.read(path), path.name, source)

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        if not isinstance(model, lightgbm.Booster):
            raise BadModelError(
                f"{origin} gives a {type(model).__name__}, not a Booster; add a predict_fn that takes it"
            )
        self.model = model
        self._columns = NumberColumns(
            model.num_feature(), models.names(model), models.categories(model), dtype=numpy.float64
        )
        self.expected = self._columns.expected

    def features(self, inputs: Inputs) -> Any:
        return self._columns.table(inputs)

    def forward(self, features: Any, variant: Hashable) -> Any:
        return self.model.predict(features, num_threads=1)
