"""BentoML, which has no notion of many models: one service with a dictionary of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.peer import SERVICES, Peer, PeerCall, Place


class BentoMlPeer(Peer):
    name = "bentoml"
    packages = ("bentoml",)
    holds = "no notion of many models: a dictionary in its one worker process, never unloaded"
    shown_command = f"bentoml serve {SERVICES}.bentoml_service:Models"

    def command(self, place: Place) -> Sequence[str | Path]:
        service = f"{SERVICES}.bentoml_service:Models"
        options = ["--host", "127.0.0.1", "--port", str(place.ports[0])]
        return [place.python, "-m", "bentoml", "serve", service, *options]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"BENTOML_HOME": str(place.folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/readyz")

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        return PeerCall("POST", "/predict", json.dumps({"model": copy.name, "rows": json.loads(rows)}).encode())
