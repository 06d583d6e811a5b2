"""One request and its response."""

import socket
import struct
from asyncio import Transport
from collections.abc import Callable, Iterable
from enum import Enum
from http import HTTPStatus
from typing import Protocol

from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Rejection
from polyhost.container.native.header_cache import HeaderCache
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.parser import Header, HttpRequest
from polyhost.container.system.sock_diag import Address

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_JSON = (b"content-type", b"application/json")
_BODILESS = (204, 304)  # their responses end with the head (RFC 9112, 6.3)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST (socket(7))


class ExchangeState(Enum):
    """What the client has been sent."""

    PENDING = "pending"  # nothing
    STREAMING = "streaming"  # the head, perhaps chunks, and not the end
    COMPLETE = "complete"
    ABORTED = "aborted"  # not all, and nothing will follow: the client has disconnected, or the response broke off

    __hash__ = object.__hash__  # Enum's own is written in Python, and each exchange looks up its transitions


_TRANSITIONS: dict[ExchangeState, frozenset[ExchangeState]] = {
    ExchangeState.PENDING: frozenset({ExchangeState.STREAMING, ExchangeState.COMPLETE, ExchangeState.ABORTED}),
    ExchangeState.STREAMING: frozenset({ExchangeState.COMPLETE, ExchangeState.ABORTED}),
    ExchangeState.COMPLETE: frozenset(),
    ExchangeState.ABORTED: frozenset(),
}
# Looking a member up on its class takes three times as long as a global.
_PENDING, _STREAMING, _COMPLETE = ExchangeState.PENDING, ExchangeState.STREAMING, ExchangeState.COMPLETE


class ExchangeOwner(Protocol):
    """What an exchange needs of its connection."""

    header_cache: HeaderCache
    may_manage: bool | None

    @property
    def write_paused(self) -> bool:
        """Whether the client does not take what it is sent."""

    @property
    def closes_next(self) -> bool:
        """Whether the connection closes after the response that is sent now."""

    def on_exchange_complete(self, keep_alive: bool) -> None: ...

    def on_exchange_aborted(self) -> None: ...


