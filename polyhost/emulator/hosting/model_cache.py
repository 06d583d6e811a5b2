"""The models of one instance: on its disk, and loaded in its container; in order of last use.

What SageMaker does is told in the developer guide (multi-model-endpoints); where it says nothing, docs/emulator.md
lists what is assumed.
"""

import asyncio
import contextlib
import hashlib
import shutil
import statistics
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyhost.emulator.errors import ContainerGone, DiskFull, HostingError, LoadRefused, ModelDataMissing
from polyhost.emulator.hosting.container_client import ContainerClient
from polyhost.emulator.hosting.downloads import Fetched, ModelSource
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.emulator.hosting.model_url import ModelData
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder

MAX_MEMORY_SHARE = (
    0.95  # beyond it the platform unloads of its own accord; containers that count memory answer 507 first
)
WAIT_FOR_IDLE_S = 60.0
OVERWRITE_CHECK_S = 30.0
_REFUSED = 507
_UNKNOWN = 404
_LOADED_ALREADY = 409


@dataclass
class Usage:
    """What became of a model's calls here; outlives its unloading."""

    calls: int = 0
    cold: int = 0
    errors: int = 0
    load_ms: float = 0.0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=60))


class LostWhileLoading(ContainerGone):
    """The container ended during a load, perhaps because of it."""


@dataclass(eq=False)
class ModelCopy:
    """A model that is loaded, or on its way in or out."""

    name: str
    key: str
    usage: Usage
    state: str = "loading"  # loading, loaded, unloading
    change: "asyncio.Task[None] | None" = None
    in_flight: int = 0
    expected: int = 0  # calls that wait for it; they get their turn before it may be unloaded
    short_of_room: bool = False
    memory_bytes: int | None = None  # by how much its load made the instance's memory grow, where that can be told
    loaded_at: float = 0.0
    last_used: float = field(default_factory=time.time)
    checked: float = field(default_factory=time.monotonic)

    @property
    def idle(self) -> bool:
        return self.state == "loaded" and not self.in_flight and not self.expected


