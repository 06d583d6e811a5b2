"""The memory half of the model cache: loads, and evictions that make room for them."""

import asyncio
import posixpath
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from polyhost.model_cache.background import BackgroundTasks, retrieve_exception
from polyhost.model_cache.disk_cache import key_of
from polyhost.model_cache.errors import (
    ContainerGoneError,
    LoadRejectedError,
    LostWhileLoadingError,
    ModelDataMissingError,
    ModelServingError,
)
from polyhost.model_cache.interfaces import CacheObserver, ModelServer
from polyhost.model_cache.model_copy import CopyState, ModelCopy, ModelUsage
from polyhost.model_cache.room import WAIT_FOR_ROOM_S, Room

# Above it the platform unloads models unasked. Containers that measure their memory answer 507 before that.
_MAX_MEMORY_SHARE = 0.95
_OK, _NOT_LOADED, _LOADED_ALREADY, _NO_ROOM = 200, 404, 409, 507


class LoadedModels:
    """The models of a container, least recently used first.

    `provide` brings a model's files to the disk and returns their folder, absolute or below that of all models;
    `remove_files` removes them. `memory` returns the bytes in use and their limit. Models that are `pinned` are not
    evicted.
    """

    def __init__(
        self,
        observer: CacheObserver,
        memory: Callable[[], Awaitable[tuple[int, int]]],
        provide: Callable[[str], Awaitable[str]],
        remove_files: Callable[[str], Awaitable[None]],
        pinned: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self.copies: OrderedDict[str, ModelCopy] = OrderedDict()
        self.usage: dict[str, ModelUsage] = {}
        self._observer = observer
        self._memory = memory
        self._provide = provide
        self._remove_files = remove_files
        self._pinned = pinned
        self._server: ModelServer | None = None
        self._models_folder = ""
        self._room = Room(self.copies, self.evict_idle)
        self._changes = 0  # loads and unloads that were begun
        self._background = BackgroundTasks()

    def attach(self, server: ModelServer, models_folder: str) -> None:
        """Load into this container from now on, which has just started; `models_folder` is its path to the models."""
        self._server = server
        self._models_folder = models_folder

    def detach(self) -> None:
        """Discard the container, which has ended, and whatever it had loaded."""
        self._server = None
        for copy in self.copies.values():
            if copy.change is not None:
                copy.change.cancel()
        self.copies.clear()
        self._room.on_changed()

    async def close(self) -> None:
        self.detach()
        await self._background.close()

    def loaded(self, name: str) -> ModelCopy | None:
        """Return the model if it is loaded. Nearly every invocation goes this way, so it does nothing else."""
        copy = self.copies.get(name)
        return copy if copy is not None and copy.state is CopyState.LOADED else None

    async def load(self, name: str) -> ModelCopy:
        """Return the model once it is loaded; all callers share one load.

        The load continues if a caller is cancelled. Raises ModelServingError.
        """
        while (copy := self.loaded(name)) is None:
            copy = self.copies.get(name) or self._begin_load(name)
            assert copy.change is not None
            copy.expected += 1
            try:
                await self._until_changed(copy, copy.change)
            finally:
                copy.expected -= 1
                self._room.on_changed()
        return copy

    def acquire(self, copy: ModelCopy) -> None:
        """Begin an invocation."""
        copy.in_flight += 1
        copy.last_used = time.time()
        copy.usage.invocations += 1
        self.copies.move_to_end(copy.name)

    def release(self, copy: ModelCopy) -> None:
        """End an invocation."""
        copy.in_flight -= 1
        if copy.in_flight == 0:
            self._room.on_changed()

    def discard(self, copy: ModelCopy) -> None:
        """Remove a copy that the container does not have any more."""
        if self.copies.get(copy.name) is copy:
            del self.copies[copy.name]

    async def retire(self, copy: ModelCopy, reason: str) -> None:
        """Unload a model, with its files, once it is idle: others take its place, or it is gone already."""
        while copy.state is CopyState.LOADED and self.copies.get(copy.name) is copy:
            if copy.idle:
                await asyncio.shield(self.unload(copy, reason, with_files=True))
                return
            await self._room.changed()

    async def evict_idle(self, reason: str, with_files: bool = False) -> bool:
        """Unload the model used least recently of those that are idle; return False if none is.

        Only idle ones, because MMS fails the invocations in flight of a model that it unloads.
        """
        idle = self._least_recently_used()
        if idle is not None:
            await asyncio.shield(self.unload(idle, reason, with_files))
        return idle is not None

    def unload(self, copy: ModelCopy, reason: str, with_files: bool = False) -> "asyncio.Task[None]":
        """Begin to unload a loaded model; with its files, if the container lets it go."""
        assert self._server is not None
        self._changes += 1
        change = asyncio.create_task(self._unload(copy, self._server, reason, with_files))
        change.add_done_callback(retrieve_exception)
        copy.become(CopyState.UNLOADING, change)
        return change

    async def _until_changed(self, copy: ModelCopy, change: "asyncio.Task[None]") -> None:
        if copy.state is CopyState.UNLOADING:
            await asyncio.wait({change})
            return
        try:
            await asyncio.shield(change)
        except asyncio.CancelledError:
            if change.cancelled():
                message = f"the container ended while {copy.name} was loaded"
                raise LostWhileLoadingError(message, may_retry=True) from None
            raise

    def _begin_load(self, name: str) -> ModelCopy:
        if self._server is None:
            raise ContainerGoneError("the container is not running", may_retry=True)
        usage = self.usage.setdefault(name, ModelUsage())
        copy = ModelCopy(name, key_of(name), usage, pinned=self._pinned(name))
        self.copies[name] = copy
        self._changes += 1
        copy.change = asyncio.create_task(self._load(copy, self._server))
        copy.change.add_done_callback(retrieve_exception)
        return copy

    async def _load(self, copy: ModelCopy, server: ModelServer) -> None:
        try:
            place = await self._provide(copy.name)
            seconds = await self._load_into(server, copy, posixpath.join(self._models_folder, place))
        except ContainerGoneError as error:
            self._on_load_failed(copy, error)
            raise LostWhileLoadingError(f"{error}, while {copy.name} was loaded", may_retry=True) from error
        except ModelServingError as error:
            self._on_load_failed(copy, error)
            if isinstance(error, LoadRejectedError) and error.status != _NO_ROOM:
                await self._remove_files(copy.name)  # so that a corrected archive is downloaded
            raise
        except BaseException:
            self.discard(copy)
            raise
        finally:
            self._room.on_changed()
        copy.usage.loads += 1
        copy.usage.load_ms = seconds * 1e3
        copy.loaded_at = copy.last_used = time.time()
        copy.become(CopyState.LOADED)
        self._observer.on_loaded(copy.name, seconds)

    def _on_load_failed(self, copy: ModelCopy, error: ModelServingError) -> None:
        self.discard(copy)
        copy.usage.errors += 1
        if isinstance(error, ModelDataMissingError):  # clients may ask for any number of names
            self.usage.pop(copy.name, None)
        self._observer.on_failed(copy.name, str(error))

    async def _load_into(self, server: ModelServer, copy: ModelCopy, url: str) -> float:
        """Load until it works, making room for each further attempt; return the seconds of the one that worked."""
        deadline = time.monotonic() + WAIT_FOR_ROOM_S
        used_before = await self._relieve_memory(copy)
        while True:
            changes, start = self._changes, time.monotonic()
            response = await server.load(copy.key, url, copy.name)
            if response.status in (_OK, _LOADED_ALREADY):
                seconds = time.monotonic() - start
                self._background.start(self._measure_memory(copy, used_before, changes))
                return seconds
            if response.status != _NO_ROOM:
                raise LoadRejectedError(response.status, response.body)
            self._observer.on_load_rejected(copy.name)
            if not await self._room.make(copy, deadline):
                raise LoadRejectedError(response.status, response.body)
            used_before, _ = await self._memory()

    async def _measure_memory(self, copy: ModelCopy, used_before: int, changes: int) -> None:
        """Set the memory that a load took, unless another load or unload happened at the same time."""
        used, _ = await self._memory()
        alone = all(other is copy or other.state is CopyState.LOADED for other in self.copies.values())
        if alone and used > used_before and changes == self._changes:
            copy.memory_bytes = used - used_before

    async def _relieve_memory(self, copy: ModelCopy) -> int:
        """Evict idle models while too much memory is in use; return the bytes in use then."""
        used, limit = await self._memory()
        while used > limit * _MAX_MEMORY_SHARE:
            reason = f"memory: {used >> 20} of {limit >> 20} MiB in use, to make room for {copy.name}"
            if not await self.evict_idle(reason):
                break
            used, limit = await self._memory()
        return used

    def _least_recently_used(self) -> ModelCopy | None:
        return next((copy for copy in self.copies.values() if copy.idle and not copy.pinned), None)

    async def _unload(self, copy: ModelCopy, server: ModelServer, reason: str, with_files: bool) -> None:
        start = time.monotonic()
        try:
            response = await server.unload(copy.key)
        except ModelServingError as error:
            self._observer.on_failed(copy.name, f"not unloaded: {error}")
            raise
        finally:
            self.discard(copy)
            self._room.on_changed()
        if response.status not in (_OK, _NOT_LOADED):
            body = response.body[:2000].decode(errors="replace")
            self._observer.on_failed(copy.name, f"the container answered the unload with {response.status}: {body}")
            return  # its files stay as well: the next load finds it loaded
        seconds = time.monotonic() - start
        if with_files:
            await self._remove_files(copy.name)
        self._observer.on_unloaded(copy.name, seconds, reason)
