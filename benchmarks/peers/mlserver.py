"""MLServer with its repository API and, as by default, one worker process for all models' inference."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.open_inference import OpenInferencePeer
from benchmarks.peers.peer import SERVICES, Place

_IMPLEMENTATIONS = {
    "sklearn": ("mlserver_sklearn.SKLearnModel", "model.joblib"),
    "torch": (f"{SERVICES}.mlserver_runtime.TorchScript", ""),
}


class MlServerPeer(OpenInferencePeer):
    name = "mlserver"
    packages = ("mlserver", "mlserver-sklearn")
    holds = "the repository API loads and unloads; all in its one parallel worker (the default)"
    shown_command = "mlserver start FOLDER"

    def command(self, place: Place) -> Sequence[str | Path]:
        return [place.python.with_name("mlserver"), "start", place.models_dir]

    def configure(self, place: Place) -> None:
        http_port, grpc_port, metrics_port, *_ = place.ports
        settings = {
            "host": "127.0.0.1",
            "http_port": http_port,
            "grpc_port": grpc_port,
            "metrics_port": metrics_port,
            "debug": False,
            "load_models_at_startup": False,
        }
        (place.models_dir / "settings.json").write_text(json.dumps(settings))

    def prepare(self, place: Place, copy: Copy) -> None:
        implementation, file = _IMPLEMENTATIONS[copy.kind.framework]
        parameters = {"uri": str(copy.folder / file)}
        settings = {"name": copy.name, "implementation": implementation, "parameters": parameters}
        (copy.folder / "model-settings.json").write_text(json.dumps(settings))
