"""What SageMaker's XGBoost image does for a script: a predict_fn without an input_fn gets a DMatrix for a Booster."""

from typing import Any

import xgboost

from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.body.payload import Picture, Rows
from polyhost.handlers.script import model_parts
from polyhost.handlers.script.defaults import Defaults, as_inputs
from polyhost.handlers.xgboost.handler import XgboostHandler


class XgboostDefaults(Defaults):
    """Matrices where the model is a Booster, or holds one."""

    handler: XgboostHandler

    def __init__(self, handler: XgboostHandler) -> None:
        super().__init__(handler)
        self._is_booster = False

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        self._is_booster = True
        return super().load(source, seen=seen, predicts=predicts)

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        super().use_model(model, origin, source, predicts=predicts)
        self._is_booster = any(isinstance(part, xgboost.Booster) for part in model_parts.parts(model))

    def array(self, array: Any, *, typed: bool) -> Any:
        return xgboost.DMatrix(array) if self._is_booster and array.dtype.kind in "biuf" else array

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        if isinstance(data, xgboost.DMatrix):
            return self.handler.model.predict(data, validate_features=False)
        inputs = data if isinstance(data, Rows | Picture) else as_inputs(data, self.handler.expected)
        return self.handler.predict(inputs, request)