class Exchange:
    """The response to one request, sent whole or in chunks; uvicorn calls it RequestResponseCycle.

    It is also the invocation's `Caller`. A route responds exactly once, at once or later; after the client has
    disconnected, what it sends is ignored. The owner hears of the end exactly once, unless it has called
    `on_disconnected` itself. From then on the exchange refers to no invocation, which would refer back.
    """

    __slots__ = ("_owner", "_request", "_state", "_transport", "invocation", "on_end")

    def __init__(self, request: HttpRequest, transport: Transport, owner: ExchangeOwner) -> None:
        self.invocation: Invocation | None = None  # set by a route that invokes a model
        self.on_end: Callable[[], None] | None = None  # set by a route that has something to release then
        self._request = request
        self._transport = transport
        self._owner = owner
        self._state = _PENDING

    @property
    def pending(self) -> bool:
        """Whether the client still waits for the first byte of the response."""
        return self._state is _PENDING

    @property
    def addresses(self) -> tuple[Address, Address]:
        """The client's address and ours."""
        return self._transport.get_extra_info("peername"), self._transport.get_extra_info("sockname")

    @property
    def may_manage(self) -> bool | None:
        """Whether the client may manage models; None if that has not been asked yet."""
        return self._owner.may_manage

    @may_manage.setter
    def may_manage(self, may: bool) -> None:
        self._owner.may_manage = may

    def encode_headers(self) -> bytes:
        """Return the request's headers as a worker reads them."""
        return self._owner.header_cache.encode(self._request.headers)

    def respond(self, status: int, headers: Iterable[Header], body: bytes, phrase: bytes = b"") -> None:
        """Send a whole response."""
        if self._state is not _PENDING:
            assert self._state is not _STREAMING, "a second head"
            return
        request = self._request
        parts = _encode_head(status, phrase, headers)
        if not request.keep_alive or self._owner.closes_next:
            parts.append(b"connection: close\r\n")
        if status in _BODILESS:
            parts.append(b"\r\n")
        elif request.method == b"HEAD":
            parts.append(b"content-length: %d\r\n\r\n" % len(body))
        else:
            parts += (b"content-length: %d\r\n\r\n" % len(body), body)
        self._transport.write(b"".join(parts))
        self._complete()

    def reject(self, rejection: Rejection) -> None:
        """Send the rejection; if a response has begun already, break it off."""
        if self._state is _STREAMING:
            self._abort()
            return
        headers = [(name.encode(), value.encode()) for name, value in rejection.headers.items()]
        self.respond(rejection.failure.code, [_JSON, *headers], rejection.failure.to_json())

    # Caller of an invocation

    def on_response(self, invocation: Invocation, response: WorkerResponse) -> None:
        headers = [(b"x-request-id", invocation.id), *response.headers]
        if response.more and response.status not in _BODILESS:
            self._start_stream(response, headers)
            return
        if response.more:
            invocation.cancel()
        self.respond(response.status, headers, response.body, response.phrase)

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None:
        if self._state is not _STREAMING:
            return
        if chunk.data is not None:
            self._write_chunk(chunk.data)
        elif chunk.failure is not None:
            self._abort()
        else:
            if self._request.accepts_chunks:
                self._transport.write(b"0\r\n\r\n")
            self._complete()

    def on_rejected(self, invocation: Invocation, rejection: Rejection) -> None:
        self.reject(rejection)

    def _start_stream(self, response: WorkerResponse, headers: list[Header]) -> None:
        if self._state is not _PENDING:
            return
        assert not self._owner.write_paused, "an exchange began while its client was slow"
        request = self._request
        self._enter(_STREAMING)
        if request.accepts_chunks:
            headers.append((b"transfer-encoding", b"chunked"))
        else:  # the end of the connection is the end of the response
            request.keep_alive = False
            headers.append((b"connection", b"close"))
        parts = _encode_head(response.status, response.phrase, headers)
        self._transport.write(b"".join((*parts, b"\r\n")))
        self._write_chunk(response.body)

    def _write_chunk(self, data: bytes) -> None:
        if data:  # an empty chunk would be the last
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._request.accepts_chunks else data)

    # Events of the connection

    def on_write_paused(self) -> None:
        """Hold back a streamed response at its worker; other responses are here already."""
        if self._state is _STREAMING and self.invocation is not None:
            self.invocation.pause()

    def on_write_resumed(self) -> None:
        if self._state is _STREAMING and self.invocation is not None:
            self.invocation.resume()

    def on_disconnected(self) -> None:
        """Cancel the invocation: the client has disconnected."""
        invocation, self.invocation = self.invocation, None
        self._enter(ExchangeState.ABORTED)
        if invocation is not None:
            invocation.cancel()
        self._release()

    # Ends

    def _complete(self) -> None:
        if self._state is _STREAMING:
            self._release_worker()
        self._enter(_COMPLETE)
        self.invocation = None
        self._release()
        self._owner.on_exchange_complete(self._request.keep_alive)

    def _abort(self) -> None:
        """Break off the response so that the client does not take it for whole.

        A chunked one lacks its last chunk then (RFC 9112, 8). One that the end of the connection ends would look
        whole, so the connection is reset.
        """
        self._release_worker()
        self._enter(ExchangeState.ABORTED)
        self.invocation = None
        self._release()
        if self._request.accepts_chunks:
            self._transport.close()
        else:
            client = self._transport.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        self._owner.on_exchange_aborted()

    def _release(self) -> None:
        if self.on_end is not None:
            self.on_end()
            self.on_end = None

    def _release_worker(self) -> None:
        """Let the worker go on to other requests, though the client may not have taken the rest yet."""
        if self._owner.write_paused:
            self.on_write_resumed()

    def _enter(self, state: ExchangeState) -> None:
        assert state in _TRANSITIONS[self._state], f"{self._state} -> {state}"
        self._state = state


def _encode_head(status: int, phrase: bytes, headers: Iterable[Header]) -> list[bytes]:
    parts = [_status_line(status, phrase)]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    return parts


def _status_line(status: int, phrase: bytes) -> bytes:
    known = _STATUS_LINES.get(status)
    if known is not None and (not phrase or known.endswith(b" " + phrase + b"\r\n")):
        return known
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)
