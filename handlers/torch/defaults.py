"""What SageMaker's PyTorch image does for a script (its module default_pytorch_inference_handler).

Tensors in, evaluation without gradients, tensors out. Two differences: inputs go where the model is, and no model is
moved; and what a handler's `features` takes, such as objects with a shapes.json, is taken too.
"""

from collections.abc import Mapping
from typing import Any

import torch

from polyhost.handlers import tensors
from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.body.payload import Picture, Rows
from polyhost.handlers.errors import phase
from polyhost.handlers.script.defaults import Defaults, as_inputs
from polyhost.handlers.torch import models as torch_models
from polyhost.handlers.torch.handler import TorchHandler, device


class TorchDefaults(Defaults):
    """Tensors on the model's device: of 32 bits for JSON and CSV, of the array's own type for NPY."""

    handler: TorchHandler

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        # As in that image. Tensors of the inference mode could not be changed in place by the script's own output_fn.
        self.handler.without_gradients = torch.no_grad
        model = super().load(source, seen=seen, predicts=predicts)
        self._place = torch_models.TorchPlace(model, device(source.gpu_id))
        return model

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        self._place = torch_models.TorchPlace(model, device(source.gpu_id))
        super().use_model(model, origin, source, predicts=predicts)
        if not predicts:
            torch_models.warn_if_trained(model, origin)

    def array(self, array: Any, *, typed: bool) -> Any:
        if array.dtype.kind not in "biufc":
            return array
        return torch_models.tensor(array if typed else tensors.numbers(array)).to(self._place.device)

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        match data:
            case Rows() | Picture():
                with phase("decode"):
                    features = self.handler.features(data)
                return self.handler.run(*map(torch_models.tensor, features.values()))
            case tuple() if _are_tensors(data):
                return self.handler.run(*data)
            case Mapping() if _are_tensors(data.values()) and not hasattr(data, "to"):
                return self.handler.run(**data)
            case list() if _are_tensors(data):
                return self.handler.run(data)
        if hasattr(data, "to"):  # a tensor, or what a tokenizer gives
            return self.handler.run(data)
        return self.predict(as_inputs(data, self.handler.expected), request)

    def prediction(self, output: Any, data: Any) -> Any:
        inputs = data if isinstance(data, Rows | Picture) else Rows(data)
        return self.handler.interpret(torch_models.outputs(output), inputs)

    def arrays(self, value: Any) -> Any:
        return torch_models.arrays(value)


def _are_tensors(values: Any) -> bool:
    return bool(values) and all(isinstance(value, torch.Tensor) for value in values)
