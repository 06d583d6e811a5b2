"""Model archives on their way from S3, or from a folder, to a disk."""

import asyncio
import errno
import shutil
import stat
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from polyhost.archives import Extractor, InvalidArchiveError
from polyhost.model_cache.errors import DiskFullError, DownloadError, ModelDataInvalidError, ModelDataMissingError
from polyhost.model_cache.interfaces import ObjectStore
from polyhost.model_cache.model_url import ModelData

PARALLEL_DOWNLOADS = 16

T = TypeVar("T")
_StoreGetter = Callable[[], ObjectStore]  # to be called in a thread: creating a client of boto3 takes a while


@dataclass(frozen=True)
class UnpackedArchive:
    """An archive that has been downloaded and unpacked."""

    etag: str
    archive_bytes: int
    unpacked_bytes: int
    seconds: float  # for both


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
    """The place where model archives come from; `store` returns the object store of a region."""

    def __init__(self, store: Callable[[str], ObjectStore]) -> None:
        self._store = lru_cache(None)(store)
        self._slots = asyncio.Semaphore(PARALLEL_DOWNLOADS)

    async def fetch(
        self, data: ModelData, folder: Path, limit_bytes: int, timeout_s: float, region: str
    ) -> UnpackedArchive:
        """Create the folder with the unpacked archive, complete or not at all.

        The folder that holds its parent must exist. Raises DownloadError.
        """
        extractor = Extractor()
        download = _Download(data, partial(self._store, region), folder, limit_bytes, extractor)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._in_thread(partial(_fetch, download))
        except TimeoutError:
            raise DownloadError(f"{data} was not downloaded within {timeout_s:.0f} s") from None
        finally:
            extractor.abort()

    async def etag(self, data: ModelData, region: str) -> str | None:
        """Return the ETag of an object, or None if there is none at this address."""
        try:
            etag, _ = await self._in_thread(partial(_head, data, partial(self._store, region)))
            return etag
        except ModelDataMissingError:
            return None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Call `work` in a daemon thread: one of an executor would keep the process from ending while S3 is silent."""
        outcome: Future[T] = Future()

        def run() -> None:
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(work())
                except BaseException as error:
                    outcome.set_exception(error)

        async with self._slots:
            threading.Thread(target=run, name="download", daemon=True).start()
            return await asyncio.wrap_future(outcome)


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
        raise ModelDataInvalidError(f"{data}: {error}") from error
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DownloadError
        raise kind(f"{data} could not be unpacked: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _archive(download: _Download, work: Path) -> tuple[Path, str]:
    """Return the archive as a file, and its ETag."""
    data = download.data
    etag, size = _head(data, download.store)
    if size > download.limit_bytes:
        raise ModelDataInvalidError(
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
