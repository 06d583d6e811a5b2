"""Model archives on their way from S3, or from a folder, to a disk."""

import asyncio
import errno
import shutil
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from polyhost import extraction
from polyhost.archives import Extractor, InvalidArchiveError
from polyhost.daemon_threads import in_daemon_thread
from polyhost.extractor_process import StandbyExtractorProcess
from polyhost.model_cache.background import BackgroundTasks
from polyhost.model_cache.errors import (
    DiskFullError,
    DownloadError,
    ModelDataInvalidError,
    ModelDataMissingError,
    ModelDataTooLargeError,
)
from polyhost.model_cache.interfaces import ObjectStore, UnpackedArchive
from polyhost.model_cache.model_url import ModelData

PARALLEL_DOWNLOADS = 16

T = TypeVar("T")
_StoreGetter = Callable[[], ObjectStore]  # to be called in a thread: creating a client of boto3 takes a while


@dataclass(frozen=True)
class _Download:
    """One download; its extractor is aborted when the caller of `fetch` stops waiting."""

    data: ModelData
    store: _StoreGetter
    folder: Path
    limit_bytes: int
    extractor: Extractor

    def check(self, _: int = 0) -> None:
        """Raise DownloadError if the caller of `fetch` has stopped waiting."""
        if self.extractor.aborted:
            raise DownloadError(f"the download of {self.data} was cancelled")


class ModelSource:
    """The place where model archives come from; `store` returns the object store of a region.

    Without `start` each archive waits for the process that unpacks it; with it, one is ready for the next archive.
    """

    def __init__(self, store: Callable[[str], ObjectStore]) -> None:
        self._store = lru_cache(None)(store)
        self._slots = asyncio.Semaphore(PARALLEL_DOWNLOADS)
        self._standby: StandbyExtractorProcess | None = None
        self._background = BackgroundTasks()

    def start(self) -> None:
        """Start the process that will unpack the next archive, and from then on another after each archive."""
        self._standby = StandbyExtractorProcess()
        self._prepare_standby()

    async def close(self) -> None:
        """End the process that `start` has started."""
        await self._background.close()
        if self._standby is not None:
            await in_daemon_thread(self._standby.close, "extractor")

    async def fetch(
        self, data: ModelData, folder: Path, limit_bytes: int, timeout_s: float, region: str
    ) -> UnpackedArchive:
        """Create the folder with the unpacked archive, complete or not at all.

        The folder that holds its parent must exist. Raises DownloadError.
        """
        extractor = Extractor(standby=self._standby)
        download = _Download(data, partial(self._store, region), folder, limit_bytes, extractor)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._in_thread(partial(_fetch, download))
        except TimeoutError:
            raise DownloadError(f"{data} was not downloaded within {timeout_s:.0f} s") from None
        finally:
            extractor.abort()
            self._prepare_standby()

    async def etag(self, data: ModelData, region: str) -> str | None:
        """Return the ETag of an object, or None if there is none at this address."""
        try:
            etag, _ = await self._in_thread(partial(_head, data, partial(self._store, region)))
            return etag
        except ModelDataMissingError:
            return None

    def _prepare_standby(self) -> None:
        # After an archive and not beside it, from which it would take processor time; in a thread, as it blocks.
        if self._standby is not None:
            self._background.start(in_daemon_thread(self._standby.prepare, "extractor"))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._slots:
            return await in_daemon_thread(work, "download")


@dataclass(frozen=True)
class PrefixSource:
    """An `ArchiveSource`: archives below one prefix, by the rest of their keys."""

    source: ModelSource
    prefix: ModelData
    region: str
    timeout_s: float

    def address(self, name: str) -> ModelData:
        return self.prefix.join(name)

    async def fetch(self, name: str, folder: Path, limit_bytes: int) -> UnpackedArchive:
        return await self.source.fetch(self.address(name), folder, limit_bytes, self.timeout_s, self.region)

    async def etag(self, name: str) -> str | None:
        return await self.source.etag(self.address(name), self.region)


def _fetch(download: _Download) -> UnpackedArchive:
    start = time.monotonic()
    data, folder = download.data, download.folder
    work = folder.parent / f".download-{uuid.uuid4().hex}"
    try:
        download.check()
        folder.parent.mkdir(exist_ok=True)  # without its parents: the folder of a stopped instance must not come back
        work.mkdir()
        with download.extractor as extractor:  # its process starts while the archive is on its way
            archive, etag = _archive(download, work)
            unpacked = work / "model"
            unpacked.mkdir(mode=0o755)
            size = extractor.unpack(archive, unpacked, download.limit_bytes)
        download.check()
        shutil.rmtree(folder, ignore_errors=True)  # of a download that was abandoned too late to notice
        unpacked.rename(folder)
        return UnpackedArchive(etag, archive.stat().st_size, size, time.monotonic() - start)
    except InvalidArchiveError as error:
        too_large = str(error) == extraction.too_large(download.limit_bytes)
        kind = ModelDataTooLargeError if too_large else ModelDataInvalidError
        raise kind(f"{data}: {error}") from error
    except OSError as error:
        failure = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DownloadError
        raise failure(f"{data} could not be unpacked: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _archive(download: _Download, work: Path) -> tuple[Path, str]:
    """Return the archive as a file, and its ETag."""
    data = download.data
    etag, size = _head(data, download.store)
    if size > download.limit_bytes:
        raise ModelDataTooLargeError(
            f"{data}: the archive has {size} bytes, more than the volume's {download.limit_bytes}"
        )
    if data.bucket is None:
        try:
            Path(data.key).open("rb").close()
        except OSError as error:
            raise DownloadError(f"{data} could not be read: {error.strerror}") from error
        return Path(data.key), etag
    path = work / "archive"
    download.store().download(data.bucket, data.key, path, download.check)
    return path, etag


def _head(data: ModelData, store: _StoreGetter) -> tuple[str, int]:
    """Return ETag and size in bytes; for a file, its time of modification serves as ETag."""
    if data.bucket is not None:
        return store().head(data.bucket, data.key)
    try:
        status = Path(data.key).stat()
    except OSError:
        raise ModelDataMissingError(str(data)) from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelDataMissingError(str(data))
    return f"{status.st_mtime_ns}-{status.st_size}", status.st_size
