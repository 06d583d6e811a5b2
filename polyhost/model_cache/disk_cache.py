"""The disk half of the model cache: unpacked archives within a budget; those used least recently make room."""

import asyncio
import contextlib
import hashlib
import shutil
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from polyhost.model_cache.background import BackgroundTasks
from polyhost.model_cache.errors import DiskFullError, ModelServingError
from polyhost.model_cache.interfaces import ArchiveSource, CacheObserver, UnpackedArchive
from polyhost.model_cache.model_url import ModelData


def key_of(name: str) -> str:
    """Return the name under which a model lies on the disk and is known to the container: hex digits of a hash."""
    return hashlib.sha256(name.encode()).hexdigest()


class DiskCache:
    """Unpacked archives by model name, least recently used first; that of a model is in FOLDER/KEY/model.

    Together they take `volume_bytes` at most, but for one that has just come. `in_use` returns whether the container
    has a model's files open, or soon will. `evict_idle` unloads the least recently used idle model, removes its
    archive, and returns False if no model is idle.
    """

    def __init__(
        self,
        folder: Path,
        volume_bytes: int,
        source: ArchiveSource,
        observer: CacheObserver,
        in_use: Callable[[str], bool],
        evict_idle: Callable[[str], Awaitable[bool]],
    ) -> None:
        self.archives: OrderedDict[str, UnpackedArchive] = OrderedDict()
        self._folder = folder
        self._volume_bytes = volume_bytes
        self._source = source
        self._observer = observer
        self._in_use = in_use
        self._evict_idle = evict_idle
        self._downloads: dict[str, asyncio.Task[None]] = {}
        self._background = BackgroundTasks()

    @property
    def used_bytes(self) -> int:
        return sum(archive.unpacked_bytes for archive in self.archives.values())

    async def close(self) -> None:
        await self._background.close()

    async def provide(self, name: str) -> str:
        """Download and unpack a model's archive unless it is here; one download serves all who wait for it.

        Return where it is below the folder. Raises DownloadError.
        """
        data, place = self._source.address(name), f"{key_of(name)}/model"
        if name in self.archives:
            self.check_overwritten(name)
            return place
        # The download continues if a caller is cancelled, as its thread does: the next load uses the result.
        download = self._downloads.get(name)
        if download is None:
            download = self._downloads[name] = self._background.start(self._download(name, data))
            download.add_done_callback(lambda _: self._downloads.pop(name, None))
        await asyncio.shield(download)
        return place

    def touch(self, name: str) -> None:
        """Mark an archive as the one used last."""
        if name in self.archives:
            self.archives.move_to_end(name)

    async def remove(self, name: str) -> None:
        if self.archives.pop(name, None) is None:
            return
        removed = self._folder / f".removed-{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            (self._folder / key_of(name)).rename(removed)  # at once, so that the next download finds nothing in its way
        await asyncio.shield(self._background.start(asyncio.to_thread(shutil.rmtree, removed, True)))

    def check_overwritten(self, name: str) -> None:
        """Report to the observer, later, if the object has changed since it was downloaded."""
        self._background.start(self._check_overwritten(name))

    async def _check_overwritten(self, name: str) -> None:
        archive = self.archives.get(name)
        data = self._source.address(name)
        with contextlib.suppress(ModelServingError):  # the copy on the disk serves all the same
            etag = await self._source.etag(name)
            if archive is not None and etag is not None and etag != archive.etag:
                self._observer.on_overwritten(name, data)

    async def _download(self, name: str, data: ModelData) -> None:
        archive = await self._fetch(name)
        self.archives[name] = archive
        self._observer.on_downloaded(name, data, archive.archive_bytes, archive.seconds)
        while self.used_bytes > self._volume_bytes and await self._remove_one(f"to make room for {name}"):
            pass

    async def _fetch(self, name: str) -> UnpackedArchive:
        folder = self._folder / key_of(name) / "model"
        while True:
            try:
                return await self._source.fetch(name, folder, self._volume_bytes)
            except DiskFullError:
                if not await self._remove_one(f"the machine's disk is full, and {name} needs room"):
                    raise

    async def _remove_one(self, reason: str) -> bool:
        """Remove the least recently used archive, one that is not in use if there is one.

        Returns False if none can go.
        """
        name = next((name for name in self.archives if not self._in_use(name)), None)
        if name is None:
            return await self._evict_idle(f"and deleted from the disk, {reason}")
        self._observer.on_removed_from_disk(name, reason)
        await self.remove(name)
        return True
