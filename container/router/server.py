"""The router: one process, one event loop, the container's port."""

import asyncio
import signal

from polyhost.container.config import Config
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.model_store.source.store import ModelStore
from polyhost.container.model_store.start_loads import StartLoads
from polyhost.container.model_store.target_models import TargetModels
from polyhost.container.native.access import Access
from polyhost.container.native.clients import Clients
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.target_routes import TargetRoutes
from polyhost.container.page.routes import open_page
from polyhost.container.router.mms import MmsBackend
from polyhost.container.router.routes import RouterRoutes
from polyhost.model_cache.background import BackgroundTasks

_MMS_END_S = 3.0  # of POLYHOST_FINISH_SECONDS: MMS takes seconds to end after the last invocation
_MIN_FINISH_S = 1.0
_GRACE_S = 0.5  # for the last rejections to be sent


class Router:
    """Serves clients until SIGTERM, with the models of a store in the MMS that listens on a loopback port."""

    def __init__(self, config: Config, mms_port: int, secrets: StoreSecrets) -> None:
        """`config` must name a store."""
        assert config.store is not None
        self._drain_s = config.store.drain_s
        self._finish_s = max(_MIN_FINISH_S, config.finish_s - _MMS_END_S)
        self._mms = MmsBackend(mms_port, config.response_timeout_s, config.load_timeout_s)
        self._targets = TargetModels(config.store, ModelStore(config.store, secrets.variables), self._mms)
        self._start_loads = StartLoads(self._targets, config.store.load_at_start)
        pending = PendingBytes()
        page = open_page(
            config.store,
            secrets.bearer_token,
            self._targets,
            self._start_loads,
            "Multi Model Server",
            self._mms.memory_of,
        )
        access = Access(secrets)
        self._routes = TargetRoutes(
            self._targets, self._mms, self._start_loads, pending, config.response_timeout_s, access, page
        )
        self._clients = Clients(config, RouterRoutes(self._routes, self._targets, self._mms).handle, pending)
        self._background = BackgroundTasks()

    async def run(self) -> int:
        """Serve; return the exit status."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        # Ctrl-C reaches the whole process group; the supervisor acts on it.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        await self._clients.listen()
        self._background.start(self._begin())
        await stop.wait()
        self._routes.drain()
        await asyncio.sleep(self._drain_s)
        self._clients.stop_listening()
        await self._clients.wait_until_answered(self._finish_s)
        await self._background.close()
        await self._targets.close()
        await self._clients.wait_until_answered(_GRACE_S)
        await self._mms.close()
        return 0

    async def _begin(self) -> None:
        await self._mms.wait_until_up()
        self._targets.start()
        await self._start_loads.run()
