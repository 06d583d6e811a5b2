"""What SageMaker's scikit-learn image does for a script: arrays.

XGBoost's and LightGBM's estimators of scikit-learn's kind get them too, which SageMaker's XGBoost image does not do.
"""

from typing import Any

from polyhost.handlers.base import Source
from polyhost.handlers.script.defaults import Defaults
from polyhost.handlers.sklearn.handler import SklearnHandler


class SklearnDefaults(Defaults):
    """Arrays; a predict_fn of the script takes any object that is pickled."""

    handler: SklearnHandler

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        if predicts:
            return super().load(source, seen=seen, predicts=predicts)
        model, origin = self.handler.read(source)  # any object: a predict_fn of the script takes it
        self.use_model(model, origin, source, predicts=False)
        return model
