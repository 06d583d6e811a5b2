"""Archives that are on their way already: the request that found a version brings its content, too."""

import asyncio

from polyhost.model_cache.interfaces import OpenObject

_KEPT_S = 5.0  # from the look into the store to the fetch, which follows it at once or not at all
_MAX = 16


class OpenObjects:
    """Keeps each for the fetch that takes it, and drops it if none does."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[OpenObject, asyncio.TimerHandle]] = {}

    def keep(self, version_id: str, opened: OpenObject) -> None:
        """Keep an archive for a few seconds; of too many the oldest goes."""
        self.take(version_id)
        if len(self._kept) >= _MAX:
            self.take(next(iter(self._kept)))
        timer = asyncio.get_running_loop().call_later(_KEPT_S, self._kept.pop, version_id, None)
        self._kept[version_id] = (opened, timer)

    def take(self, version_id: str) -> OpenObject | None:
        """Return the archive, which is the caller's from then on, or None if it is not on its way."""
        opened, timer = self._kept.pop(version_id, (None, None))
        if timer is not None:
            timer.cancel()
        return opened

    def close(self) -> None:
        """Drop all of them."""
        for version_id in list(self._kept):
            self.take(version_id)
