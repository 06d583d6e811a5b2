"""Model archives on their way from S3, or from a folder, to an instance's disk."""

import asyncio
import errno
import shutil
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from emulator import archives
from emulator.errors import ArchiveError, DiskFull, DownloadError, ModelDataMissing
from emulator.model_data import ModelData

PARALLEL_DOWNLOADS = 16


@dataclass(frozen=True)
class Fetched:
    """An unpacked archive."""

    etag: str
    archive_bytes: int
    unpacked_bytes: int
    seconds: float


class ModelSource:
    """Where model archives come from; `client` gives an S3 client for a region."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = lru_cache(None)(client)
        self._threads = ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, data: ModelData, folder: Path, limit_bytes: int, timeout_s: float, region: str) -> Fetched:
        """Makes the folder, whole or not at all. Raises DownloadError."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._fetch, data, folder, limit_bytes, region)
        try:
            return await asyncio.wait_for(asyncio.shield(work), timeout_s)
        except TimeoutError:
            raise DownloadError(f"{data} was not downloaded within {timeout_s:.0f} s") from None

    async def etag(self, data: ModelData, region: str) -> str | None:
        """None where there is no such object."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._head, data, region)
        except ModelDataMissing:
            return None

    def _fetch(self, data: ModelData, folder: Path, limit_bytes: int, region: str) -> Fetched:
        start = time.monotonic()
        work = folder.parent / f".download-{uuid.uuid4().hex}"
        try:
            work.mkdir(parents=True)
            etag, archive = self._archive(data, work, limit_bytes, region)
            unpacked = work / "model"
            unpacked.mkdir(mode=0o755)
            size = archives.unpack(archive, unpacked, limit_bytes)
            shutil.rmtree(folder, ignore_errors=True)  # of a download that nobody waited for any more
            unpacked.rename(folder)
            return Fetched(etag, archive.stat().st_size, size, time.monotonic() - start)
        except ArchiveError as error:
            raise ArchiveError(f"{data}: {error}") from error
        except OSError as error:
            kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else DownloadError
            raise kind(f"{data} could not be written to the instance's disk: {error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _archive(self, data: ModelData, work: Path, limit_bytes: int, region: str) -> tuple[str, Path]:
        etag = self._head(data, region)
        if data.bucket is None:
            return etag, Path(data.key)
        path = work / "archive"
        try:
            self._client(region).download_file(data.bucket, data.key, str(path))
        except (ClientError, BotoCoreError) as error:
            raise DownloadError(f"{data} could not be downloaded: {error}") from error
        return etag, path

    def _head(self, data: ModelData, region: str) -> str:
        if data.bucket is None:
            try:
                status = Path(data.key).stat()
            except OSError:
                raise ModelDataMissing(missing(data)) from None
            return f"{status.st_mtime_ns}-{status.st_size}"
        try:
            return str(self._client(region).head_object(Bucket=data.bucket, Key=data.key)["ETag"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
                raise ModelDataMissing(missing(data)) from None
            raise DownloadError(f"{data} could not be read: {error}") from error
        except BotoCoreError as error:
            raise DownloadError(f"{data} could not be read: {error}") from error


def missing(data: ModelData | str | None) -> str:
    """The service's own sentence."""
    return (
        f'Failed to download model data for container "container_1" from URL: "{data}". Please ensure that there is an'
        " object located at the URL and that the role passed to CreateModel has permissions to download the object."
    )
