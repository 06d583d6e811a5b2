"""One client's connection: HTTP/1.1, parsed by httptools, answered in the order in which requests came."""

import asyncio
import logging
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import httptools

from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Refusal, bad_request, internal_error
from polyhost.container.native.invocation import Invocation

Header = tuple[bytes, bytes]

_MAX_HEAD_BYTES = 64 * 1024
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_JSON = (b"content-type", b"application/json")
_HIGH_WATER = 1 << 20
_BODILESS = (204, 304)  # RFC 9112, 6.3: their answers end with their heads
_LINGER_S = 5.0

logger = logging.getLogger("polyhost.native")


@dataclass(slots=True)
class Request:
    """`path` is decoded, but for %2F and %25: a slash may be part of a model's name."""

    method: bytes
    path: bytes
    query: bytes
    headers: list[Header]
    body: bytes
    keep_alive: bool
    chunks: bool  # whether the client takes an answer in chunks (HTTP/1.0 has none)
    arrived: float = field(default_factory=time.monotonic)

    def parameters(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query.decode("latin-1"), keep_blank_values=True) if self.query else []


class Routes(Protocol):
    max_body_bytes: int

    def handle(self, request: Request, reply: "ClientConnection") -> None:
        """Answers now or later. Raises Refusal."""

    def on_client_gone(self, reply: "ClientConnection") -> None: ...

    def on_slow_client(self, reply: "ClientConnection", slow: bool) -> None:
        """It does not take (or takes again) what is sent."""