class ModelCache:
    """`memory` tells (used, limit) in bytes."""

    def __init__(
        self,
        place: Place,
        spec: VariantSpec,
        folder: Path,
        source: ModelSource,
        recorder: Recorder,
        faults: Faults,
        memory: Callable[[], Awaitable[tuple[int, int]]],
    ) -> None:
        assert spec.container.model_data_url is not None
        self._prefix = ModelData.parse(spec.container.model_data_url)
        self._place = place
        self._spec = spec
        self._folder = folder
        self._source = source
        self._recorder = recorder
        self._faults = faults
        self._memory = memory
        self._client: ContainerClient | None = None
        self._models_folder = ""
        self._became_idle = asyncio.Event()
        self._changes = 0  # loads and unloads begun
        self._background: set[asyncio.Task[None]] = set()
        self._downloads: dict[str, asyncio.Task[None]] = {}
        self.copies: OrderedDict[str, ModelCopy] = OrderedDict()
        self.usage: dict[str, Usage] = {}
        self.disk: OrderedDict[str, Fetched] = OrderedDict()

    @property
    def disk_used(self) -> int:
        return sum(fetched.unpacked_bytes for fetched in self.disk.values())

    def attach(self, client: ContainerClient, models_folder: str) -> None:
        """To a container that has just started: nothing is loaded in it."""
        self._client = client
        self._models_folder = models_folder

    def detach(self) -> None:
        """The container is gone, and with it whatever it had loaded."""
        self._client = None
        for copy in self.copies.values():
            if copy.change is not None:
                copy.change.cancel()
        self.copies.clear()
        self._became_idle.set()

    async def close(self) -> None:
        self.detach()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # For calls

    def loaded(self, name: str) -> ModelCopy | None:
        """The way of nearly every call, so it does nothing else."""
        copy = self.copies.get(name)
        return copy if copy is not None and copy.state == "loaded" else None

    async def load(self, name: str) -> ModelCopy:
        """Waits for the model; one load serves all that wait. A caller that gives up does not end it."""
        while (copy := self.loaded(name)) is None:
            copy = self.copies.get(name) or self._begin(name)
            assert copy.change is not None
            copy.expected += 1
            try:
                await self._until_changed(copy, copy.change)
            finally:
                copy.expected -= 1
                self._became_idle.set()
        return copy

    async def _until_changed(self, copy: ModelCopy, change: "asyncio.Task[None]") -> None:
        if copy.state == "unloading":
            await asyncio.wait({change})
            return
        try:
            await asyncio.shield(change)
        except asyncio.CancelledError:
            if change.cancelled():
                raise LostWhileLoading(f"the container ended while {copy.name} was loaded", may_retry=True) from None
            raise

    def enter(self, copy: ModelCopy) -> None:
        copy.in_flight += 1
        copy.last_used = time.time()
        copy.usage.calls += 1
        self.copies.move_to_end(copy.name)
        if copy.name in self.disk:
            self.disk.move_to_end(copy.name)
        if time.monotonic() - copy.checked > OVERWRITE_CHECK_S:
            copy.checked = time.monotonic()
            self._start(self._warn_if_overwritten(copy.name))

    def leave(self, copy: ModelCopy) -> None:
        copy.in_flight -= 1
        if copy.in_flight == 0:
            self._became_idle.set()
            unused = not copy.expected and self.loaded(copy.name) is copy
            if unused and not self._spec.container.keeps_models:
                self._begin_unload(copy, "model caching is disabled", drop=True)

    def forget(self, copy: ModelCopy) -> None:
        """The container does not know the model any more."""
        if self.copies.get(copy.name) is copy:
            del self.copies[copy.name]

    # Loading

    def _begin(self, name: str) -> ModelCopy:
        if self._client is None:
            raise ContainerGone("the container is not running", may_retry=True)
        key = hashlib.sha256(name.encode()).hexdigest()
        copy = ModelCopy(name, key, self.usage.setdefault(name, Usage()))
        self.copies[name] = copy
        self._changes += 1
        copy.change = asyncio.create_task(self._load(copy, self._client))
        copy.change.add_done_callback(_seen)
        return copy

    async def _load(self, copy: ModelCopy, client: ContainerClient) -> None:
        try:
            await self._provide(copy)
            took = await self._load_into(copy, client)
        except ContainerGone as error:
            self._failed(copy, error)
            raise LostWhileLoading(f"{error}, while {copy.name} was loaded", may_retry=True) from error
        except HostingError as error:
            self._failed(copy, error)
            if isinstance(error, LoadRefused) and error.status != _REFUSED:
                await self._drop(copy.name)  # so that an archive that is put right is seen
            raise
        except BaseException:
            self.forget(copy)
            raise
        finally:
            self._became_idle.set()
        copy.usage.cold += 1
        copy.usage.load_ms = took * 1e3
        copy.loaded_at = copy.last_used = time.time()
        copy.state, copy.change = "loaded", None
        self._recorder.measure("ModelLoadingTime", took * 1e6, "Microseconds", self._place, copy.name)
        self._recorder.event(
            EventKind.LOADED, self._place, f"loaded in {took * 1e3:.0f} ms", model=copy.name, ms=took * 1e3
        )

    def _failed(self, copy: ModelCopy, error: HostingError) -> None:
        self.forget(copy)
        copy.usage.errors += 1
        if isinstance(error, ModelDataMissing):  # any name can be asked for
            self.usage.pop(copy.name, None)
        self._recorder.event(EventKind.FAILED, self._place, str(error), model=copy.name)

    async def _load_into(self, copy: ModelCopy, client: ContainerClient) -> float:
        """Seconds of the load call that worked."""
        deadline = time.monotonic() + WAIT_FOR_IDLE_S
        if slow := self._take("slow-load", copy.name):
            await asyncio.sleep(slow.seconds)
        before = await self._relieve_memory(copy)
        changes = self._changes
        while True:
            start = time.monotonic()
            if self._take("refuse-load", copy.name):
                status, body = _REFUSED, b"a fault on demand: no memory"
            else:
                answer = await client.load(copy.key, f"{self._models_folder}/{copy.key}/model", copy.name)
                status, body = answer.status, answer.body
            if status == 200 or status == _LOADED_ALREADY:
                took = time.monotonic() - start
                self._start(self._weigh(copy, before, changes))
                return took
            if status != _REFUSED:
                raise LoadRefused(status, body)
            self._recorder.event(
                EventKind.REFUSED, self._place, "the container answered the load with 507", model=copy.name
            )
            copy.short_of_room = True
            if not await self._unload_one(f"to make room for {copy.name}", deadline):
                raise LoadRefused(status, body)
            copy.short_of_room = False
            (before, _), changes = await self._memory(), self._changes

    async def _weigh(self, copy: ModelCopy, before: int, changes: int) -> None:
        """Where nothing else came or went meanwhile."""
        used, _ = await self._memory()
        alone = all(other is copy or other.state == "loaded" for other in self.copies.values())
        if alone and used > before and changes == self._changes:
            copy.memory_bytes = used - before

    # Making room

    async def _relieve_memory(self, copy: ModelCopy) -> int:
        """Bytes in use then."""
        used, limit = await self._memory()
        while used > limit * MAX_MEMORY_SHARE and (idle := self._least_recently_used()) is not None:
            await self._unload(idle, f"memory: {used >> 20} of {limit >> 20} MiB in use, to make room for {copy.name}")
            used, limit = await self._memory()
        return used

    async def _unload_one(self, reason: str, deadline: float) -> bool:
        """Waits for a model to become idle where none is. False where there is nothing left to unload."""
        earlier = {copy for copy in self.copies.values() if copy.state == "loading" and not copy.short_of_room}
        while (idle := self._least_recently_used()) is None:
            before = [copy for copy in self.copies.values() if copy.state == "unloading" or copy in earlier]
            # Loads that wait for room themselves must not wait for each other, nor for those that came after them.
            hope = [copy for copy in self.copies.values() if copy.state != "loading" or copy in earlier]
            if all(copy.short_of_room for copy in hope) or time.monotonic() > deadline:
                return False
            self._became_idle.clear()
            try:
                await asyncio.wait_for(self._became_idle.wait(), deadline - time.monotonic())
            except TimeoutError:
                return False
            # What was refused itself has left no room behind.
            if any(self.copies.get(copy.name) is not copy and not copy.short_of_room for copy in before):
                return True
        await self._unload(idle, reason)
        return True

    def _least_recently_used(self) -> ModelCopy | None:
        """MMS fails the calls in flight of a model that it unloads, so only idle ones go."""
        return next((copy for copy in self.copies.values() if copy.idle), None)

    async def _unload(self, copy: ModelCopy, reason: str, drop: bool = False) -> None:
        await asyncio.shield(self._begin_unload(copy, reason, drop))

    def _begin_unload(self, copy: ModelCopy, reason: str, drop: bool = False) -> "asyncio.Task[None]":
        assert self._client is not None
        copy.state = "unloading"
        self._changes += 1
        copy.change = asyncio.create_task(self._unload_now(copy, self._client, reason, drop))
        copy.change.add_done_callback(_seen)
        return copy.change

    async def _unload_now(self, copy: ModelCopy, client: ContainerClient, reason: str, drop: bool) -> None:
        start = time.monotonic()
        try:
            answer = await client.unload(copy.key)
        except HostingError as error:
            self._recorder.event(EventKind.FAILED, self._place, f"not unloaded: {error}", model=copy.name)
            raise
        finally:
            self.forget(copy)
            self._became_idle.set()
        if answer.status not in (200, _UNKNOWN):
            body = answer.body[:2000].decode(errors="replace")
            message = f"the container answered the unload with {answer.status}: {body}"
            self._recorder.event(EventKind.FAILED, self._place, message, model=copy.name)
            return  # its files stay as well; a load that follows finds it loaded
        took = time.monotonic() - start
        if drop:
            await self._drop(copy.name)
        self._recorder.measure("ModelUnloadingTime", took * 1e6, "Microseconds", self._place, copy.name)
        self._recorder.event(EventKind.UNLOADED, self._place, f"unloaded, {reason}", model=copy.name, ms=took * 1e3)

    # The disk

    async def _provide(self, copy: ModelCopy) -> None:
        """The archive, unpacked on the instance's disk."""
        data = self._prefix.join(copy.name)
        if copy.name in self.disk:
            self._start(self._warn_if_overwritten(copy.name))
            return
        # Goes on when its load is cancelled, as its thread does: the next load takes what it brings.
        download = self._downloads.get(copy.name)
        if download is None:
            download = self._downloads[copy.name] = self._start(self._download(copy, data))
            download.add_done_callback(lambda _: self._downloads.pop(copy.name, None))
        await asyncio.shield(download)

    async def _download(self, copy: ModelCopy, data: ModelData) -> None:
        fetched = await self._fetch(copy, data)
        self.disk[copy.name] = fetched
        took = fetched.seconds
        self._recorder.measure("ModelDownloadingTime", took * 1e6, "Microseconds", self._place, copy.name)
        self._recorder.event(
            EventKind.DOWNLOADED,
            self._place,
            f"{fetched.archive_bytes} bytes from {data}",
            model=copy.name,
            ms=took * 1e3,
        )
        await self._relieve_disk(copy)

    async def _fetch(self, copy: ModelCopy, data: ModelData) -> Fetched:
        folder, spec = self._folder / copy.key / "model", self._spec
        while True:
            try:
                return await self._source.fetch(
                    data, folder, spec.volume_bytes, spec.download_timeout_s, self._place.region
                )
            except DiskFull:
                if not await self._drop_one(f"the machine's disk is full, and {copy.name} needs room"):
                    raise

    async def _relieve_disk(self, new: ModelCopy) -> None:
        while self.disk_used > self._spec.volume_bytes and await self._drop_one(f"to make room for {new.name}"):
            pass

    async def _drop_one(self, reason: str) -> bool:
        """The archive that was used least recently, and first of those that are not loaded. False where none can go."""
        name = next((name for name in self.disk if name not in self.copies), None)
        if name is not None:
            self._recorder.event(EventKind.UNLOADED, self._place, f"deleted from the disk, {reason}", model=name)
            await self._drop(name)
            return True
        if (idle := self._least_recently_used()) is None:
            return False
        await self._unload(idle, f"and deleted from the disk, {reason}", drop=True)
        return True

    async def _drop(self, name: str) -> None:
        if self.disk.pop(name, None) is None:
            return
        key = hashlib.sha256(name.encode()).hexdigest()
        gone = self._folder / f".dropped-{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            (self._folder / key).rename(gone)  # at once, so that the next download finds nothing in its way
        await asyncio.shield(self._start(asyncio.to_thread(shutil.rmtree, gone, True)))

    async def _warn_if_overwritten(self, name: str) -> None:
        fetched = self.disk.get(name)
        data = self._prefix.join(name)
        etag = await self._source.etag(data, self._place.region)
        if fetched is not None and etag is not None and etag != fetched.etag:
            message = (
                f"{data} was overwritten; the copy loaded earlier stays in use, as on AWS: upload under a new name"
            )
            self._recorder.event(EventKind.OVERWRITTEN, self._place, message, model=name)
            self._recorder.log_line(self._place, f"WARNING polyhost.emulator: {message}")

    # Telling

    def snapshot(self) -> list[dict[str, Any]]:
        """Last used first."""
        return [_about(copy) for copy in reversed(self.copies.values())]

    def _take(self, kind: Any, model: str) -> Any:
        return self._faults.take(kind, self._place.endpoint, self._place.variant, model)

    def _start(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_seen)
        return task


def _about(copy: ModelCopy) -> dict[str, Any]:
    usage = copy.usage
    return {
        "name": copy.name,
        "key": copy.key,
        "state": copy.state,
        "loaded_at": copy.loaded_at,
        "last_used": copy.last_used,
        "in_flight": copy.in_flight,
        "calls": usage.calls,
        "cold": usage.cold,
        "warm": max(0, usage.calls - usage.cold),
        "errors": usage.errors,
        "memory": copy.memory_bytes,
        "load_ms": round(usage.load_ms, 1),
        "p50_ms": round(statistics.median(usage.latencies_ms), 2) if usage.latencies_ms else None,
        "latencies_ms": [round(value, 2) for value in usage.latencies_ms],
    }


def _seen(task: "asyncio.Task[None]") -> None:
    """Its error went to whoever waited; where nobody does, it has been told as an event."""
    if not task.cancelled():
        task.exception()
