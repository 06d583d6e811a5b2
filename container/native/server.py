"""The native front end: one process, one event loop, one port."""

import asyncio
import contextlib
import gc
import signal

from polyhost.container.config import Config
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.native.clients import Clients
from polyhost.container.native.errors import Rejection
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.models import SINGLE, Models
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.routes import Routes
from polyhost.container.native.store import NativeStore
from polyhost.events import get_logger

_REJECTION_GRACE_S = 0.5  # for the last rejections to be sent

logger = get_logger(__name__)


class NativeServer:
    """Serves clients until the container stops. `supervisor`: the descriptor of the channel to the supervisor.

    `secrets`: of a container with a model store.
    """

    def __init__(self, config: Config, supervisor: int, secrets: StoreSecrets | None = None) -> None:
        self._config = config
        self._fork_server = ForkServerClient(supervisor)
        self._pending = PendingBytes()
        self._models = Models(config, self._fork_server, self._pending)
        self._store = None if secrets is None else NativeStore(config, secrets, self._models, self._pending)
        targets = None if self._store is None else self._store.routes
        self._routes = Routes(config, self._models, self._fork_server, targets)
        self._clients = Clients(config, self._routes.handle, self._pending)
        self._stop = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Serve until SIGTERM, the supervisor's end, or a failed load of the only model; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        # Ctrl-C reaches the whole process group; the supervisor acts on it.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        await self._clients.listen()
        self._fork_server.start(self._models)
        self._models.start()
        if self._store is not None:
            self._store.start()
        single = None if self._config.multi_model else loop.create_task(self._load_single())
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        ends = [loop.create_task(event.wait()) for event in (self._stop, self._fork_server.supervisor_ended)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await self._drain()
        for task in (*ends, single):
            if task is not None:
                task.cancel()
        return self._status

    async def _load_single(self) -> None:
        """Load the only model; if the front end rejects it, end the container.

        If its worker fails, the fork server has logged the reason and ends the container.
        """
        try:
            await self._models.load(LoadRequest(SINGLE, str(self._config.models_dir)))
        except Rejection as rejection:
            if self._stop.is_set():  # that is why
                return
            logger.error("the container's only model cannot be loaded: %s", rejection)
            self._status = 1
            self._stop.set()

    async def _drain(self) -> None:
        """Answer the requests that have come; reject those that take longer than POLYHOST_FINISH_SECONDS.

        With a store, others are accepted for POLYHOST_DRAIN_SECONDS.
        """
        if self._config.store is not None and self._store is not None:
            self._store.routes.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.store.drain_s):
                    await self._fork_server.supervisor_ended.wait()
        self._clients.stop_listening()
        await self._clients.wait_until_answered(self._config.finish_s, self._fork_server.supervisor_ended.is_set)
        if self._store is not None:
            await self._store.close()  # those that wait for its loads are rejected
        self._models.reject_all()
        await self._clients.wait_until_answered(_REJECTION_GRACE_S)
