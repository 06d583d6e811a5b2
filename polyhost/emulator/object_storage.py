"""Objects of S3 that jobs and invocations read and write: in the emulator's own S3, or in that of --s3-endpoint."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ParamValidationError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from polyhost.daemon_threads import in_daemon_thread
from polyhost.emulator.aws_clients import S3Clients
from polyhost.emulator.errors import BucketMissingError, ObjectMissingError, StorageError
from polyhost.model_cache.model_url import ModelData

PARALLEL_TRANSFERS = 16
# Parts of 8 MB, one after the other: a transfer needs as much memory, whatever the object's size.
_IN_THIS_THREAD = TransferConfig(use_threads=False)
_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 3
_BROKEN = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
_MISSING = ("404", "NoSuchKey", "NotFound")
_DENIED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectSummary:
    """An object in a list, with its address and its size in bytes."""

    uri: str
    size: int


@dataclass(frozen=True)
class ObjectHead:
    """What S3 says about an object without its content; the size is in bytes."""

    size: int
    etag: str
    content_type: str


@dataclass(frozen=True)
class _Address:
    uri: str
    bucket: str
    key: str


class ObjectStorage:
    """Reads and writes objects in threads, a part at a time.

    Addresses are s3://BUCKET/KEY, or https:// in the forms of S3. All methods raise StorageError, whose message names
    the address and the remedy: ObjectMissingError for an object that does not exist, BucketMissingError for a bucket.
    """

    def __init__(self, clients: S3Clients) -> None:
        self._clients = clients
        self._slots = asyncio.Semaphore(PARALLEL_TRANSFERS)

    async def head(self, region: str, uri: str) -> ObjectHead:
        """Return what is known about an object."""
        return await self._call("read", region, uri, _head)

    async def list(self, region: str, prefix: str) -> list[ObjectSummary]:
        """Return all objects whose addresses start with the prefix, by name; the bucket must exist."""
        return await self._call("list", region, prefix, _list)

    async def check_bucket(self, region: str, uri: str) -> None:
        """Raise StorageError if the bucket of an address does not exist, or is not to be accessed."""
        await self._call("reach", region, uri, _head_bucket)

    async def download(self, region: str, uri: str, path: Path, max_bytes: int | None = None) -> None:
        """Write an object to a file, which may exist. If this is cancelled, the file is not complete.

        Of an object with more than `max_bytes` nothing is read: that is a StorageError.
        """
        transfer = _Transfer()
        with transfer.aborted_at_exit(), path.open("wb") as file:
            work = partial(_download, file=file, transfer=transfer, max_bytes=max_bytes)
            await self._call("download", region, uri, work)

    async def upload(
        self, region: str, uri: str, content: bytes | Path, content_type: str | None, kms_key_id: str | None = None
    ) -> None:
        """Write an object: all of it or nothing, and also nothing if this is cancelled in time."""
        settings = {"ContentType": content_type} if content_type else {}
        if kms_key_id:
            settings |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id}
        transfer = _Transfer()
        with transfer.aborted_at_exit():
            work = partial(_upload, content=content, settings=settings, transfer=transfer)
            await self._call("write", region, uri, work)

    async def _call(self, verb: str, region: str, uri: str, work: Callable[[Any, _Address], T]) -> T:
        address = _parse(uri)

        def run() -> T:
            client = self._clients.of(region)
            with self._errors(verb, client, address):
                return work(client, address)

        async with self._slots:
            return await in_daemon_thread(run, "object-storage")

    @contextmanager
    def _errors(self, verb: str, client: Any, address: _Address) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchBucket" or (code in _MISSING and not _has_bucket(client, address.bucket)):
                raise BucketMissingError(
                    f"there is no bucket {address.bucket} for {address.uri}; create it, or correct the address"
                ) from None
            if code in _MISSING:
                raise ObjectMissingError(
                    f"there is no object at {address.uri}; upload it, or correct the address"
                ) from None
            denied = code in _DENIED
            remedy = "check the credentials and the bucket's policy" if denied else "check the address and the S3"
            raise StorageError(f"cannot {verb} {address.uri}: {error}; {remedy}") from error
        except ParamValidationError as error:
            reason = " ".join(str(error).split())
            raise StorageError(f"cannot {verb} {address.uri}: {reason}; correct the address") from error
        except (BotoCoreError, Boto3Error) as error:
            raise StorageError(
                f"cannot {verb} {address.uri}: {error}; check that the S3 at {self._clients.url} answers"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot {verb} {address.uri}: {error}; check the disk") from error


class _Transfer:
    """Ends a transfer in a thread soon after its caller has stopped waiting."""

    def __init__(self) -> None:
        self._aborted = threading.Event()

    @contextmanager
    def aborted_at_exit(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._aborted.set()

    def check(self, _: int = 0) -> None:
        if self._aborted.is_set():
            raise StorageError("the transfer was cancelled")


def _parse(uri: str) -> _Address:
    try:
        found = ModelData.parse(uri)
    except ValueError:
        found = ModelData(None, "")
    if found.bucket is None:
        raise StorageError(
            f"{uri!r} is no address of an object; use s3://BUCKET/KEY or https://s3-REGION.amazonaws.com/BUCKET/KEY"
        )
    return _Address(uri, found.bucket, found.key)


def _head(client: Any, address: _Address) -> ObjectHead:
    found = client.head_object(Bucket=address.bucket, Key=address.key)
    return ObjectHead(found["ContentLength"], found["ETag"], found["ContentType"])


def _head_bucket(client: Any, address: _Address) -> None:
    client.head_bucket(Bucket=address.bucket)


def _list(client: Any, address: _Address) -> list[ObjectSummary]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=address.key)
    return [
        ObjectSummary(f"s3://{address.bucket}/{item['Key']}", item["Size"])
        for page in pages
        for item in page.get("Contents", [])
    ]


def _download(client: Any, address: _Address, file: IO[bytes], transfer: _Transfer, max_bytes: int | None) -> None:
    """Read the object in one request: moto reads all of it for each one, whatever range that asks for."""
    for attempt in range(1, _ATTEMPTS + 1):
        transfer.check()
        found = client.get_object(Bucket=address.bucket, Key=address.key)
        with closing(found["Body"]) as body:
            if max_bytes is not None and found["ContentLength"] > max_bytes:
                size = found["ContentLength"]
                raise StorageError(
                    f"{address.uri} has {size} bytes, more than the limit of {max_bytes}; make it smaller"
                )
            try:
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    transfer.check()
                    file.write(chunk)
                file.flush()
                return
            except _BROKEN:  # botocore repeats requests, but not what is read of a response
                if attempt == _ATTEMPTS:
                    raise
        file.seek(0)
        file.truncate()


def _upload(
    client: Any, address: _Address, content: bytes | Path, settings: dict[str, str], transfer: _Transfer
) -> None:
    transfer.check()
    if isinstance(content, bytes):
        client.put_object(Bucket=address.bucket, Key=address.key, Body=content, **settings)
        return
    with content.open("rb") as file:
        client.upload_fileobj(
            file, address.bucket, address.key, ExtraArgs=settings, Callback=transfer.check, Config=_IN_THIS_THREAD
        )


def _has_bucket(client: Any, bucket: str) -> bool:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] not in (*_MISSING, "NoSuchBucket")
    return True