class ClientConnection(asyncio.Protocol):
    def __init__(self, routes: Routes, connections: "set[ClientConnection]") -> None:
        self.call: Invocation | None = None  # of the current request, where it invokes a model
        self.encoded_headers: tuple[list[Header], bytes] = ([], b"")  # a client's next request mostly has the same
        self._routes = routes
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[Request | Refusal] = deque()
        self._pumping = False
        self._paused = False
        self._current: Request | None = None
        self._head_sent = False
        self._slow = False  # it does not take what is sent
        self._closing = False  # no further request is read
        self._lingers = False  # the client may still be sending what is not read
        self._reading_since: float | None = None
        self._unseen = 0  # bytes that the parser keeps, such as those of a header that is not whole
        self._unread = 0  # bytes that the client had not taken when last looked at
        self._unread_since = 0.0
        self._begin()

    @property
    def busy(self) -> bool:
        return self._current is not None or bool(self._waiting)

    # asyncio's half

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by inheritance
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._closing = True
        self._waiting.clear()
        if self._current is not None:
            self._current = None
            self._routes.on_client_gone(self)

    def pause_writing(self) -> None:
        self._slow = True
        self._routes.on_slow_client(self, True)

    def resume_writing(self) -> None:
        self._slow = False
        self._unread = 0
        self._routes.on_slow_client(self, False)
        if self._current is None and not self._pumping:
            self._pump()

    def data_received(self, data: bytes) -> None:
        while data and not self._closing:
            data = self._read(data)

    def _read(self, data: bytes) -> bytes:
        """What has to be read once more."""
        self._unseen += len(data)
        try:
            self._parser.feed_data(data)
            self._check_head(self._unseen)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Refusal):
                logger.exception("a request could not be read")
            self._refuse_rest(cause if isinstance(cause, Refusal) else bad_request("the request could not be read"))
        except httptools.HttpParserError as error:
            self._refuse_rest(bad_request(f"malformed HTTP: {error}"))
        except Refusal as refusal:
            self._refuse_rest(refusal)
        return b""

    def _without_upgrade(self) -> bytes:
        """The request's head without the wish for another protocol, for a new parser to read.

        A server may ignore that wish (RFC 9110, 7.8), and Java's client has it with every request; but httptools takes
        the body of such a request for the other protocol.
        """
        version = self._parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (self._parser.get_method(), self._url, version)]
        head += [b"%b: %b\r\n" % header for header in self._headers if header[0].lower() != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        return b"".join((*head, b"\r\n"))

    # httptools' half

    def _begin(self) -> None:
        self._url = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._head_complete = False
        self._expects = False  # to be told to go on
        self._body: bytes | bytearray = b""

    def on_message_begin(self) -> None:
        self._begin()
        self._reading_since = time.monotonic()
        self._unseen = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # a trailer must not change what the request is (RFC 9110, 6.5.1)
            self._headers.append((name, value))
        self._count_head(len(name) + len(value))

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        self._check_head(self._head_bytes)

    @staticmethod
    def _check_head(size: int) -> None:
        if size > _MAX_HEAD_BYTES:
            message = f"the request's head has more than {_MAX_HEAD_BYTES} bytes"
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "HeadTooLargeError", message)

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._unseen = 0
        if self._parser.get_method() == b"CONNECT":
            raise bad_request("this server is no proxy: CONNECT is not for it")
        if self._parser.should_upgrade():
            return  # it comes again
        for name, value in self._headers:
            lower = name.lower()
            if lower == b"content-length" and int(value) > self._routes.max_body_bytes:
                raise self._too_large(int(value))
            if lower == b"expect" and value.lower() == b"100-continue":
                self._expects = self._parser.get_http_version() != "1.0"  # RFC 9110, 10.1.1
        if self._expects and not self.busy:
            self._go_on()

    def _go_on(self) -> None:
        """After the answers to the requests before it."""
        self._expects = False
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._unseen = 0
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self._routes.max_body_bytes:
            raise self._too_large(len(self._body))

    def _too_large(self, size: int) -> Refusal:
        limit = self._routes.max_body_bytes
        message = (
            f"the request has {size} bytes or more, the limit is {limit}; raise SAGEMAKER_MAX_REQUEST_SIZE (MB, for"
            " requests and responses)"
        )
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestTooLargeError", message)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        self._reading_since = None
        request = Request(
            self._parser.get_method(),
            *_path_and_query(self._url),
            self._headers,
            bytes(self._body),
            self._parser.should_keep_alive(),
            self._parser.get_http_version() != "1.0",
        )
        self._body, self._expects = b"", False
        if self._current is None and not self._slow:
            self._handle(request)
        else:
            self._waiting.append(request)
            if not self._paused:
                self._paused = True
                self._transport.pause_reading()

    def _handle(self, request: Request) -> None:
        self._current = request
        self._head_sent = False
        try:
            self._routes.handle(request, self)
        except Refusal as refusal:
            self.refuse(refusal)
        except Exception:
            logger.exception("a request could not be handled")
            self.refuse(internal_error())

    def _refuse_rest(self, refusal: Refusal) -> None:
        """What came cannot be read, nor what comes after it; requests before it are answered first."""
        self._closing = self._lingers = True
        if self._current is None:
            self._answer_last(refusal)
        else:
            self._waiting.append(refusal)

    def _answer_last(self, refusal: Refusal) -> None:
        self._current = Request(b"", b"", b"", [], b"", keep_alive=False, chunks=False)
        self._head_sent = False
        self.refuse(refusal)

    # The routes' half

    def respond(self, status: int, headers: list[Header], body: bytes, phrase: bytes = b"") -> None:
        request = self._current
        if request is None:  # the client has gone
            return
        parts = [_status_line(status, phrase)]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not request.keep_alive or (self._closing and not self._waiting):
            parts.append(b"connection: close\r\n")
        if status in _BODILESS:
            parts.append(b"\r\n")
        elif request.method == b"HEAD":
            parts.append(b"content-length: %d\r\n\r\n" % len(body))
        else:
            parts += (b"content-length: %d\r\n\r\n" % len(body), body)
        self._transport.write(b"".join(parts))
        self._finish(request)

    def refuse(self, refusal: Refusal) -> None:
        if self._head_sent:
            self.break_off()
            return
        extra = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        self.respond(refusal.failure.code, [_JSON, *extra], refusal.failure.to_json())

    # The model's half: Caller

    def on_response(self, call: Invocation, answer: WorkerResponse) -> None:
        headers = [(b"x-request-id", call.id), *answer.headers]
        if answer.more and answer.status not in _BODILESS:
            self._begin_pieces(answer, headers)
        else:
            call.cancelled = answer.more  # the rest is wanted by nobody
            self.respond(answer.status, headers, answer.body, answer.phrase)

    def on_rejected(self, call: Invocation, refusal: Refusal) -> None:
        self.refuse(refusal)

    def on_chunk(self, call: Invocation, piece: Chunk) -> None:
        """An answer that fails on its way is cut off, so that the client does not take it for whole."""
        if piece.data is not None:
            self._send_piece(piece.data)
        elif piece.failure is not None:
            self.break_off()
        elif self._current is not None:
            if self._current.chunks:
                self._transport.write(b"0\r\n\r\n")
            self._finish(self._current)

    def _begin_pieces(self, answer: WorkerResponse, headers: list[Header]) -> None:
        request = self._current
        if request is None:
            return
        self._head_sent = True
        request.keep_alive = request.keep_alive and request.chunks
        framing = (b"transfer-encoding", b"chunked") if request.chunks else (b"connection", b"close")
        lines = [b"%b: %b\r\n" % header for header in (*headers, framing)]
        self._transport.write(b"".join((_status_line(answer.status, answer.phrase), *lines, b"\r\n")))
        if self._slow:  # of an answer before
            self._routes.on_slow_client(self, True)
        self._send_piece(answer.body)

    def _send_piece(self, data: bytes) -> None:
        if self._current is not None and data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._current.chunks else data)

    def break_off(self) -> None:
        self._let_worker_go()
        chunks = self._current is None or self._current.chunks
        self._current = None
        self._closing = True
        if chunks:
            self._transport.close()
        else:
            # Its end would be the end of the answer: reset it (SO_LINGER with no time, socket(7)).
            client = self._transport.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def close_when_idle(self) -> None:
        """The container ends: what has come is answered, and nothing else is read."""
        if self.busy:
            self._closing = True
        else:
            self._transport.close()

    def abort_if_unread(self, before: float) -> None:
        """A client that has taken nothing since that time of what it was sent."""
        unread = self._transport.get_write_buffer_size()
        if not unread or unread < self._unread or not self._unread:
            self._unread_since = time.monotonic()
        elif self._unread_since < before:
            self._transport.abort()
        self._unread = unread

    def close_if_stalled(self, before: float) -> None:
        """A request that began to arrive before that time and is still not whole."""
        if self._reading_since is not None and self._reading_since < before and not self.busy:
            message = "the request did not arrive in time"
            self._refuse_rest(Refusal(HTTPStatus.REQUEST_TIMEOUT, "SlowRequestError", message))

    def _let_worker_go(self) -> None:
        """The client may take its time for what is left, but its worker has others to answer."""
        if self._slow:
            self._routes.on_slow_client(self, False)

    def _finish(self, request: Request) -> None:
        self._let_worker_go()
        self._current = None
        self.call = None
        if not request.keep_alive:
            self._closing = True
            self._waiting.clear()
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        """In a loop, for thousands of requests may have come at once."""
        self._pumping = True
        while self._waiting and self._current is None and not self._slow:
            waiting = self._waiting.popleft()
            if isinstance(waiting, Refusal):
                self._answer_last(waiting)
            else:
                self._handle(waiting)
        self._pumping = False
        if self._paused and not self._waiting:
            self._paused = False
            self._transport.resume_reading()
            if self._reading_since is not None:
                self._reading_since = time.monotonic()  # until now it was we who did not read
        if self.busy:
            return
        if self._closing:
            self._close()
        elif self._expects:
            self._go_on()

    def _close(self) -> None:
        """TCP resets a connection that is closed with bytes unread, and the answer may be lost with it."""
        if self._lingers:
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)
        else:
            self._transport.close()


def _path_and_query(url: bytes) -> tuple[bytes, bytes]:
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise bad_request(f"{url[:200]!r} is no path") from None
    return _decoded(parsed.path or b"/"), parsed.query or b""


def _decoded(path: bytes) -> bytes:
    return path if b"%" not in path else b"/".join(map(_part, path.split(b"/")))


def _part(part: bytes) -> bytes:
    """A slash inside a name stays %2F, so that it does not divide the path; and what looks like it, %252F."""
    return unquote_to_bytes(part).replace(b"%", b"%25").replace(b"/", b"%2F")


def _status_line(status: int, phrase: bytes) -> bytes:
    known = _STATUS_LINES.get(status)
    if known is not None and (not phrase or known.endswith(b" " + phrase + b"\r\n")):
        return known
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)
