"""TorchServe with its management API: each model has a worker process."""

import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.peer import Peer, PeerCall, Place

_HANDLER = Path(__file__).parent / "services" / "torchserve_handler.py"


class TorchServePeer(Peer):
    name = "torchserve"
    packages = ("torchserve",)
    holds = "the management API registers a model and starts a Python process for it"
    shown_command = "torchserve --start --foreground --ncs --disable-token-auth --enable-model-api"

    def missing(self) -> str:
        if "JAVA_HOME" in os.environ or shutil.which("java"):
            return ""
        return "TorchServe needs a Java: put java on PATH, or set JAVA_HOME"

    def command(self, place: Place) -> Sequence[str | Path]:
        options = ["--start", "--foreground", "--ncs", "--disable-token-auth", "--enable-model-api"]
        config: list[str | Path] = [
            "--ts-config",
            place.folder / "config.properties",
            "--model-store",
            place.models_dir,
        ]
        return [place.python.with_name("torchserve"), *options, *config]

    def configure(self, place: Place) -> None:
        names = ("inference", "management", "metrics")
        lines = [f"{name}_address=http://127.0.0.1:{port}\n" for name, port in zip(names, place.ports, strict=False)]
        lines += ["enable_envvars_config=false\n", f"grpc_inference_port={place.ports[3]}\n"]
        lines.append(f"grpc_management_port={place.ports[4]}\n")
        lines += ["default_startup_timeout=300\n", "default_response_timeout=300\n"]  # for a busy machine
        (place.folder / "config.properties").write_text("".join(lines))

    def prepare(self, place: Place, copy: Copy) -> None:
        model = {"modelName": copy.name, "handler": _HANDLER.name, "modelVersion": "1.0"}
        with zipfile.ZipFile(_archive(place, copy), "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": model}))
            archive.write(_HANDLER, _HANDLER.name)
            for file in copy.folder.iterdir():
                archive.write(file, file.name)

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/ping")

    def load(self, place: Place, copy: Copy) -> PeerCall | None:
        query = f"url={_archive(place, copy).name}&model_name={copy.name}&initial_workers=1&synchronous=true"
        return PeerCall("POST", f"/models?{query}", admin=True)

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        return PeerCall("POST", f"/predictions/{copy.name}", rows)

    def unload(self, copy: Copy) -> PeerCall | None:
        return PeerCall("DELETE", f"/models/{copy.name}", admin=True)


def _archive(place: Place, copy: Copy) -> Path:
    return place.models_dir / f"{copy.name}.mar"
