"""Kept connections to Multi Model Server, one request at a time on each.

Small and of our own, because each invocation takes this way: with httpx the hop took 1.6 ms, and eight clients got an
eighth of the requests that MMS answers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools

Header = tuple[bytes, bytes]

_ERROR = 400


@dataclass
class MmsResponse:
    """A response, read whole."""

    status: int = 0
    phrase: bytes = b""
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""


class MmsConnections:
    """Opens as many connections as there are requests at the same time, and keeps them for the next ones."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []

    async def request(self, method: bytes, path: bytes, headers: Sequence[Header], body: bytes) -> MmsResponse:
        """Return the response. Raises OSError if MMS does not listen, or ends the connection without a response.

        A caller that is cancelled closes its connection.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                break
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        try:
            response = await connection.exchange(_encoded(method, path, headers, body))
        except BaseException:
            connection.close()
            raise
        # MMS closes the connection after every error response, although its headers promise to keep it alive
        # (NettyUtils.java): the next request on it would be lost.
        if response.status >= _ERROR or not connection.keep_alive:
            connection.close()
        else:
            self._idle.append(connection)
        return response

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop().close()


class _Connection(asyncio.Protocol):
    """Reads one response after the other; the methods `on_...` are httptools'."""

    def __init__(self) -> None:
        self.closed = False
        self.keep_alive = True
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response = MmsResponse()
        self._chunks: list[bytes] = []
        self._done: asyncio.Future[MmsResponse] | None = None

    async def exchange(self, request: bytes) -> MmsResponse:
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._done
        finally:
            self._done = None

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's does not inherit from asyncio.Transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionAbortedError(f"malformed HTTP: {error}"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._fail(ConnectionResetError("the connection ended without a response"))

    def on_message_begin(self) -> None:
        self._response, self._chunks = MmsResponse(), []

    def on_status(self, status: bytes) -> None:
        self._response.phrase += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        response = self._response
        response.status = self._parser.get_status_code()
        response.body = b"".join(self._chunks)
        self.keep_alive = self._parser.should_keep_alive()
        self._chunks = []
        if self._done is not None and not self._done.done():
            self._done.set_result(response)

    def _fail(self, error: OSError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)


def _encoded(method: bytes, path: bytes, headers: Sequence[Header], body: bytes) -> bytes:
    lines = [b"%b %b HTTP/1.1\r\nHost: mms\r\nContent-Length: %d" % (method, path, len(body))]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join((*lines, b"", body))
