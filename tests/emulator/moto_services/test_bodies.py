"""Clients that stop sending in the middle of a request hold nothing that others need."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from polyhost.emulator.api.asgi import ClientDisconnected
from polyhost.emulator.errors import EntityTooLarge, RequestTimeout
from polyhost.emulator.moto_services.bodies import BodyLimits, receive_body
from tests.emulator.conftest import REGION, Local

STALLED = 40  # moto has 16 threads
LIMITS = BodyLimits(max_bytes=10, silence_s=60)


def _connect(local: Local) -> socket.socket:
    url = urlsplit(local.emulator.url)
    return socket.create_connection((url.hostname, url.port), timeout=60)


def _head(method: str, path: str, length: int) -> bytes:
    credential = f"Credential=a/20260101/{REGION}/s3/aws4_request"
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=b\r\n\r\n"
    ).encode()


def test_stalled_uploads_do_not_hold_up_others(local: Local) -> None:
    with ExitStack() as stack:
        for number in range(STALLED):
            client = stack.enter_context(_connect(local))
            client.sendall(_head("PUT", f"/models/stalled-{number}", 1 << 20) + b"?" * 1000)
        assert "Contents" not in local.s3.list_objects_v2(Bucket="models", Prefix="stalled-")
    assert "Contents" not in local.s3.list_objects_v2(Bucket="models", Prefix="stalled-")


def test_stalled_downloads_do_not_hold_up_others(local: Local) -> None:
    local.s3.put_object(Bucket="models", Key="taken-slowly", Body=b"?" * (16 << 20))
    with ExitStack() as stack:
        for _ in range(STALLED):
            client = stack.enter_context(_connect(local))
            client.sendall(_head("GET", "/models/taken-slowly", 0))
            assert client.recv(12) == b"HTTP/1.1 200"
        assert local.s3.list_objects_v2(Bucket="models", Prefix="taken-")["KeyCount"] == 1


def test_a_chunked_upload(local: Local) -> None:
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential=a/20260101/{REGION}/s3/aws4_request, Signature=b"}

    def chunks() -> Iterator[bytes]:
        yield b"one,"
        yield b"two"

    url = f"{local.emulator.url}/models/chunked"
    assert httpx.put(url, content=chunks(), headers=signed, trust_env=False).status_code == 200
    assert local.s3.get_object(Bucket="models", Key="chunked")["Body"].read() == b"one,two"


def test_too_long_an_upload_is_refused_before_it_is_sent(local: Local) -> None:
    with _connect(local) as client:
        client.sendall(_head("PUT", "/models/huge", 6 << 30))
        response = b"".join(iter(lambda: client.recv(65536), b""))  # until the emulator closes the connection
    assert response.startswith(b"HTTP/1.1 400")
    assert b"<Code>EntityTooLarge</Code>" in response


def _receive(messages: list[dict[str, Any]], limits: BodyLimits = LIMITS, length: str = "") -> bytes:
    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def run() -> bytes:
        with await receive_body(receive, {b"content-length": length.encode()} if length else {}, limits) as body:
            return body.read()

    return asyncio.run(run())


def test_a_body_in_parts() -> None:
    parts = [b"abc", b"", b"defg"]
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    assert _receive([*messages, {"type": "http.request"}]) == b"abcdefg"


def test_limits() -> None:
    part = {"type": "http.request", "body": b"?" * 6, "more_body": True}
    with pytest.raises(EntityTooLarge):
        _receive([part, part])
    with pytest.raises(EntityTooLarge):
        _receive([], length="11")
    with pytest.raises(RequestTimeout):
        _receive([part], BodyLimits(silence_s=0.01))
    with pytest.raises(ClientDisconnected):
        _receive([part, {"type": "http.disconnect"}])
