"""An MXNet image classifier behind stock MMS: a class with initialize and handle, and the function that MMS calls."""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# MXNet 1.9.1 needs a name that numpy 1.24 removed.
setattr(np, "bool", np.bool_)  # noqa: B010
import mxnet as mx  # noqa: E402


class Batch(NamedTuple):
    """The argument of Module.forward."""

    data: list[Any]


class ModelHandler:
    def __init__(self) -> None:
        self.model: Any = None
        self.shape: tuple[int, ...] = ()
        self.labels: list[str] = []

    def initialize(self, context: Any) -> None:
        folder = Path(context.system_properties["model_dir"])
        prefix = str(next(folder.glob("*-symbol.json"))).removesuffix("-symbol.json")
        (signature,) = json.loads(Path(f"{prefix}-shapes.json").read_bytes())
        self.shape = tuple(signature["shape"])
        self.labels = (folder / "synset.txt").read_text().splitlines()
        symbol, arguments, auxiliary = mx.model.load_checkpoint(prefix, 0)
        self.model = mx.mod.Module(symbol, context=mx.cpu(), data_names=[signature["name"]], label_names=None)
        self.model.bind(for_training=False, data_shapes=[(signature["name"], self.shape)])
        self.model.set_params(arguments, auxiliary, allow_missing=True)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        return [self._predict(row["body"]) for row in data]

    def _predict(self, body: bytes) -> str:
        self.model.forward(Batch([self._pixels(body)]), is_train=False)
        scores = self.model.get_outputs()[0].asnumpy()[0]
        powers = np.exp(scores - scores.max())
        probabilities = powers / powers.sum()
        best = np.argsort(-probabilities)[:5]
        return json.dumps([f"probability={probabilities[index]:f}, class={self.labels[index]}" for index in best])

    def _pixels(self, body: bytes) -> Any:
        _, _, height, width = self.shape
        image = Image.open(io.BytesIO(body)).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        return mx.nd.array(np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None])


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    if _service.model is None:
        _service.initialize(context)
    return None if data is None else _service.handle(data, context)
