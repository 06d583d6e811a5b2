"""A model behind Triton's Python backend, which looks for this class; its folder in the repository has this file."""

from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as backend

from benchmarks.peers.services.prediction import load


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._predict = load(Path(args["model_repository"]) / "model")

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        rows = backend.get_input_tensor_by_name(request, "predict").as_numpy()
        found = np.asarray(self._predict(rows.tolist()), dtype=np.float32)
        return backend.InferenceResponse(output_tensors=[backend.Tensor("predictions", found)])
