"""The place where models come from: a folder, or a prefix in an object store."""

import asyncio
import os
import re
import reprlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from polyhost.container.errors import ConfigError
from polyhost.container.model_store.settings import StoreSettings
from polyhost.container.model_store.source.objects import ObjstoreBucket
from polyhost.container.model_store.source.open_objects import OpenObjects
from polyhost.container.model_store.source.versions import ModelVersion, unpacked_version
from polyhost.daemon_threads import in_daemon_thread
from polyhost.model_cache.downloads import ModelSource
from polyhost.model_cache.errors import DownloadError, ModelDataMissingError, TargetOutsideError
from polyhost.model_cache.interfaces import ObjectStore, UnpackedArchive
from polyhost.model_cache.model_url import ModelData

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,1023}")  # botocore, TargetModelHeader
_DOWNLOAD_S = 3600.0  # SageMaker's longest, ModelDataDownloadTimeoutInSeconds
_LOOK_S = 30.0
_REGION = ""  # the store has its own

T = TypeVar("T")


class ModelStore:
    """Finds models by their names, and fetches their archives. Its methods raise DownloadError."""

    def __init__(self, settings: StoreSettings, variables: Mapping[str, str]) -> None:
        """`variables` are those of the environment that tell credentials. Raises ConfigError."""
        self.prefix = settings.prefix
        self._folder = settings.folder
        if self._folder is not None and not self._folder.is_dir():
            raise ConfigError(
                f"POLYHOST_MODEL_STORE={settings.where!r}: there is no such folder; create it or mount it"
            )
        self._bucket = None if self._folder is not None else ObjstoreBucket(self.prefix, variables)
        self._downloads = ModelSource(self._object_store)
        self._looks = ModelSource(self._object_store)  # apart, so that they do not wait for downloads
        self._opened = OpenObjects()

    def start(self) -> None:
        """Be ready to unpack an archive at once."""
        self._downloads.start()

    async def close(self) -> None:
        self._opened.close()
        await self._downloads.close()

    async def find(self, target: str) -> ModelVersion:
        """Return what is in the store under this name. Raises ModelDataMissingError."""
        place = self._place(target)
        if self._folder is not None:
            return await self._look(partial(_find_in_folder, self._folder, target, place))
        etag = await self._answered(place, self._looks.etag(place, _REGION))
        if etag is None:
            raise ModelDataMissingError(str(place))
        return ModelVersion(target, etag, place)

    async def find_to_fetch(self, target: str) -> ModelVersion:
        """Do as `find`, and ask for the archive in the same request, for the `fetch` that comes next."""
        place = self._place(target)
        if place.bucket is None:
            return await self.find(target)
        opened = await self._answered(place, self._looks.open(place.bucket, place.key, _REGION))
        version = ModelVersion(target, opened.etag, place)
        self._opened.keep(version.id, opened)
        return version

    async def newer(self, version: ModelVersion) -> ModelVersion | None:
        """Return the version that is there now, or None if it is still this one. Raises ModelDataMissingError."""
        if version.folder:
            unchanged = await self._look(version.is_unchanged)
            if unchanged:
                return None
        found = await self.find(version.target)
        return None if found.etag == version.etag else found

    async def fetch(self, version: ModelVersion, folder: Path, limit_bytes: int) -> UnpackedArchive:
        """Unpack an archive into a new folder."""
        opened = self._opened.take(version.id)
        return await self._downloads.fetch(version.place, folder, limit_bytes, _DOWNLOAD_S, _REGION, opened)

    async def names(self) -> list[str]:
        """Return the names of all models: archives, and the folders of unpacked ones."""
        if self._folder is not None:
            return await self._look(partial(_names_in_folder, self._folder))
        assert self._bucket is not None
        keys = await self._look(lambda: list(self._open_bucket().list_keys(self.prefix.key)))
        names = (key.removeprefix(self.prefix.key) for key in keys)
        return sorted(name for name in names if name.endswith(ARCHIVE_SUFFIXES))

    def _place(self, target: str) -> ModelData:
        parts = target.split("/")
        if not _NAME.fullmatch(target) or any(part in ("", ".", "..") for part in parts):
            reason = "it must be a path below the store, without . and .., of 1 to 1024 characters"
            raise TargetOutsideError(str(self.prefix), f"TargetModel is {reprlib.repr(target)}; {reason}")
        return self.prefix.join(target)

    def _object_store(self, region: str) -> ObjectStore:
        return self._open_bucket()

    def _open_bucket(self) -> ObjstoreBucket:
        assert self._bucket is not None, "a folder is read directly"
        return self._bucket

    async def _answered(self, place: ModelData, look: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(_LOOK_S):
                return await look
        except TimeoutError:
            raise _silent(place) from None

    async def _look(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(_LOOK_S):
                return await in_daemon_thread(work, "store")
        except TimeoutError:
            raise _silent(self.prefix) from None
        except OSError as error:
            raise DownloadError(f"{self.prefix} could not be read: {error}") from error


def _silent(place: ModelData) -> DownloadError:
    return DownloadError(f"{place} was not answered for within {_LOOK_S:g} s")


def _find_in_folder(store: Path, target: str, place: ModelData) -> ModelVersion:
    path = Path(place.key)
    if path.is_dir():
        if not path.resolve().is_relative_to(store.resolve()):
            message = f"TargetModel {target!r} leads out of {store}, by a link; put the folder itself there"
            raise TargetOutsideError(str(place), message)
        return unpacked_version(target, place, path)
    if not path.is_file():
        if not store.is_dir():
            raise DownloadError(f"{store} is not there; is it mounted?")
        raise ModelDataMissingError(str(place))
    status = path.stat()
    return ModelVersion(target, f"{status.st_mtime_ns}-{status.st_size}", place)


def _names_in_folder(store: Path) -> list[str]:
    return sorted(str(PurePosixPath(path.relative_to(store))) for path in _models_below(store))


def _models_below(folder: Path) -> Iterator[Path]:
    """Yield archives, and folders that hold other files: those are unpacked models, and not looked into."""
    folders = []
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_file() and path.name.endswith(ARCHIVE_SUFFIXES):
            yield path
        elif entry.is_dir() and not path.name.startswith("."):
            folders.append(path)
    for path in folders:
        if _is_model(path):
            yield path
        else:
            yield from _models_below(path)


def _is_model(folder: Path) -> bool:
    entries = list(folder.iterdir())
    if [entry.name for entry in entries] == ["model"]:
        return True
    return any(entry.is_file() and not entry.name.endswith(ARCHIVE_SUFFIXES) for entry in entries)
