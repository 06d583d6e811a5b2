"""What stands in for functions that a script with a session of onnxruntime lacks: arrays in, arrays out."""

from collections.abc import Mapping
from typing import Any

import numpy

from polyhost.handlers.base import HandlerRequest
from polyhost.handlers.body.payload import Rows
from polyhost.handlers.onnx.handler import OnnxHandler
from polyhost.handlers.script.defaults import Defaults


class OnnxDefaults(Defaults):
    """Calls the session with arrays by name as well, as an input_fn of onnxruntime's users gives them."""

    handler: OnnxHandler

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        if isinstance(data, Mapping) and data and all(isinstance(value, numpy.ndarray) for value in data.values()):
            return self.handler.forward(dict(data), self.handler.variant(request, Rows(data)))
        return super().predict(data, request)
