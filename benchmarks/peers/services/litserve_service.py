"""LitServe with one API whose worker keeps a dictionary of models: `python -m ...litserve_service PORT`."""

import sys
from typing import Any

import litserve

from benchmarks.peers.services.prediction import Predict, Rows, load, model_folder


class ModelsApi(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._models: dict[str, Predict] = {}

    def decode_request(self, request: dict[str, Any]) -> tuple[str, Rows]:
        return request["model"], request["rows"]

    def predict(self, x: tuple[str, Rows]) -> Any:
        name, rows = x
        if name not in self._models:
            self._models[name] = load(model_folder(name))
        return self._models[name](rows)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": output}


def main(port: str) -> None:
    server = litserve.LitServer(ModelsApi(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
