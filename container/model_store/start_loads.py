"""The models that are to be loaded at the start (POLYHOST_LOAD_AT_START), and whether they are."""

import asyncio
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from polyhost.container.model_store.errors import StoreUnreachableError
from polyhost.container.model_store.settings import is_pattern
from polyhost.container.model_store.target_models import TargetModels, matches
from polyhost.events import get_logger
from polyhost.model_cache.errors import DownloadError, ModelServingError

_PARALLEL, _RETRY_S = 4, 5.0

logger = get_logger(__name__)


class StartState(StrEnum):
    """How far the loads at the start are."""

    LOADING = "loading"
    READY = "ready"  # each was loaded, or has failed for a reason of its own


class StartLoads:
    """Loads what the patterns name, and waits for a store that cannot be reached."""

    def __init__(self, targets: TargetModels, patterns: Iterable[str]) -> None:
        self.state = StartState.LOADING
        self._targets = targets
        self._patterns = tuple(patterns)
        self._left: set[str] = set()
        self._failed: dict[str, str] = {}

    async def run(self) -> None:
        """Load them. Raises nothing: a model that fails is logged, and does not keep the others from being served."""
        names = await self._until_reached(self._names)
        self._left = set(names)
        slots = asyncio.Semaphore(_PARALLEL)

        async def load(name: str) -> None:
            async with slots:
                await self._load(name)

        await asyncio.gather(*map(load, names))
        self.state = StartState.READY

    def describe(self) -> dict[str, Any]:
        """Return what /ready says."""
        return {"status": self.state.value, "waitingFor": sorted(self._left), "failed": self._failed}

    async def _names(self) -> list[str]:
        """Return the names; those without `*` are not looked for, so that a missing one is an error."""
        plain = {pattern for pattern in self._patterns if not is_pattern(pattern)}
        globs = [pattern for pattern in self._patterns if pattern not in plain]
        found = {name for name in await self._targets.store.names() if matches(name, globs)} if globs else set()
        return sorted(plain | found)

    async def _load(self, name: str) -> None:
        try:
            await self._until_reached(lambda: self._targets.load(name))
        except ModelServingError as error:
            self._failed[name] = str(error)
            logger.error("not loaded at the start: %s", error, extra={"model": name, "phase": "store"})
        self._left.discard(name)

    async def _until_reached(self, work: Callable[[], Any]) -> Any:
        while True:
            try:
                return await work()
            except DownloadError as error:
                if type(error) not in (DownloadError, StoreUnreachableError):
                    raise
                logger.warning("the store is asked again in %g s: %s", _RETRY_S, error, extra={"phase": "store"})
                await asyncio.sleep(_RETRY_S)
