"""The container's contract over HTTP, with servers that answer as MMS does, too late, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from polyhost.emulator.errors import ContainerGone, ContainerTimeout
from polyhost.emulator.hosting.container_client import ContainerClient, session
from polyhost.emulator.hosting.drivers.ports import free_port

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]


@asynccontextmanager
async def served(respond: Respond) -> AsyncIterator[ContainerClient]:
    """`respond` gets each request's head and tells whether the connection stays open."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with session() as http:
        yield ContainerClient(http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()


def answer(status: int, body: bytes = b"", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def test_headers_and_body_come_back_as_the_container_sent_them() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        assert head.startswith(b"POST /models/k/invoke ")
        assert b"Accept-Encoding" not in head and b"User-Agent" not in head
        writer.write(answer(200, b"not gzip", "Content-Encoding: gzip\r\nX-Own: 1\r\n"))
        return True

    async def scenario() -> None:
        async with served(respond) as client:
            got = await client.invoke("k", b"?", {"Content-Type": "text/csv"}, 5)
            assert (got.status, got.body, got.headers["x-own"]) == (200, b"not gzip", "1")
            assert got.container_us > 0

    asyncio.run(scenario())


def test_a_connection_closed_behind_an_error_costs_no_request() -> None:
    """MMS closes it without saying so."""
    heads: list[bytes] = []

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        heads.append(head)
        writer.write(answer(500 if len(heads) % 2 else 200))
        await writer.drain()
        return len(heads) % 2 == 0

    async def scenario() -> None:
        async with served(respond) as client:
            statuses = [(await client.invoke("k", b"?", {}, 5)).status for _ in range(40)]
        assert statuses == [500, 200] * 20
        assert len(heads) == 40  # none was answered twice

    asyncio.run(scenario())


def test_a_request_that_the_container_dropped_is_not_sent_again() -> None:
    heads: list[bytes] = []

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        heads.append(head)
        if len(heads) == 1:
            writer.write(answer(200))
        return len(heads) == 1

    async def scenario() -> None:
        async with served(respond) as client:
            await client.invoke("k", b"?", {}, 5)
            with pytest.raises(ContainerGone) as gone:
                await client.invoke("k", b"?", {}, 5)
            assert not gone.value.may_retry
        assert len(heads) == 2

    asyncio.run(scenario())


def test_a_container_that_does_not_listen_has_had_nothing() -> None:
    async def scenario() -> None:
        async with session() as http:
            client = ContainerClient(http, f"http://127.0.0.1:{free_port()}")
            assert not await client.ping()
            with pytest.raises(ContainerGone) as gone:
                await client.invoke("k", b"?", {}, 5)
            assert gone.value.may_retry

    asyncio.run(scenario())


def test_a_container_that_is_too_slow() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(5)
        return False

    async def scenario() -> None:
        async with served(respond) as client:
            with pytest.raises(ContainerTimeout, match="not answered within"):
                await client.invoke(None, b"?", {}, 0.1)

    asyncio.run(scenario())
