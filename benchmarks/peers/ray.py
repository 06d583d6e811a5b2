"""Ray Serve with model multiplexing: one replica that loads a model when a request names it in a header."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.peer import SERVICES, Peer, PeerCall, Place

_START_S = 200  # on a busy machine; by default it gives up after half a minute


class RayServePeer(Peer):
    name = "ray"
    packages = ("ray",)
    holds = "`serve.multiplexed` in one replica, a process; the least recently used go beyond a number"
    shown_command = f"python -m {SERVICES}.ray_service"

    def command(self, place: Place) -> Sequence[str | Path]:
        return [place.python, "-m", f"{SERVICES}.ray_service", str(place.ports[0]), place.folder / "ray"]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": str(_START_S)}

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/")

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        return PeerCall("POST", "/", rows, header=("serve_multiplexed_model_id", copy.name))
