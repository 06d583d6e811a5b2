"""New versions of loaded models: noticed in the store, loaded beside the old ones, and put in their places."""

import asyncio
import time
from collections.abc import Callable

from polyhost.container.model_store.counters import StoreCounters
from polyhost.container.model_store.events import StoreEvents
from polyhost.container.model_store.known_versions import KnownVersions
from polyhost.container.model_store.observer import REPLACED
from polyhost.container.model_store.serving import ServingVersion, ServingVersions
from polyhost.container.model_store.source.store import ModelStore
from polyhost.container.model_store.source.versions import ModelVersion
from polyhost.events import get_logger
from polyhost.model_cache.background import BackgroundTasks
from polyhost.model_cache.errors import DownloadError, LoadRejectedError, ModelDataMissingError, ModelServingError
from polyhost.model_cache.loaded_models import LoadedModels

_NO_ROOM = 507
_PARALLEL_CHECKS = 8

logger = get_logger(__name__)


class Replacements:
    """Compares what serves with the store.

    Invariant: a version that is being replaced is neither evicted nor waited for until its successor is loaded, or has
    failed.
    """

    def __init__(
        self,
        serving: ServingVersions,
        known: KnownVersions,
        store: ModelStore,
        models: LoadedModels,
        counters: StoreCounters,
        events: StoreEvents,
        is_pinned: Callable[[str], bool],
    ) -> None:
        self._serving = serving
        self._known = known
        self._store = store
        self._models = models
        self._counters = counters
        self._events = events
        self._is_pinned = is_pinned
        self._parallel = asyncio.Semaphore(_PARALLEL_CHECKS)
        self._background = BackgroundTasks()

    async def close(self) -> None:
        await self._background.close()

    async def check_all(self) -> None:
        """Look for newer versions of what was used since the last look, or is to be ready at any time."""
        due = [one for one in self._serving.values() if one.loaded and _is_due(one)]
        await asyncio.gather(*map(self._check_in_turn, due))

    def check_soon(self, serving: ServingVersion) -> None:
        """Look for a newer version of this one, in the background."""
        self._background.start(self._check(serving))

    async def _check_in_turn(self, serving: ServingVersion) -> None:
        async with self._parallel:
            await self._check(serving)

    async def _check(self, serving: ServingVersion) -> None:
        """Look for a newer version, and put it in the place of this one. Raises nothing."""
        serving.checked = time.time()
        try:
            newer = await self._store.newer(serving.version)
            if newer is not None and newer.id != serving.failed and self._serving.loaded(newer.target) is serving:
                await self._replace(serving, newer)
        except ModelDataMissingError:
            self._on_withdrawn(serving)
        except DownloadError as error:
            self._counters.store_failures += 1
            message = "cannot look for a new version, %s serves on: %s"
            logger.warning(message, serving.version.id, error, extra=_fields(serving.version))
        except Exception:  # the next look is to come all the same
            logger.exception("failed to look for a new version", extra=_fields(serving.version))

    def _on_withdrawn(self, serving: ServingVersion) -> None:
        """Let what is loaded serve on, and have the next load ask the store."""
        self._known.distrust(serving.version.target)
        if not serving.withdrawn:
            serving.withdrawn = True
            message = "%s is not in the store any more; it serves on until it is evicted"
            logger.warning(message, serving.version.place, extra=_fields(serving.version))

    async def _replace(self, serving: ServingVersion, newer: ModelVersion) -> None:
        """Load a version beside the one that serves, and swap them; if that fails, the old one serves on."""
        old = serving.copy
        old.pinned = True
        try:
            with self._known.held(newer):
                copy = await self._models.load(newer.id)
        except ModelServingError as error:
            self._on_failed(serving, newer, error)
            return
        finally:
            old.pinned = self._is_pinned(newer.target)
        self._serving[newer.target] = ServingVersion(newer, copy)
        if not newer.folder:
            self._known.add_on_disk(newer)
        self._counters.replacements += 1
        logger.info("%s takes the place of %s", newer.id, serving.version.id, extra=_fields(newer))
        self._events.add("overwritten", newer.id, f"takes the place of {serving.version.id}")
        self._background.start(self._retire(serving, newer))

    def _on_failed(self, serving: ServingVersion, newer: ModelVersion, error: ModelServingError) -> None:
        self._counters.failed_replacements += 1
        if not (isinstance(error, LoadRejectedError) and error.status == _NO_ROOM):
            serving.failed = newer.id  # else it is tried again, when there may be room
        message = "the new version %s was not loaded, %s serves on: %s"
        logger.error(message, newer.id, serving.version.id, error, extra=_fields(newer))

    async def _retire(self, serving: ServingVersion, newer: ModelVersion) -> None:
        await self._models.retire(serving.copy, f"{REPLACED} by {newer.id}")


def _is_due(serving: ServingVersion) -> bool:
    return serving.copy.pinned or serving.copy.last_used > serving.checked


def _fields(version: ModelVersion) -> dict[str, object]:
    return {"model": version.target, "phase": "store"}
