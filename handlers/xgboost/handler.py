"""XGBoost: a Booster, as `save_model` writes it, or as SageMaker's image stores it."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import xgboost
from xgboost.core import XGBoostError

from polyhost.handlers import recognition
from polyhost.handlers.base import Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body.payload import Inputs
from polyhost.handlers.errors import BadBodyError, BadModelError
from polyhost.handlers.number_columns import NumberColumns
from polyhost.handlers.xgboost import models

_WRONG_INPUT = "Input data contains"  # infinity, which a matrix of XGBoost does not take


class XgboostHandler(BatchingHandler):
    """Serves what `Booster.predict` gives: a number for each row, or of several classes or targets a row of numbers."""

    def load(self, source: Source) -> None:
        path = recognition.only_file(source.directory, "xgboost")
        self.use_model(models.read(path), path.name, source)

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        if not isinstance(model, xgboost.Booster):
            raise BadModelError(
                f"{origin} gives a {type(model).__name__}, not a Booster; add a predict_fn that takes it"
            )
        self.model = model
        columns = model.num_features()
        self._columns = NumberColumns(columns, model.feature_names or (), models.categories(model))
        self.expected = replace(self._columns.expected, sparse_columns=columns)
        self._rounds = (0, models.best_iterations(model))
        self._call: Callable[[Any], Any] = self._in_place if models.predicts_in_place(model) else self._by_matrix

    def features(self, inputs: Inputs) -> Any:
        return self._columns.table(inputs)

    def forward(self, features: Any, variant: Hashable) -> Any:
        try:
            return self._call(features)
        except XGBoostError as error:
            reason = models.reason(error)
            if _WRONG_INPUT in reason:
                raise BadBodyError(f"the model cannot take the input: {reason}") from error
            raise XGBoostError(reason) from error  # without addresses; by its class a lack of memory is told

    def _in_place(self, features: Any) -> Any:
        return self.model.inplace_predict(features, iteration_range=self._rounds, validate_features=False)

    def _by_matrix(self, features: Any) -> Any:
        matrix = xgboost.DMatrix(features, nthread=1)
        return self.model.predict(matrix, iteration_range=self._rounds, validate_features=False)
