"""FastAPI behind uvicorn, the models in its one process."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.peer import SERVICES, Peer, PeerCall, Place


class FastApiPeer(Peer):
    name = "fastapi"
    packages = ("fastapi", "uvicorn")
    holds = "a dictionary in the one process; a model is loaded by its first request"
    shown_command = f"uvicorn --factory {SERVICES}.fastapi_service:make_app"

    def command(self, place: Place) -> Sequence[str | Path]:
        app = f"{SERVICES}.fastapi_service:make_app"
        options = ["--host", "127.0.0.1", "--port", str(place.ports[0]), "--no-access-log"]
        return [place.python, "-m", "uvicorn", "--factory", app, *options]

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/ready")

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        return PeerCall("POST", f"/models/{copy.name}", rows)

    def unload(self, copy: Copy) -> PeerCall | None:
        return PeerCall("DELETE", f"/models/{copy.name}")
