"""The model cache: its disk half and its memory half, put together."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from polyhost.model_cache.disk_cache import DiskCache
from polyhost.model_cache.interfaces import ArchiveSource, CacheObserver, ModelServer
from polyhost.model_cache.loaded_models import LoadedModels
from polyhost.model_cache.model_copy import ModelCopy

_CHECK_OVERWRITTEN_EVERY_S = 30.0


@dataclass(frozen=True)
class CacheSettings:
    """Settings of a model cache; `keeps_models` is MultiModelConfig.ModelCacheSetting (CreateModel)."""

    volume_bytes: int
    keeps_models: bool = True


class ModelCache:
    """The models of one container.

    An invocation calls `loaded`, then `load` if that returned None, then `acquire` and `release`. `memory` returns the
    bytes in use and their limit.
    """

    def __init__(
        self,
        folder: Path,
        settings: CacheSettings,
        source: ArchiveSource,
        observer: CacheObserver,
        memory: Callable[[], Awaitable[tuple[int, int]]],
    ) -> None:
        self._settings = settings
        self.disk = DiskCache(
            folder,
            settings.volume_bytes,
            source,
            observer,
            in_use=lambda name: name in self.models.copies,
            evict_idle=lambda reason: self.models.evict_idle(reason, with_files=True),
        )
        self.models = LoadedModels(observer, memory, self.disk.provide, self.disk.remove)

    def attach(self, server: ModelServer, models_folder: str) -> None:
        """Load into this container from now on, which has just started; `models_folder` is its path to the folder."""
        self.models.attach(server, models_folder)

    def detach(self) -> None:
        """Discard the container, which has ended, and whatever it had loaded."""
        self.models.detach()

    async def close(self) -> None:
        await self.models.close()
        await self.disk.close()

    def loaded(self, name: str) -> ModelCopy | None:
        return self.models.loaded(name)

    async def load(self, name: str) -> ModelCopy:
        """Return the model once it is loaded. Raises ModelServingError."""
        return await self.models.load(name)

    def acquire(self, copy: ModelCopy) -> None:
        """Begin an invocation of a loaded model."""
        self.models.acquire(copy)
        self.disk.touch(copy.name)
        if time.monotonic() - copy.checked > _CHECK_OVERWRITTEN_EVERY_S:
            copy.checked = time.monotonic()
            self.disk.check_overwritten(copy.name)

    def release(self, copy: ModelCopy) -> None:
        """End an invocation."""
        self.models.release(copy)
        if not self._settings.keeps_models and copy.idle and self.loaded(copy.name) is copy:
            self.models.unload(copy, "model caching is disabled", with_files=True)

    def discard(self, copy: ModelCopy) -> None:
        """Remove a copy that the container does not have any more."""
        self.models.discard(copy)
