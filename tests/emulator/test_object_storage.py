"""Objects of the emulator's own S3 and of another one."""

import asyncio
import os
import socket
import threading
import tracemalloc
from pathlib import Path

import pytest

from polyhost.emulator.aws_clients import S3Clients
from polyhost.emulator.errors import BucketMissingError, ObjectMissingError, StorageError
from polyhost.emulator.object_storage import ObjectStorage, ObjectSummary
from polyhost.processes import free_port, running_emulator
from tests.emulator.conftest import REGION, Local
from tests.support.emulator import boto3_client
from tests.support.s3 import s3_server

DEADLINE_S = 60.0


@pytest.fixture
def storage(local: Local) -> ObjectStorage:
    return ObjectStorage(S3Clients(local.emulator.url, None))


def test_bytes_are_written_listed_and_read(local: Local, storage: ObjectStorage, tmp_path: Path) -> None:
    async def scenario() -> None:
        await storage.upload(REGION, "s3://models/listed/b c.csv", b"1,2\n", "text/csv")
        await storage.upload(REGION, "s3://models/listed/a", b"", None)
        head = await storage.head(REGION, "s3://models/listed/b c.csv")
        assert (head.size, head.content_type) == (4, "text/csv")
        assert head.etag == local.s3.head_object(Bucket="models", Key="listed/b c.csv")["ETag"]
        assert await storage.list(REGION, "s3://models/listed/") == [
            ObjectSummary("s3://models/listed/a", 0),
            ObjectSummary("s3://models/listed/b c.csv", 4),
        ]
        assert await storage.list(REGION, "s3://models/listed-of-nothing") == []
        target = tmp_path / "b"
        target.write_bytes(b"something longer that was there before")
        for address in ("s3://models/listed/b c.csv", f"https://s3-{REGION}.amazonaws.com/models/listed/b%20c.csv"):
            await storage.download(REGION, address, target)
            assert target.read_bytes() == b"1,2\n"

    asyncio.run(scenario())


def test_more_objects_than_one_page_of_a_list(local: Local, storage: ObjectStorage) -> None:
    names = [f"{number:04}" for number in range(1003)]
    for name in names:
        local.s3.put_object(Bucket="models", Key=f"many/{name}", Body=b"")
    found = asyncio.run(storage.list(REGION, "s3://models/many/"))
    assert [item.uri.rpartition("/")[2] for item in found] == names


def test_the_key_for_encryption_is_passed_on(local: Local, storage: ObjectStorage, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for content in (b"x", tmp_path / "x"):
        asyncio.run(storage.upload(REGION, "s3://models/storage/secret", content, None, "alias/mine"))
        head = local.s3.head_object(Bucket="models", Key="storage/secret")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/mine")
        local.s3.delete_object(Bucket="models", Key="storage/secret")


def test_a_large_object_is_never_in_memory(tmp_path: Path) -> None:
    size = 64 << 20
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    with running_emulator(tmp_path) as emulator:
        boto3_client(emulator.url, "s3").create_bucket(Bucket="large")
        storage = ObjectStorage(S3Clients(emulator.url, None))

        async def scenario() -> None:
            await storage.upload("us-east-1", "s3://large/object", source, "application/octet-stream")
            await storage.download("us-east-1", "s3://large/object", target)

        tracemalloc.start()
        asyncio.run(scenario())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert target.read_bytes() == source.read_bytes()
    assert peak < size / 2


def test_a_download_that_breaks_off_is_repeated(tmp_path: Path) -> None:
    """Twice the connection ends before the object does; what had come is not in the file twice."""
    requests: list[int] = []

    def serve(listener: socket.socket) -> None:
        for sent in (b"", b"hal", b"halves"):
            connection, _ = listener.accept()
            with connection:
                requests.append(len(connection.recv(65536)))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n" + sent)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        storage = ObjectStorage(S3Clients(f"http://127.0.0.1:{listener.getsockname()[1]}", None))
        asyncio.run(storage.download(REGION, "s3://b/k", tmp_path / "x"))
        thread.join(DEADLINE_S)
    assert (tmp_path / "x").read_bytes() == b"halves"
    assert len(requests) == 3


def test_an_object_above_the_limit_is_not_read(local: Local, storage: ObjectStorage, tmp_path: Path) -> None:
    local.s3.put_object(Bucket="models", Key="storage/limited", Body=b"12345")
    asyncio.run(storage.download(REGION, "s3://models/storage/limited", tmp_path / "x", 5))
    assert (tmp_path / "x").read_bytes() == b"12345"
    with pytest.raises(StorageError, match="s3://models/storage/limited has 5 bytes, more than the limit of 4"):
        asyncio.run(storage.download(REGION, "s3://models/storage/limited", tmp_path / "y", 4))
    assert (tmp_path / "y").read_bytes() == b""


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("s3://models/storage/none", ObjectMissingError, "there is no object at s3://models/storage/none; upload it"),
        ("s3://no-such-bucket/a", BucketMissingError, "there is no bucket no-such-bucket for s3://no-such-bucket/a"),
        ("file:///etc/passwd", StorageError, "'file:///etc/passwd' is no address of an object; use s3://"),
        ("https://example.com/a", StorageError, "'https://example.com/a' is no address of an object"),
        ("s3://a b/c", StorageError, "cannot read s3://a b/c: .*Invalid bucket name"),
    ],
)
def test_addresses_of_nothing(
    storage: ObjectStorage, tmp_path: Path, uri: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        asyncio.run(storage.head(REGION, uri))
    with pytest.raises(kind):
        asyncio.run(storage.download(REGION, uri, tmp_path / "x"))


def test_a_bucket_that_does_not_exist(storage: ObjectStorage, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for content in (b"x", tmp_path / "x"):
        with pytest.raises(BucketMissingError, match="there is no bucket no-such-bucket"):
            asyncio.run(storage.upload(REGION, "s3://no-such-bucket/a", content, None))
    with pytest.raises(BucketMissingError):
        asyncio.run(storage.list(REGION, "s3://no-such-bucket/"))


def test_an_s3_that_does_not_answer_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StorageError, match=f"cannot read s3://b/k: .*; check that the S3 at {url} answers"):
        asyncio.run(ObjectStorage(S3Clients(url, None)).head(REGION, "s3://b/k"))


def test_another_s3_is_used_if_it_is_given(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as (client, variables):
        client.create_bucket(Bucket="elsewhere")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        storage = ObjectStorage(S3Clients("http://127.0.0.1:1", variables["AWS_ENDPOINT_URL_S3"]))
        asyncio.run(storage.upload("us-east-1", "s3://elsewhere/a", b"x", None))
        assert client.get_object(Bucket="elsewhere", Key="a")["Body"].read() == b"x"


def test_a_cancelled_transfer_does_not_wait_for_a_silent_s3(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")

    async def scenario(listener: socket.socket) -> None:
        storage = ObjectStorage(S3Clients(f"http://127.0.0.1:{listener.getsockname()[1]}", None))
        for work in (
            storage.upload(REGION, "s3://b/k", tmp_path / "x", None),
            storage.download(REGION, "s3://b/k", tmp_path / "y"),
        ):
            task = asyncio.create_task(work)
            async with asyncio.timeout(DEADLINE_S):
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            with connection:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        asyncio.run(scenario(listener))
