"""A peer's server as a child process, and a client of it that costs little."""

import http.client
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.client import ResponseError
from benchmarks.models import Kind
from benchmarks.peers.peer import Peer, PeerCall, PeerError, Place
from benchmarks.servers import ROOT, STOP_S
from polyhost.processes import ProcessError, ServerProcess, free_port

_INHERITED = ("JAVA_HOME", "LANG")
_START_S = 240.0
_POLL_INTERVAL_S = 0.005
_CALL_S = 300.0


class PeerClient:
    """Calls to one server, on a kept connection to each of its two ports."""

    def __init__(self, place: Place, timeout_s: float = _CALL_S) -> None:
        self._connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s) for port in place.ports[:2]
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reconnect()

    def reconnect(self) -> None:
        """Close the connections, of which a server may have closed its end; the next calls open others."""
        for connection in self._connections:
            connection.close()

    def call(self, call: PeerCall) -> bytes:
        """Return the body of the response. Raise ResponseError unless it is 200."""
        headers = {"Content-Type": call.content_type} if call.body else {}
        if call.header:
            headers |= dict([call.header])
        connection = self._connections[call.admin]
        connection.request(call.method, call.path, call.body or None, headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            text = body[:500].decode(errors="replace")
            raise ResponseError(f"{response.status} from {call.method} {call.path}: {text}")
        return body


@dataclass(frozen=True)
class PeerServer:
    """A server that runs."""

    peer: Peer
    place: Place
    process: ServerProcess
    started: float  # time.perf_counter() just before the process was started

    @property
    def port(self) -> int:
        return self.place.ports[0]

    def client(self) -> PeerClient:
        return PeerClient(self.place)

    def is_ready(self) -> bool:
        try:
            with self.client() as client:
                client.call(self.peer.ready())
        except (OSError, http.client.HTTPException, ResponseError):
            return False
        return True


@contextmanager
def running_peer(peer: Peer, kind: Kind) -> Iterator[PeerServer]:
    """Run a server that is ready for as long as the block runs.

    Raises PeerError, with the end of the server's log, if a request in the block fails.
    """
    # A short path: the paths of sockets, which have 107 bytes at most, lie below it.
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as folder:
        place = Place(peer.environment.python, Path(folder), kind, [free_port() for _ in range(5)])
        server = _start(peer, place)
        try:
            server.process.wait_until(server.is_ready, timeout_s=_START_S, poll_interval_s=_POLL_INTERVAL_S)
            yield server
        except (ResponseError, OSError, http.client.HTTPException) as error:
            raise PeerError(f"{error}\n{server.process.log_tail()}") from error
        finally:
            with suppress(ProcessError):  # too slow for the time-out: then it has been killed
                server.process.stop(STOP_S)
            server.process.kill()  # whatever the server's own stop leaves behind


def _start(peer: Peer, place: Place) -> PeerServer:
    place.models_dir.mkdir()
    temporary = place.folder / "tmp"
    temporary.mkdir()
    peer.configure(place)
    path = os.pathsep.join([str(place.python.parent), os.environ.get("PATH", os.defpath)])
    environ = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PATH": path,  # as in an activated environment: some start `python`
        "HOME": str(place.folder),  # where some write their caches
        "MODELS_DIR": str(place.models_dir),
        "PYTHONPATH": str(ROOT),
        **{name: str(temporary) for name in ("TEMP", "TMPDIR")},
        **peer.environ(place),
    }
    started = time.perf_counter()
    process = ServerProcess(peer.command(place), place.folder / "server.log", environ=environ, cwd=place.folder)
    return PeerServer(peer, place, process, started)
