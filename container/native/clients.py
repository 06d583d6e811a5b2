"""The clients' connections of one port: accepted, ended when they stall, and drained at the end."""

import asyncio
import resource
import time
from collections.abc import Callable

from polyhost.container.config import Config, Optimization
from polyhost.container.native.connection import ClientConnection, RequestHandler
from polyhost.container.native.queue import PendingBytes

_BACKLOG = 2048
_REQUEST_TIMEOUT_S = 60.0  # for one request to arrive whole: SageMaker gives the whole invocation no more
_WRITE_TIMEOUT_S = 30.0  # a client that takes nothing of a streamed response holds up a worker
# The platform keeps connections, and a request that crosses our end of one is lost: so one ends only after an hour. In
# a crowd, which the platform does not need, idle ones take descriptors from others.
_IDLE_TIMEOUT_S, _CROWDED_IDLE_TIMEOUT_S, _CROWD = 3600.0, 60.0, 2000
_CHECK_INTERVAL_S = 5.0
_POLL_INTERVAL_S = 0.02


class Clients:
    """Serves clients by `handle` from `listen` until `stop_listening`."""

    def __init__(self, config: Config, handle: RequestHandler, pending: PendingBytes) -> None:
        self._config = config
        self._handle = handle
        self._pending = pending
        self._cache_headers = config.enabled(Optimization.HEADER_CACHE)
        self._connections: set[ClientConnection] = set()
        self._crowd = min(_CROWD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Accept connections. Raises OSError if the port is taken."""
        loop = asyncio.get_running_loop()
        config = self._config
        self._server = await loop.create_server(self._new_connection, config.host, config.port, backlog=_BACKLOG)
        loop.call_later(_CHECK_INTERVAL_S, self._check)

    def stop_listening(self) -> None:
        """Accept no more connections, and let those that there are end when they are answered."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close_when_idle()

    async def wait_until_answered(self, seconds: float, given_up: Callable[[], bool] = lambda: False) -> None:
        """Return when all requests that have come are answered, after some seconds, or when `given_up`."""
        deadline = time.monotonic() + seconds
        while self._connections and time.monotonic() < deadline and not given_up():
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _new_connection(self) -> ClientConnection:
        return ClientConnection(
            self._handle, self._config.max_payload_bytes, self._connections, self._pending, self._cache_headers
        )

    def _check(self) -> None:
        """Disconnect clients that do not send their request or take their response in time, or are long idle."""
        asyncio.get_running_loop().call_later(_CHECK_INTERVAL_S, self._check)
        now = time.monotonic()
        idle_timeout = _IDLE_TIMEOUT_S if len(self._connections) <= self._crowd else _CROWDED_IDLE_TIMEOUT_S
        for connection in list(self._connections):
            connection.reject_if_stalled(now - _REQUEST_TIMEOUT_S)
            connection.abort_if_stuck(now - _WRITE_TIMEOUT_S)
            connection.close_if_idle(now - idle_timeout)
