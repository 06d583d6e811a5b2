"""Room for loads that the container rejected for want of memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from polyhost.model_cache.model_copy import CopyState, ModelCopy

WAIT_FOR_ROOM_S = 60.0


class Room:
    """Makes room by evicting idle models, and lets loads wait for one to become idle.

    `copies` has the models by name; each change of it, and each copy that becomes idle, is reported to `on_changed`.
    `evict_idle` unloads the least recently used idle model, for a reason, and returns False if none is idle.

    Invariant: a load that waits waits only for copies that can free memory without it: models in use that are not
    pinned, models on their way out, and loads that were under way, and did not wait, when this one was first rejected.
    A load that waits is never waited for, so no two wait for each other. Loads that begin later are not waited for
    either, so the wait ends, however many of them come. All loads that wait look again at every change, in the order in
    which they began to wait: the first of them evicts the next idle model.
    """

    def __init__(self, copies: Mapping[str, ModelCopy], evict_idle: Callable[[str], Awaitable[bool]]) -> None:
        self._copies = copies
        self._evict_idle = evict_idle
        self._changed = asyncio.Event()

    def on_changed(self) -> None:
        """Let loads that wait look again: a copy became idle or was removed."""
        self._changed.set()

    async def make(self, load: ModelCopy, deadline: float) -> bool:
        """Evict one idle model for a load that was rejected, as soon as there is one.

        Returns True when a model has left, this way or another; False if nothing is left to wait for, or at the
        deadline (time.monotonic).
        """
        load.waits_for_room = True
        if load.rejected_beside is None:
            load.rejected_beside = {copy for copy in self._copies.values() if _is_under_way(copy)}
        under_way = load.rejected_beside
        while not await self._evict_idle(f"to make room for {load.name}"):
            awaited = [
                copy for copy in self._copies.values() if copy.state is not CopyState.LOADING or copy in under_way
            ]
            awaited = [copy for copy in awaited if not copy.waits_for_room and not _stays(copy)]
            if not awaited or not await self._until_changed(deadline):
                return False
            # A load that failed because it found no room itself has not freed any.
            if any(self._copies.get(copy.name) is not copy and not copy.waits_for_room for copy in awaited):
                break
        load.waits_for_room = False
        return True

    async def changed(self) -> None:
        """Return at the next change."""
        self._changed.clear()
        await self._changed.wait()

    async def _until_changed(self, deadline: float) -> bool:
        try:
            await asyncio.wait_for(self.changed(), deadline - time.monotonic())
        except TimeoutError:
            return False
        return True


def _stays(copy: ModelCopy) -> bool:
    return copy.pinned and copy.state is CopyState.LOADED


def _is_under_way(copy: ModelCopy) -> bool:
    return copy.state is CopyState.LOADING and not copy.waits_for_room
