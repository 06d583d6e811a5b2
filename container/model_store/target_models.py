"""The models of a store by the names that clients give: fetched, loaded and evicted on demand."""

import asyncio
import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from polyhost.container.model_store import records
from polyhost.container.model_store.counters import StoreCounters, StoreLevels
from polyhost.container.model_store.events import StoreEvents
from polyhost.container.model_store.known_versions import KnownVersions
from polyhost.container.model_store.observer import StoreObserver
from polyhost.container.model_store.recent_failures import RecentFailures
from polyhost.container.model_store.replacements import Replacements
from polyhost.container.model_store.serving import ServingVersion, ServingVersions
from polyhost.container.model_store.settings import StoreSettings
from polyhost.container.model_store.source.archives import StoreArchives
from polyhost.container.model_store.source.store import ModelStore
from polyhost.container.model_store.source.versions import ModelVersion
from polyhost.model_cache.background import BackgroundTasks, retrieve_exception
from polyhost.model_cache.disk_cache import DiskCache, key_of
from polyhost.model_cache.errors import ModelServingError
from polyhost.model_cache.interfaces import ModelServer, UnpackedArchive
from polyhost.model_cache.loaded_models import LoadedModels
from polyhost.model_cache.model_copy import ModelCopy

_SWEEP_S = 30.0
_DISK_SHARE = 0.9


class TargetModels:
    """Finds, loads and evicts the models of a store; `Replacements` brings new versions.

    An invocation asks for `target`; if nothing loaded is there, it calls `load`, and then `acquire` and `release`.
    """

    def __init__(self, settings: StoreSettings, store: ModelStore, server: ModelServer) -> None:
        """`server` loads models into the container. The settings have a folder for unpacked archives."""
        assert settings.unpack_dir is not None
        root = Path(settings.unpack_dir)
        kept = records.recover(root, store.prefix)
        self.serving = ServingVersions()
        self.counters = StoreCounters()
        self.events = StoreEvents()
        self.store = store
        self.target = self.serving.loaded
        self._settings = settings
        self._root = root
        self._budget_bytes = settings.unpack_bytes or _default_budget(root, kept)
        self._known = KnownVersions()
        self._looks: dict[str, asyncio.Task[ModelVersion]] = {}  # into the store, by name
        self._failures = RecentFailures()
        observer = StoreObserver(self.counters, self.events)
        self._disk = DiskCache(
            root,
            self._budget_bytes,
            StoreArchives(store, self._known, root),
            observer,
            in_use=lambda name: name in self._models.copies,
            evict_idle=lambda reason: self._models.evict_idle(reason, with_files=True),
        )
        self._models = LoadedModels(observer, _no_memory, self._provide, self._disk.remove, self._is_pinned_version)
        self._models.attach(server, str(root))
        self._replacements = Replacements(
            self.serving, self._known, store, self._models, self.counters, self.events, self.is_pinned
        )
        self._background = BackgroundTasks()
        for version, archive in kept:
            self._known.add_on_disk(version)
            self._disk.archives[version.id] = archive

    def start(self) -> None:
        """Begin to look for new versions, and be ready to unpack archives."""
        self.store.start()
        self._background.start(self._watch())

    async def close(self) -> None:
        await self._background.close()
        await self._replacements.close()
        await self._models.close()
        await self._disk.close()
        await self.store.close()

    # Invocations

    async def load(self, name: str) -> ServingVersion:
        """Return what serves the name once it is loaded; all callers share one load.

        The load continues if a caller is cancelled. Raises ModelServingError.
        """
        version = await self._version_of(name)
        self._failures.check(version.id)
        try:
            with self._known.held(version):
                copy = await self._models.load(version.id)
        except ModelServingError as error:
            self._known.distrust(name)  # the next caller looks into the store, which may have a better one
            self._failures.add(version.id, error)
            raise
        return self._serve(version, copy)

    def acquire(self, serving: ServingVersion) -> None:
        """Begin an invocation."""
        self._models.acquire(serving.copy)
        self._disk.touch(serving.version.id)

    def release(self, serving: ServingVersion) -> None:
        """End an invocation."""
        self._models.release(serving.copy)

    # What there is

    def is_pinned(self, name: str) -> bool:
        """Return whether the model is never evicted (POLYHOST_PINNED)."""
        return matches(name, self._settings.pinned)

    def folder_of(self, version: ModelVersion) -> str:
        """Return the model directory of a loaded version."""
        return version.folder or str(self._root / key_of(version.id) / "model")

    def levels(self) -> StoreLevels:
        loaded = [serving for serving in self.serving.values() if serving.loaded]
        oldest = min((serving.copy.last_used for serving in loaded), default=None)
        return StoreLevels(len(loaded), self._disk.used_bytes, self._budget_bytes, oldest)

    def copies(self) -> list[ModelCopy]:
        """Return the versions in memory, and on their way in or out, the most recently used first."""
        return list(reversed(self._models.copies.values()))

    def target_of(self, version_id: str) -> str:
        """Return the name of the model of which this is a version."""
        return self._known[version_id].target

    # For loads

    async def _version_of(self, name: str) -> ModelVersion:
        """Return the version to load: of what is on the disk, or else of what is in the store."""
        if (serving := self.target(name)) is not None:
            return serving.version
        known = self._known.on_disk(name)
        if known is not None and known.id in self._disk.archives:
            return known
        look = self._looks.get(name)
        if look is None:
            look = self._looks[name] = asyncio.create_task(self.store.find_to_fetch(name))
            look.add_done_callback(lambda _: self._looks.pop(name, None))
            look.add_done_callback(retrieve_exception)
        return await asyncio.shield(look)

    def _serve(self, version: ModelVersion, copy: ModelCopy) -> ServingVersion:
        current = self.target(version.target)
        if current is not None:  # another caller was first, or a newer version has come
            return current
        serving = self.serving[version.target] = ServingVersion(version, copy)
        if not version.folder:
            from_disk = self._known.on_disk(version.target) is version
            self._known.add_on_disk(version)
            if from_disk:  # the store was not asked
                self._replacements.check_soon(serving)
        return serving

    async def _provide(self, version_id: str) -> str:
        """Return the model directory, absolute or below the root."""
        version = self._known[version_id]
        return version.folder or await self._disk.provide(version_id)

    def _is_pinned_version(self, version_id: str) -> bool:
        return self.is_pinned(self.target_of(version_id))

    async def _watch(self) -> None:
        every_s = self._settings.check_s
        while True:
            await asyncio.sleep(every_s or _SWEEP_S)
            self._sweep()
            if every_s:
                await self._replacements.check_all()

    def _sweep(self) -> None:
        """Forget what is neither loaded nor on the disk."""
        copies = self._models.copies
        self.serving.sweep()
        self._known.sweep(copies.__contains__, self._disk.archives.__contains__)
        for version_id in list(self._models.usage):
            if version_id not in copies:
                del self._models.usage[version_id]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a model's name fits one of the patterns; `*` stands for slashes, too."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _default_budget(root: Path, kept: Iterable[tuple[ModelVersion, UnpackedArchive]]) -> int:
    """Return the bytes that may be used without a setting: nine tenths of what is free or used already."""
    used = sum(archive.unpacked_bytes for _, archive in kept)
    return int((shutil.disk_usage(root).free + used) * _DISK_SHARE)


async def _no_memory() -> tuple[int, int]:
    """Report no memory in use: the container's admission knows, and answers a load with 507."""
    return 0, 1
