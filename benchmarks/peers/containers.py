"""polyhost's two front ends and the stock stack, measured as the peers are."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.environments import Environment
from benchmarks.peers.peer import Peer, PeerCall, Place
from benchmarks.servers import Stack, container_environ, native, polyhost, stock


class ContainerPeer(Peer):
    """A server with the API of SageMaker's containers, in an environment that is there already."""

    def __init__(
        self,
        name: str,
        python: Path,
        packages: Sequence[str],
        holds: str,
        shown_command: str,
        stack: Callable[[Place], Stack],
    ) -> None:
        self.name = name
        self.packages = packages
        self.holds = holds
        self.shown_command = shown_command
        self._environment = Environment(python, None)
        self._stack = stack

    @property
    def environment(self) -> Environment:
        return self._environment

    def command(self, place: Place) -> Sequence[str | Path]:
        return self._stack(place).command

    def environ(self, place: Place) -> Mapping[str, str]:
        return container_environ(self._stack(place), place.folder, place.ports[0])

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/ping")

    def load(self, place: Place, copy: Copy) -> PeerCall | None:
        return PeerCall("POST", "/models", json.dumps({"model_name": copy.name, "url": str(copy.folder)}).encode())

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        return PeerCall("POST", f"/models/{copy.name}/invoke", rows)

    def unload(self, copy: Copy) -> PeerCall | None:
        return PeerCall("DELETE", f"/models/{copy.name}")


def native_peer() -> Peer:
    return ContainerPeer(
        "polyhost, native", Path(sys.executable), ("polyhost",),
        "a process for each model, forked from one that has imported the framework; confined by the kernel",
        "POLYHOST_FRONTEND=native polyhost serve", lambda place: native(),
    )  # fmt: skip


def mms_peer() -> Peer:
    return ContainerPeer(
        "polyhost, MMS", Path(sys.executable), ("polyhost", "multi-model-server"),
        "the same, behind Multi Model Server", "polyhost serve", lambda place: polyhost(),
    )  # fmt: skip


def stock_peer(python: Path) -> Peer:
    return ContainerPeer(
        "stock", python, ("multi-model-server", "sagemaker-inference"),
        "a new Python process for each model", "benchmarks/stock/serve.py",
        lambda place: stock(python, place.kind.framework),
    )  # fmt: skip
