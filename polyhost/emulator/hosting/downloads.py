"""Model archives on their way from S3, or from a folder, to an instance's disk."""

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
from typing import Any, TypeVar

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from polyhost import archives
from polyhost.emulator.errors import ArchiveError, DiskFull, DownloadError, ModelDataMissing
from polyhost.emulator.hosting.model_url import ModelData

PARALLEL_DOWNLOADS = 16
_IN_THIS_THREAD = TransferConfig(use_threads=False)

T = TypeVar("T")


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
        self._turns = asyncio.Semaphore(PARALLEL_DOWNLOADS)

    async def fetch(self, data: ModelData, folder: Path, limit_bytes: int, timeout_s: float, region: str) -> Fetched:
        """Makes the folder, whole or not at all; the folder that holds its parent exists. Raises DownloadError."""
        given_up = threading.Event()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._apart(partial(self._fetch, data, folder, limit_bytes, region, given_up))
        except TimeoutError:
            raise DownloadError(f"{data} was not downloaded within {timeout_s:.0f} s") from None
        finally:
            given_up.set()

    async def etag(self, data: ModelData, region: str) -> str | None:
        """None where there is no such object."""
        try:
            etag, _ = await self._apart(partial(self._head, data, region))
            return etag
        except ModelDataMissing:
            return None

    async def _apart(self, work: Callable[[], T]) -> T:
        """In a thread of its own that nobody waits for: an executor's would keep the process from ending while S3 is
        silent, for minutes."""
        outcome: Future[T] = Future()

        def run() -> None:
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(work())
                except BaseException as error:
                    outcome.set_exception(error)

        async with self._turns:
            threading.Thread(target=run, name="download", daemon=True).start()
            return await asyncio.wrap_future(outcome)

    def _fetch(
        self, data: ModelData, folder: Path, limit_bytes: int, region: str, given_up: threading.Event
    ) -> Fetched:
        start = time.monotonic()
        work = folder.parent / f".download-{uuid.uuid4().hex}"

        def go_on(_: int = 0) -> None:
            if given_up.is_set():
                raise DownloadError(f"{data} is not wanted any more")

        try:
            go_on()
            folder.parent.mkdir(exist_ok=True)  # not its parents: an instance that is gone is not to come back
            work.mkdir()
            archive, etag = self._archive(data, work, limit_bytes, region, go_on)
            unpacked = work / "model"
            unpacked.mkdir(mode=0o755)
            size = archives.unpack(archive, unpacked, limit_bytes)
            go_on()
            shutil.rmtree(folder, ignore_errors=True)  # of a download that nobody waited for any more
            unpacked.rename(folder)
            return Fetched(etag, archive.stat().st_size, size, time.monotonic() - start)
        except (ArchiveError, archives.InvalidArchiveError) as error:
            raise ArchiveError(f"{data}: {error}") from error
        except OSError as error:
            kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else DownloadError
            raise kind(f"{data} could not be written to the instance's disk: {error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _archive(
        self, data: ModelData, work: Path, limit_bytes: int, region: str, go_on: Callable[[int], None]
    ) -> tuple[Path, str]:
        """With its ETag."""
        etag, size = self._head(data, region)
        if size > limit_bytes:
            raise ArchiveError(f"the archive has {size} bytes, more than the {limit_bytes} of the instance's volume")
        if data.bucket is None:
            try:
                Path(data.key).open("rb").close()
            except OSError as error:
                raise DownloadError(f"{data} could not be read: {error.strerror}") from error
            return Path(data.key), etag
        path = work / "archive"
        try:
            self._client(region).download_file(data.bucket, data.key, str(path), Callback=go_on, Config=_IN_THIS_THREAD)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise DownloadError(f"{data} could not be downloaded: {error}") from error
        return path, etag

    def _head(self, data: ModelData, region: str) -> tuple[str, int]:
        """ETag and bytes."""
        if data.bucket is None:
            try:
                status = Path(data.key).stat()
            except OSError:
                raise ModelDataMissing(missing(data)) from None
            if not stat.S_ISREG(status.st_mode):
                raise ModelDataMissing(missing(data))
            return f"{status.st_mtime_ns}-{status.st_size}", status.st_size
        try:
            found = self._client(region).head_object(Bucket=data.bucket, Key=data.key)
            return found["ETag"], found["ContentLength"]
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
