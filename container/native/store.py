"""The model store of the native front end: its parts, put together."""

from polyhost.container.config import Config
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.model_store.source.store import ModelStore
from polyhost.container.model_store.start_loads import StartLoads
from polyhost.container.model_store.target_models import TargetModels
from polyhost.container.native.access import Access
from polyhost.container.native.model_server import NativeModelServer
from polyhost.container.native.models import Models
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.target_routes import TargetRoutes
from polyhost.container.page.routes import open_page
from polyhost.model_cache.background import BackgroundTasks


class NativeStore:
    """Serves the models of the container's store. `config` must name one."""

    def __init__(self, config: Config, secrets: StoreSecrets, models: Models, pending: PendingBytes) -> None:
        assert config.store is not None
        server = NativeModelServer(models, lambda version_id: self._targets.target_of(version_id))
        self._targets = TargetModels(config.store, ModelStore(config.store, secrets.variables), server)
        self._start_loads = StartLoads(self._targets, config.store.load_at_start)
        self._background = BackgroundTasks()
        page = open_page(
            config.store,
            secrets.bearer_token,
            self._targets,
            self._start_loads,
            "native front end",
            server.memory_of,
        )
        self.routes = TargetRoutes(
            self._targets,
            server,
            self._start_loads,
            pending,
            config.response_timeout_s,
            Access(secrets),
            page,
        )

    def start(self) -> None:
        """Begin to load what is to be loaded at the start, and to look for new versions."""
        self._targets.start()
        self._background.start(self._start_loads.run())

    async def close(self) -> None:
        await self._background.close()
        await self._targets.close()
