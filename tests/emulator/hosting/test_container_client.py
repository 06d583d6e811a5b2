"""The container's HTTP API, with servers that respond as MMS does, too late, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from polyhost.emulator.hosting.container_client import ContainerClient, session
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError
from polyhost.processes import free_port

pytestmark = pytest.mark.anyio

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]


@asynccontextmanager
async def served(respond: Respond) -> AsyncIterator[ContainerClient]:
    """Serve while the block runs; `respond` gets each request's head and returns whether the connection stays open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b""
                )
                await reader.readexactly(int(length.partition(b":")[2] or 0))
                if not await respond(head, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with session() as http:
        yield ContainerClient(http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()


def response(status: int, body: bytes = b"", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


async def test_headers_and_body_are_returned_as_the_container_sent_them() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        assert head.startswith(b"POST /models/k/invoke ")
        assert b"Accept-Encoding" not in head and b"User-Agent" not in head
        writer.write(response(200, b"not gzip", "Content-Encoding: gzip\r\nX-Own: 1\r\n"))
        return True

    async with served(respond) as client:
        got = await client.invoke("k", b"?", {"Content-Type": "text/csv"}, 5)
        assert (got.status, got.body, got.headers["x-own"]) == (200, b"not gzip", "1")
        assert got.container_us > 0


async def test_a_connection_closed_after_an_error_response_costs_no_request() -> None:
    """MMS closes it without saying so."""
    heads: list[bytes] = []

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        heads.append(head)
        writer.write(response(500 if len(heads) % 2 else 200))
        await writer.drain()
        return len(heads) % 2 == 0

    async with served(respond) as client:
        statuses = [(await client.invoke("k", b"?", {}, 5)).status for _ in range(40)]
    assert statuses == [500, 200] * 20
    assert len(heads) == 40  # none was sent twice


async def test_a_request_is_not_sent_again_after_the_container_closed_the_connection() -> None:
    heads: list[bytes] = []

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        heads.append(head)
        if len(heads) == 1:
            writer.write(response(200))
        return len(heads) == 1

    async with served(respond) as client:
        await client.invoke("k", b"?", {}, 5)
        with pytest.raises(ContainerGoneError) as gone:
            await client.invoke("k", b"?", {}, 5)
        assert not gone.value.may_retry
    assert len(heads) == 2


async def test_a_request_may_be_retried_if_the_container_does_not_listen() -> None:
    async with session() as http:
        client = ContainerClient(http, f"http://127.0.0.1:{free_port()}")
        assert not await client.ping()
        with pytest.raises(ContainerGoneError) as gone:
            await client.invoke("k", b"?", {}, 5)
        assert gone.value.may_retry


async def test_a_response_that_takes_too_long() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        await asyncio.Event().wait()
        return False

    async with served(respond) as client:
        with pytest.raises(ContainerTimeoutError, match="not answered within"):
            await client.invoke(None, b"?", {}, 0.1)
