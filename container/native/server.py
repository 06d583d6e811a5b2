"""The native front end: one process, one event loop, one port."""

import asyncio
import gc
import resource
import signal
import time

from polyhost.container.config import Config, Optimization
from polyhost.container.native.connection import ClientConnection
from polyhost.container.native.errors import Rejection
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.models import SINGLE, Models
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.routes import Routes
from polyhost.events import get_logger

_BACKLOG = 2048
_REQUEST_TIMEOUT_S = 60.0  # for one request to arrive whole: SageMaker gives the whole invocation no more
_WRITE_TIMEOUT_S = 30.0  # a client that takes nothing of a streamed response holds up a worker
# The platform keeps connections, and a request that crosses our end of one is lost: so one ends only after an hour. In
# a crowd, which the platform does not need, idle ones take descriptors from others.
_IDLE_TIMEOUT_S, _CROWDED_IDLE_TIMEOUT_S, _CROWD = 3600.0, 60.0, 2000
_CHECK_INTERVAL_S = 5.0
_POLL_INTERVAL_S = 0.02
_REJECTION_GRACE_S = 0.5  # for the last rejections to be sent

logger = get_logger(__name__)


class NativeServer:
    """Serves clients until the container stops. `supervisor`: the descriptor of the channel to the supervisor."""

    def __init__(self, config: Config, supervisor: int) -> None:
        self._config = config
        self._fork_server = ForkServerClient(supervisor)
        self._pending = PendingBytes()
        self._models = Models(config, self._fork_server, self._pending)
        self._routes = Routes(config, self._models, self._fork_server)
        self._connections: set[ClientConnection] = set()
        self._cache_headers = config.enabled(Optimization.HEADER_CACHE)
        self._crowd = min(_CROWD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._stop = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Serve until SIGTERM, the supervisor's end, or a failed load of the only model; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        # Ctrl-C reaches the whole process group; the supervisor acts on it.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        server = await loop.create_server(self._new_connection, self._config.host, self._config.port, backlog=_BACKLOG)
        self._fork_server.start(self._models)
        self._models.start()
        loop.call_later(_CHECK_INTERVAL_S, self._check_clients)
        single = None if self._config.multi_model else loop.create_task(self._load_single())
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        ends = [loop.create_task(event.wait()) for event in (self._stop, self._fork_server.supervisor_ended)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await self._drain()
        for task in (*ends, single):
            if task is not None:
                task.cancel()
        return self._status

    def _new_connection(self) -> ClientConnection:
        return ClientConnection(
            self._routes.handle,
            self._config.max_payload_bytes,
            self._connections,
            self._pending,
            self._cache_headers,
        )

    async def _load_single(self) -> None:
        """Load the only model; if the front end rejects it, end the container.

        If its worker fails, the fork server has logged the reason and ends the container.
        """
        try:
            await self._models.load(LoadRequest(SINGLE, str(self._config.models_dir)))
        except Rejection as rejection:
            logger.error("the container's only model cannot be loaded: %s", rejection)
            self._status = 1
            self._stop.set()

    def _check_clients(self) -> None:
        """Disconnect clients that do not send their request or take their response in time, or are long idle."""
        asyncio.get_running_loop().call_later(_CHECK_INTERVAL_S, self._check_clients)
        now = time.monotonic()
        idle_timeout = _IDLE_TIMEOUT_S if len(self._connections) <= self._crowd else _CROWDED_IDLE_TIMEOUT_S
        for connection in list(self._connections):
            connection.reject_if_stalled(now - _REQUEST_TIMEOUT_S)
            connection.abort_if_stuck(now - _WRITE_TIMEOUT_S)
            connection.close_if_idle(now - idle_timeout)

    async def _drain(self) -> None:
        """Answer the requests that have come; reject those that take longer than POLYHOST_FINISH_SECONDS."""
        for connection in list(self._connections):
            connection.close_when_idle()
        deadline = time.monotonic() + self._config.finish_s
        while self._connections and time.monotonic() < deadline and not self._fork_server.supervisor_ended.is_set():
            await asyncio.sleep(_POLL_INTERVAL_S)
        self._models.reject_all()
        deadline = time.monotonic() + _REJECTION_GRACE_S
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_INTERVAL_S)
