"""LitServe, which has no notion of many models: one API with a dictionary of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.models import Copy
from benchmarks.peers.peer import SERVICES, Peer, PeerCall, Place


class LitServePeer(Peer):
    name = "litserve"
    packages = ("litserve",)
    holds = "no notion of many models: a dictionary in its one worker process, never unloaded"
    shown_command = f"python -m {SERVICES}.litserve_service"

    def command(self, place: Place) -> Sequence[str | Path]:
        return [place.python, "-m", f"{SERVICES}.litserve_service", str(place.ports[0])]

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/health")

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        return PeerCall("POST", "/predict", json.dumps({"model": copy.name, "rows": json.loads(rows)}).encode())

    def prediction(self, response: bytes) -> Any:
        return json.loads(response)["predictions"]
