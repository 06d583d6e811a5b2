"""A runtime of MLServer for TorchScript, for which MLServer itself has none."""

from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.services.prediction import load


class TorchScript(MLModel):
    async def load(self) -> bool:
        self._predict = load(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        found = np.asarray(self._predict(rows.tolist()))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("predict", found)])
