"""The native front end: one process, one event loop, one port."""

import asyncio
import gc
import logging
import signal
import time

from polyhost.container.config import Config
from polyhost.container.native.connection import ClientConnection
from polyhost.container.native.errors import Refusal
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.models import SINGLE, Models
from polyhost.container.native.routes import Routes

_BACKLOG = 2048
_STALLED_S = 60.0  # for one request to arrive whole: what SageMaker gives the whole exchange
_UNREAD_S = 30.0  # who takes nothing of an answer in pieces holds up a worker
_STALLED_ROUND_S = 5.0
_REFUSE_S = 0.5  # for the last refusals to go out

logger = logging.getLogger("polyhost.native")


class Server:
    def __init__(self, config: Config, supervisor: int) -> None:
        self._config = config
        self._forks = ForkServerClient(supervisor)
        self._models = Models(config, self._forks)
        self._routes = Routes(config, self._models, self._forks)
        self._connections: set[ClientConnection] = set()
        self._stop = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Until SIGTERM, until the supervisor has ended, or the only model could not be loaded; the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(
            signal.SIGINT, lambda: None
        )  # Ctrl-C reaches the whole group; the supervisor acts on it
        server = await loop.create_server(
            lambda: ClientConnection(self._routes, self._connections),
            "0.0.0.0",
            self._config.port,
            backlog=_BACKLOG,
        )
        self._forks.start(self._models)
        self._models.start()
        loop.call_later(_STALLED_ROUND_S, self._close_stalled)
        single = None if self._config.multi_model else loop.create_task(self._load_single())
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        ends = [loop.create_task(event.wait()) for event in (self._stop, self._forks.supervisor_ended)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await self._finish()
        for task in (*ends, single):
            if task is not None:
                task.cancel()
        return self._status

    async def _load_single(self) -> None:
        """Where the worker fails, the fork server has said why, and ends the container; else it ends with us."""
        try:
            await self._models.load(SINGLE, str(self._config.models_dir))
        except Refusal as refusal:
            logger.error("the only model of this container cannot be loaded: %s", refusal)
            self._status = 1
            self._stop.set()

    def _close_stalled(self) -> None:
        asyncio.get_running_loop().call_later(_STALLED_ROUND_S, self._close_stalled)
        now = time.monotonic()
        for connection in list(self._connections):
            connection.close_if_stalled(now - _STALLED_S)
            connection.abort_if_unread(now - _UNREAD_S)

    async def _finish(self) -> None:
        """What has come is answered; where that takes too long, refused."""
        for connection in list(self._connections):
            connection.close_when_idle()
        deadline = time.monotonic() + self._config.finish_s
        while self._connections and time.monotonic() < deadline and not self._forks.supervisor_ended.is_set():
            await asyncio.sleep(0.02)
        self._models.reject_all()
        deadline = time.monotonic() + _REFUSE_S
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
