"""Connections to Multi Model Server: kept, closed after errors, and never shared by two requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from polyhost.container.router.connections import MmsConnections
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Server:
    """Answers as the path says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.connections = self.open = 0
        self.requests: list[bytes] = []
        self.held = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if not await self._answer(head.split(b" ")[1], writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        self.open -= 1

    async def _answer(self, path: bytes, writer: asyncio.StreamWriter) -> bool:
        match path.strip(b"/").split(b"/"):
            case [b"status", status]:
                writer.write(b"HTTP/1.1 %b As asked\r\nX-Name: value\r\nContent-Length: 4\r\n\r\nbody" % status)
            case [b"chunks"]:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                await writer.drain()
                writer.write(b"2\r\nde\r\n0\r\n\r\n")
            case [b"held"]:
                await self.held.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            case [b"garbage"]:
                writer.write(b"no HTTP\r\n\r\n")
            case _:
                return False
        return True


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, MmsConnections]]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    connections = MmsConnections(listener.sockets[0].getsockname()[1])
    try:
        yield server, connections
    finally:
        connections.close()
        server.held.set()
        listener.close()
        await until(lambda: not server.open)


async def test_a_connection_is_kept_and_a_response_is_read_whole() -> None:
    async with served() as (server, connections):
        for _ in range(3):
            response = await connections.request(b"POST", b"/status/200", [(b"A", b"b")], b"sent")
            assert (response.status, response.phrase, response.body) == (200, b"As asked", b"body")
            assert (b"X-Name", b"value") in response.headers
        assert (await connections.request(b"GET", b"/chunks", [], b"")).body == b"abcde"
        assert server.connections == 1
        assert server.requests[0].endswith(b"A: b\r\n\r\nsent")


async def test_a_connection_is_not_used_again_after_an_error() -> None:
    async with served() as (server, connections):
        for _ in range(2):
            assert (await connections.request(b"GET", b"/status/503", [], b"")).status == 503
        assert server.connections == 2


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    async with served() as (server, connections):
        waiting = [asyncio.create_task(connections.request(b"GET", b"/held", [], b"")) for _ in range(3)]
        await until(lambda: len(server.requests) == 3)
        server.held.set()
        assert [response.status for response in await asyncio.gather(*waiting)] == [200] * 3
        assert server.connections == 3


async def test_a_request_that_is_given_up_closes_its_connection() -> None:
    async with served() as (server, connections):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connections.request(b"GET", b"/held", [], b"")
        assert (await connections.request(b"GET", b"/status/200", [], b"")).status == 200
        assert server.connections == 2


@pytest.mark.parametrize("path", [b"/gone", b"/garbage"])
async def test_a_connection_that_ends_without_a_response_is_an_error(path: bytes) -> None:
    async with served() as (_, connections):
        with pytest.raises(OSError, match=r"without a response|malformed HTTP"):
            await connections.request(b"GET", path, [], b"")


async def test_nobody_listens() -> None:
    async with served() as (_, connections):
        port = connections._port
    with pytest.raises(OSError, match="Connect call failed"):
        await MmsConnections(port).request(b"GET", b"/", [], b"")
