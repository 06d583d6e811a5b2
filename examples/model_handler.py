"""Your own handler, in the style of MMS's examples: a class, and the module-level function that MMS calls.

It serves MXNet image classifiers packed as NAME-symbol.json, NAME-0000.params, NAME-shapes.json and synset.txt:

    polyhost serve --base-dir ./ml --handler "$PWD/examples/model_handler.py:handle"
"""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
from PIL import Image

MODES = {1: "L", 3: "RGB"}


class Batch(NamedTuple):
    """The argument of Module.forward."""

    data: list[Any]


class ModelHandler:
    """Loads one model when the container loads it, and returns the five likeliest classes of each image."""

    def __init__(self) -> None:
        self.initialized = False
        self.module: Any = None
        self.shape: list[int] = []
        self.labels: list[str] = []

    def initialize(self, context: Any) -> None:
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        symbol = next(folder.glob("*-symbol.json"))
        prefix = str(symbol).removesuffix("-symbol.json")
        (signature,) = json.loads(Path(f"{prefix}-shapes.json").read_text())
        self.shape = signature["shape"]
        self.labels = (folder / "synset.txt").read_text().splitlines()
        try:
            self.module = self._bind(prefix, signature["name"], properties.get("gpu_id"))
        except mx.base.MXNetError as error:
            if "Failed to allocate" in str(error) or "out of memory" in str(error):
                raise MemoryError(str(error)) from error  # status 507: SageMaker unloads other models and tries again
            raise
        self.initialized = True

    def _bind(self, prefix: str, name: str, gpu_id: int | None) -> Any:
        device = mx.cpu() if gpu_id is None or int(gpu_id) < 0 else mx.gpu(int(gpu_id))
        symbol, arguments, auxiliary = mx.model.load_checkpoint(prefix, 0)
        module = mx.mod.Module(symbol, context=device, data_names=[name], label_names=None)
        module.bind(for_training=False, data_shapes=[(name, tuple(self.shape))])
        module.set_params(arguments, auxiliary, allow_missing=True)
        return module

    def preprocess(self, body: bytes) -> Any:
        _, channels, height, width = self.shape
        image = Image.open(io.BytesIO(body)).convert(MODES[channels]).resize((width, height))
        pixels = np.asarray(image, dtype=np.float32).reshape(height, width, channels)
        return mx.nd.array(pixels.transpose(2, 0, 1)[None])

    def inference(self, data: Any) -> Any:
        self.module.forward(Batch([data]), is_train=False)
        return self.module.get_outputs()[0].asnumpy()[0]

    def postprocess(self, probabilities: Any) -> list[str]:
        likeliest = np.argsort(probabilities)[::-1][:5]
        return [f"probability={probabilities[index]:f}, class={self.labels[index]}" for index in likeliest]

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[list[str]]:
        return [self.postprocess(self.inference(self.preprocess(row["body"]))) for row in data]


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[list[str]] | None:
    if not _service.initialized:
        _service.initialize(context)
    return None if data is None else _service.handle(data, context)
