"""What SageMaker's scikit-learn and XGBoost images do for a script: arrays, and a DMatrix for XGBoost's own models.

XGBoost's estimators of scikit-learn's kind take arrays, which that image does not give them.
"""

import sys
from typing import Any

from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.body.payload import Picture, Rows
from polyhost.handlers.script import model_parts
from polyhost.handlers.script.defaults import Defaults, as_inputs
from polyhost.handlers.sklearn.handler import SklearnHandler


class SklearnDefaults(Defaults):
    """Arrays, or for a Booster of XGBoost its matrices."""

    handler: SklearnHandler

    def __init__(self, handler: SklearnHandler) -> None:
        super().__init__(handler)
        self._matrix: Any = None

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        if predicts:
            return super().load(source, seen=seen, predicts=predicts)
        model, origin = self.handler.read(source)  # any object: a predict_fn of the script takes it
        self.use_model(model, origin, source, predicts=False)
        return model

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        super().use_model(model, origin, source, predicts=predicts)
        if any(_is_booster(part) for part in model_parts.parts(model)):
            self._matrix = sys.modules["xgboost"].DMatrix

    def array(self, array: Any, *, typed: bool) -> Any:
        return array if self._matrix is None or array.dtype.kind not in "biuf" else self._matrix(array)

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        if self._matrix is None or not _is_booster(self.handler.model):
            return super().predict(data, request)
        if not isinstance(data, self._matrix):
            inputs = data if isinstance(data, Rows | Picture) else as_inputs(data, self.handler.expected)
            data = self._matrix(self.handler.features(inputs))
        return self.handler.model.predict(data, validate_features=False)


def _is_booster(value: Any) -> bool:
    return (type(value).__module__.partition(".")[0], type(value).__name__) == ("xgboost", "Booster")
