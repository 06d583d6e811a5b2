"""Model archives on their way from S3, or from a folder, to a disk."""

import asyncio
import errno
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
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
from polyhost.model_cache.interfaces import ObjectStore, OpenObject, UnpackedArchive
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
    timeout_s: float
    extractor: Extractor
    opened: OpenObject | None

    def check(self) -> None:
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
        self,
        data: ModelData,
        folder: Path,
        limit_bytes: int,
        timeout_s: float,
        region: str,
        opened: OpenObject | None = None,
    ) -> UnpackedArchive:
        """Create the folder with the unpacked archive, complete or not at all.

        The folder that holds its parent must exist. `opened`: the archive, if it is on its way already. Raises
        DownloadError.
        """
        extractor = Extractor(standby=self._standby)
        download = _Download(data, partial(self._store, region), folder, limit_bytes, timeout_s, extractor, opened)
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
            return await self._in_thread(partial(_etag, data, partial(self._store, region)))
        except ModelDataMissingError:
            return None

    async def open(self, bucket: str, key: str, region: str) -> OpenObject:
        """Ask for an object, to fetch it soon. Raises DownloadError."""
        return await self._in_thread(lambda: self._store(region).get(bucket, key))

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
        unpacked = work / "model"
        work.mkdir()
        unpacked.mkdir(mode=0o755)
        etag, size, unpacked_size = _unpack(download, unpacked)
        download.check()
        shutil.rmtree(folder, ignore_errors=True)  # of a download that was abandoned too late to notice
        unpacked.rename(folder)
        return UnpackedArchive(etag, size, unpacked_size, time.monotonic() - start)
    except InvalidArchiveError as error:
        too_large = str(error) == extraction.too_large(download.limit_bytes)
        kind = ModelDataTooLargeError if too_large else ModelDataInvalidError
        raise kind(f"{data}: {error}") from error
    except OSError as error:
        failure = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DownloadError
        raise failure(f"{data} could not be unpacked: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(download: _Download, folder: Path) -> tuple[str, int, int]:
    """Return the archive's ETag and size, and the bytes of its files."""
    data, limit_bytes = download.data, download.limit_bytes
    with download.extractor as extractor:  # its process starts while the archive is on its way
        if data.bucket is None:
            path = Path(data.key)
            etag, size = _file_state(data)
            _check_size(download, size)
            _check_readable(data, path)
            return etag, size, extractor.unpack(path, folder, limit_bytes)
        opened = download.opened or download.store().get(data.bucket, data.key)
        _check_size(download, opened.size)
        chunks = _watched(download, opened)
        written = extractor.unpack_stream(chunks, opened.size, folder, limit_bytes, download.timeout_s)
        return opened.etag, opened.size, written


def _watched(download: _Download, opened: OpenObject) -> Iterator[bytes]:
    came = 0
    for chunk in opened.chunks:
        download.check()
        came += len(chunk)
        yield chunk
    if came != opened.size:
        raise DownloadError(f"{download.data} could not be downloaded: {came} of {opened.size} bytes came")


def _check_size(download: _Download, size: int) -> None:
    if size > download.limit_bytes:
        raise ModelDataTooLargeError(
            f"{download.data}: the archive has {size} bytes, more than the volume's {download.limit_bytes}"
        )


def _check_readable(data: ModelData, path: Path) -> None:
    """Raise DownloadError where the process that unpacks it would not say that the archive is at fault."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise DownloadError(f"{data} could not be read: {error.strerror}") from error


def _etag(data: ModelData, store: _StoreGetter) -> str:
    if data.bucket is not None:
        return store().etag(data.bucket, data.key)
    etag, _ = _file_state(data)
    return etag


def _file_state(data: ModelData) -> tuple[str, int]:
    """Return what serves as the ETag of a file, and its size. Raises ModelDataMissingError."""
    try:
        status = Path(data.key).stat()
    except OSError:
        raise ModelDataMissingError(str(data)) from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelDataMissingError(str(data))
    return f"{status.st_mtime_ns}-{status.st_size}", status.st_size
