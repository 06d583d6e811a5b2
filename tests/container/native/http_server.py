"""Real client connections on a real event loop, and routes that respond with what they were sent."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

from polyhost.container.native.connection import ClientConnection
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.queue import PendingBytes
from tests.support.waiting import wait_for

LIMIT = 1000
LARGE = 20_000_000  # more than the sockets of both sides hold

Response = tuple[int, dict[str, str], bytes]


class Model:
    """The model of an invocation, and the connection to its worker: keeps what is asked of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def on_cancelled(self, invocation: Invocation) -> None:
        self.asked.append("cancel")


class EchoRoutes:
    """`held`: exchanges of requests to /later and /large, for the test to respond to."""

    def __init__(self) -> None:
        self.held: list[Exchange] = []
        self.handled = 0
        self.model = Model()

    def handle(self, request: HttpRequest, exchange: Exchange) -> None:
        self.handled += 1
        match request.path.split(b"/")[1:]:
            case [b"later"]:
                self.held.append(exchange)
            case [b"status", status]:
                exchange.respond(int(status), [], b"a body")
            case [b"bytes", size]:
                exchange.respond(200, [], bytes(int(size)))
            case [b"large"]:
                self._stream(exchange, 200, bytes(LARGE))
                self.held.append(exchange)
            case [b"chunks", status]:
                self._stream(exchange, int(status), b"one ", Chunk(b"two"), Chunk(None))
            case [b"broken"]:
                self._stream(exchange, 200, b"one ", Chunk(b"two"), Chunk(None, b"{}"))
            case [b"fails"]:
                raise RuntimeError("a route that fails")
            case _:
                exchange.respond(200, [], json.dumps(describe(request)).encode())

    def _stream(self, exchange: Exchange, status: int, first: bytes, *chunks: Chunk) -> None:
        invocation = exchange.invocation = self.new_invocation(exchange)
        invocation.streaming = True
        exchange.on_response(invocation, WorkerResponse(b"1", status, b"", [], first, more=True))
        for chunk in chunks:
            if not invocation.cancelled:
                exchange.on_chunk(invocation, chunk)

    def new_invocation(self, exchange: Exchange) -> Invocation:
        invocation = Invocation(b"1", b"", self.model, exchange, 0.0)
        invocation.connection = self.model
        return invocation


def describe(request: HttpRequest) -> dict[str, object]:
    return {
        "method": request.method.decode(),
        "path": request.path.decode(),
        "query": request.query.decode(),
        "names": [name.decode().lower() for name, _ in request.headers],
        "body": request.body.decode(),
    }


class HttpServer:
    """A server of `ClientConnection`s, on a port of its own and in a thread of its own."""

    def __init__(self) -> None:
        self.routes = EchoRoutes()
        self.connections: set[ClientConnection] = set()
        self.pending = PendingBytes(limit=20 * LIMIT)
        self._errors: list[dict[str, Any]] = []  # of the loop's callbacks, which end in no test otherwise
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self._errors.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(60)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        server = await self._loop.create_server(self._new_connection, "127.0.0.1", 0)
        return cast(asyncio.Server, server)  # uvloop has a class of its own

    def _new_connection(self) -> ClientConnection:
        return ClientConnection(self.routes.handle, LIMIT, self.connections, self.pending)

    def _abort_connections(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    def stop(self) -> None:
        self.run(self._server.close)
        self.run(self._abort_connections)
        wait_for(lambda: not self.connections, "the end of all connections")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self._errors

    def run(self, action: Callable[[], object]) -> None:
        """Run `action` in the loop's thread, after what the loop is doing now."""

        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def wait_for_held(self) -> Exchange:
        wait_for(lambda: self.routes.held, "a request that the routes hold")
        return self.routes.held.pop()

    def wait_for_slow_client(self) -> ClientConnection:
        """Return the only connection, when its client does not take what it is sent."""
        wait_for(lambda: any(connection.write_paused for connection in list(self.connections)), "a slow client")
        (connection,) = self.connections
        return connection

    def exchange(self, *parts: bytes) -> list[Response]:
        """Send the parts one by one; return all responses until the server closes. Our own half stays open."""
        with self.connect() as client:
            for part in parts:
                client.sendall(part)
                time.sleep(0.01 if len(parts) < 100 else 0)
            return parse_responses(read_all(client))


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def parse_responses(data: bytes) -> list[Response]:
    responses = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        status_line, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", 0))
        responses.append((int(status_line.split()[1]), headers, data[:length]))
        assert len(responses[-1][2]) == length
        data = data[length:]
    return responses


def request(path: str = "/", body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: here", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LAST = request("/last", b"", "Connection: close")


def echoed(response: Response) -> dict[str, str]:
    assert response[0] == 200, response
    echo: dict[str, str] = json.loads(response[2])
    return echo


def rejected(response: Response) -> tuple[int, str]:
    return response[0], json.loads(response[2])["type"]
