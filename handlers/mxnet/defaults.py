"""What SageMaker's MXNet image does for a script (sagemaker_mxnet_serving_container.default_inference_handler).

NDArrays in and out, of 32 bits, on the model's context; for a module batches of its size.
"""

from typing import Any

from polyhost.handlers import tensors
from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.body.payload import Picture, Rows
from polyhost.handlers.errors import phase
from polyhost.handlers.mxnet import models as mxnet_models
from polyhost.handlers.mxnet.handler import MxnetHandler, context
from polyhost.handlers.script.defaults import Defaults, as_inputs


class MxnetDefaults(Defaults):
    """A predict_fn gets an NDArray, or for a module an iterator of batches."""

    handler: MxnetHandler

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        if not seen:
            return super().load(source, seen=seen, predicts=predicts)
        model = self.handler.read_module(source)
        self.use_model(model, "the archive", source, predicts=True)
        return model

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        self._place = mxnet_models.MxnetPlace(model, context(source.gpu_id))
        module = mxnet_models.module(model)
        bound = module is not None and module.binded and module.params_initialized
        self._module = mxnet_models.ModuleNetwork(module, origin) if bound else None
        super().use_model(model, origin, source, predicts=predicts)

    def array(self, array: Any, *, typed: bool) -> Any:
        if array.dtype.kind not in "biuf":
            return array
        if self._module is not None:
            return self._module.iterator(tensors.fill(Rows(array), self._module.inputs))
        return mxnet_models.ndarray(tensors.numbers(array), self._place.context)

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        if isinstance(data, Rows | Picture):
            with phase("decode"):
                features = self.handler.features(data)
            return self.handler.run(features)
        if mxnet_models.is_iterator(data):
            return self.handler.run_batches(data)
        given = data if isinstance(data, list | tuple) else [data]
        if given and all(map(mxnet_models.is_array, given)):
            return self.handler.run_arrays(given)
        return self.predict(as_inputs(data, self.handler.expected), request)

    def prediction(self, output: Any, data: Any) -> Any:
        inputs = data if isinstance(data, Rows | Picture) else Rows(data)
        outputs = mxnet_models.arrays(output)
        return self.handler.interpret(outputs if isinstance(outputs, list) else [outputs], inputs)

    def arrays(self, value: Any) -> Any:
        return mxnet_models.arrays(value)
