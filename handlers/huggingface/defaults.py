"""What SageMaker's Hugging Face image does for a script (sagemaker_huggingface_inference_toolkit.handler_service).

JSON reaches the script as it was sent, and a pipeline is called with the body's "inputs" and "parameters".
"""

from typing import Any

import torch

from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.body import decoders, images
from polyhost.handlers.body.media_types import CSV, IMAGE, JPEG, JSON, JSON_LINES, PNG, MediaType
from polyhost.handlers.body.payload import Picture, Rows
from polyhost.handlers.errors import BadBodyError
from polyhost.handlers.huggingface import calls
from polyhost.handlers.huggingface.handler import HuggingFaceHandler
from polyhost.handlers.torch.defaults import TorchDefaults
from polyhost.handlers.torch.handler import TorchHandler

_PARSED = (JSON, JSON_LINES)
_IMAGES = (IMAGE, JPEG, PNG)


class HuggingFaceDefaults(TorchDefaults):
    """A network that is called without a predict_fn is called on tensors, as in the PyTorch image.

    Without a model_fn the script gets the pipeline of the archive's model.
    """

    def __init__(self, handler: HuggingFaceHandler) -> None:
        super().__init__(TorchHandler(handler.settings))
        self._archive = handler

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        self._archive.load(source)
        pipeline = self._archive.model.pipeline
        self.use_model(pipeline, "the archive", source, predicts=predicts)
        return pipeline

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        super().use_model(model, origin, source, predicts=predicts)
        self._is_network = isinstance(model, torch.nn.Module)
        # A pipeline's method predict, if it has one, takes no parameters.
        self._function = model if callable(model) else self.handler.model

    def data(self, request: HandlerRequest) -> Any:
        media_type = MediaType.parse(request.content_type or JSON)
        if media_type.name in _PARSED:
            return decoders.parsed(request.body, media_type)
        if media_type.name == CSV:
            return {"inputs": calls.table(decoders.text(request.body, media_type))}
        if media_type.name in _IMAGES:
            return {"inputs": images.read(request.body).image.convert("RGB")}
        if media_type.name.startswith("audio/"):
            return {"inputs": bytes(request.body)}
        return super().data(request)

    def inputs(self, request: HandlerRequest) -> Any:
        return super().inputs(request) if self._is_network else self.data(request)

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        if self._is_network or isinstance(data, Rows | Picture):
            return super().predict(data, request)
        arguments = dict(data) if isinstance(data, dict) else {}
        inputs = arguments.pop("inputs", arguments or data)
        parameters = arguments.pop("parameters", None) or {}
        if not isinstance(parameters, dict):
            raise BadBodyError(f'"parameters" must be an object of named arguments; given {parameters!r}')
        with self.handler.without_gradients():
            return self._function(inputs, **parameters)

    def prediction(self, output: Any, data: Any) -> Any:
        return super().prediction(output, data) if self._is_network else self.arrays(output)
