"""The object store of boto3, with the emulator's S3."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import boto3
import pytest

from polyhost.model_cache.errors import DownloadError, ModelDataMissingError
from polyhost.model_cache.s3 import S3Store
from tests.emulator.conftest import Local


def test_objects_are_found_and_downloaded(local: Local) -> None:
    local.s3.put_object(Bucket="models", Key="store/a", Body=b"content")
    store = S3Store(local.s3)
    etag = local.s3.head_object(Bucket="models", Key="store/a")["ETag"]
    opened = store.get("models", "store/a")
    assert (opened.etag, opened.size, b"".join(opened.chunks)) == (etag, 7, b"content")
    assert store.etag("models", "store/a") == etag


@pytest.mark.parametrize(("bucket", "key"), [("models", "store/none"), ("no-such-bucket", "a")])
def test_an_object_that_does_not_exist(local: Local, bucket: str, key: str) -> None:
    store = S3Store(local.s3)
    for ask in (store.etag, store.get):
        with pytest.raises(ModelDataMissingError, match=f"s3://{bucket}/{key}"):
            ask(bucket, key)


class BrokenServer(BaseHTTPRequestHandler):
    """An S3 whose responses break off after 10 bytes, `breaks` times."""

    protocol_version = "HTTP/1.1"
    breaks = 0
    ranges: ClassVar[list[str | None]] = []
    content = b"0123456789" * 5

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.ranges.append(asked)
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        if type(self).breaks:
            type(self).breaks -= 1
            self.wfile.write(self.content[first : first + 10])
            self.close_connection = True
        else:
            self.wfile.write(self.content[first:])

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def broken() -> Iterator[tuple[type[BrokenServer], S3Store]]:
    handler = type("Handler", (BrokenServer,), {"ranges": [], "breaks": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        yield handler, S3Store(client)
        client.close()
        server.shutdown()


def test_a_response_that_breaks_off_goes_on_where_it_was(broken: tuple[type[BrokenServer], S3Store]) -> None:
    handler, store = broken
    handler.breaks = 2
    assert b"".join(store.get("models", "a").chunks) == handler.content
    assert handler.ranges == [None, "bytes=10-", "bytes=20-"]


def test_a_response_that_breaks_off_again_and_again_is_an_error(broken: tuple[type[BrokenServer], S3Store]) -> None:
    handler, store = broken
    handler.content, handler.breaks = bytes(1000), 5
    with pytest.raises(DownloadError, match="s3://models/a could not be downloaded"):
        list(store.get("models", "a").chunks)
    assert len(handler.ranges) == 5
