"""What the benchmark needs to know of a model server: how it is started, and its requests."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import Copy, Kind
from benchmarks.peers.environments import Environment

SERVICES = "benchmarks.peers.services"


class PeerError(Exception):
    """A peer that cannot be installed or run here, or that answers wrongly; the message says why."""


@dataclass(frozen=True)
class Place:
    """What one server of a peer gets: a Python, a folder of its own, ports of 127.0.0.1, and models of one kind."""

    python: Path
    folder: Path
    kind: Kind
    ports: Sequence[int]  # of requests, of the administration, and three for whatever else it listens on

    @property
    def models_dir(self) -> Path:
        return self.folder / "models"


@dataclass(frozen=True)
class PeerCall:
    """One HTTP request. An `admin` call goes to the second port; `header` is one more header."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/json"
    header: tuple[str, str] | None = None
    admin: bool = False


class Peer(ABC):
    """A model server. What is not abstract suits one that loads a model when it is first asked for."""

    name: str
    packages: Sequence[str]
    """The packages whose versions the report names."""
    holds: str
    """How it holds many models, for the report."""
    shown_command: str
    """How it is started, for the report."""

    @property
    def environment(self) -> Environment:
        return Environment.of(self.name)

    def missing(self) -> str:
        """Return what this machine lacks for this peer, or nothing."""
        return ""

    @abstractmethod
    def command(self, place: Place) -> Sequence[str | Path]: ...

    def environ(self, place: Place) -> Mapping[str, str]:
        """Return environment variables beside those that every server gets."""
        return {}

    def configure(self, place: Place) -> None:  # noqa: B027 - most need none
        """Write the server's files below `place.folder` before it starts."""

    def prepare(self, place: Place, copy: Copy) -> None:  # noqa: B027 - most take it as it is
        """Give a copy of a model the form that this server takes, before the clock starts."""

    @abstractmethod
    def ready(self) -> PeerCall:
        """Return the request that succeeds once the server can be given a model."""

    def load(self, place: Place, copy: Copy) -> PeerCall | None:
        return None

    @abstractmethod
    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        """Return the request for a prediction; `rows` is a JSON list of rows."""

    def unload(self, copy: Copy) -> PeerCall | None:
        return None

    def prediction(self, response: bytes) -> Any:
        """Return the predictions, as a list, in the body of a response."""
        return json.loads(response)
