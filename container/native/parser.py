"""Parsing of one client's HTTP/1.1 requests, with httptools (llhttp)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote_to_bytes

import httptools

from polyhost.container.native.errors import Rejection, bad_request
from polyhost.dashboard.files import FILES
from polyhost.events import get_logger

Header = tuple[bytes, bytes]

_MAX_HEAD_BYTES = 64 * 1024
_PAGE_FILES = FILES.encode()
_VERSIONS = ("1.1", "1.0")  # llhttp takes 0.9 and 2.0 in the request line too, and reads on as if it were 1.1

logger = get_logger(__name__)


@dataclass(slots=True)
class HttpRequest:
    """One request, read whole.

    `path` is percent-decoded except for %2F and %25, because a model's name may contain a slash.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: list[Header]
    body: bytes
    keep_alive: bool
    accepts_chunks: bool  # HTTP/1.0 has no chunked responses
    arrived: float = field(default_factory=time.monotonic)

    def parameters(self) -> list[tuple[str, str]]:
        """Return the query's parameters, empty values included."""
        return parse_qsl(self.query.decode("latin-1"), keep_blank_values=True) if self.query else []


class ReadState(Enum):
    """How far the current request has been read. llhttp keeps the order of its callbacks, so nothing asserts it.

    IDLE -> HEAD -> BODY -> IDLE, with AWAITING_CONTINUE between HEAD and BODY if the client asked for 100 Continue
    before it sends the body. A request without a body passes through BODY too.
    """

    IDLE = "idle"
    HEAD = "head"
    AWAITING_CONTINUE = "awaiting_continue"
    BODY = "body"  # or its trailers


# Looking a member up on its class takes three times as long as a global, and a request would do it ten times.
_IDLE, _HEAD, _BODY = ReadState.IDLE, ReadState.HEAD, ReadState.BODY


class RequestParser:
    """Cuts the bytes of one connection into requests.

    Each request that is complete goes to `on_request`, from within `feed`. The memory that an unfinished request can
    take is limited: its head by `_MAX_HEAD_BYTES`, its body by `max_body_bytes`. After `feed` has raised a rejection,
    the place where the next request would begin is unknown: the parser must not be fed again.
    """

    def __init__(self, max_body_bytes: int, on_request: Callable[[HttpRequest], None]) -> None:
        # Of the connection
        self._max_body_bytes = max_body_bytes
        self._on_request = on_request
        self._parser = httptools.HttpRequestParser(self)
        self._buffered_bytes = 0  # fed since llhttp made progress: it buffers a header line that is not whole yet
        # Of the current request
        self.state = ReadState.IDLE
        self._reading_since = time.monotonic()
        self._url = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._body: bytes | bytearray = b""
        # Of the end
        self._feeding = self._closed = False

    @property
    def body_bytes(self) -> int:
        """How many bytes of the body of an unfinished request it holds."""
        return len(self._body)

    def close(self) -> None:
        """Free what it holds; it must not be fed again.

        httptools' parser refers back to this one, and `on_request` mostly to its owner. Such cycles would keep bodies
        until a garbage collection, and the front end seldom collects garbage.
        """
        if self._closed:
            return
        self._closed = True
        if not self._feeding:  # else when `feed` is at its end: it has called back
            self._release()

    def _release(self) -> None:
        self.state = _IDLE
        self._url, self._headers, self._body = b"", [], b""
        del self._parser, self._on_request

    def on_continue_sent(self) -> None:
        assert self.state is ReadState.AWAITING_CONTINUE
        self.state = _BODY

    def is_reading_since_before(self, moment: float) -> bool:
        """Return whether a request began to arrive before `moment` and is still not whole."""
        return self.state is not _IDLE and self._reading_since < moment

    def is_idle_since_before(self, moment: float) -> bool:
        """Return whether nothing is being read, and nothing began to arrive since `moment`."""
        return self.state is _IDLE and self._reading_since < moment

    def restart_clock(self) -> None:
        """Count the current request's time, or the idle one, from now: until now the client waited for us."""
        self._reading_since = time.monotonic()

    def feed(self, data: bytes) -> None:
        """Parse `data`. Raise Rejection if it is malformed or too large; it is closed then."""
        self._feeding = True
        try:
            self._feed(data)
        except Rejection:
            self._closed = True
            raise
        finally:
            self._feeding = False
            if self._closed:
                self._release()

    def _feed(self, data: bytes) -> None:
        while data:
            self._buffered_bytes += len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._restart_without_upgrade() + data[upgrade.args[0] :]
                continue
            except httptools.HttpParserCallbackError as error:
                if isinstance(error.__context__, Rejection):
                    raise error.__context__ from None
                logger.exception("failed to read a request")
                raise bad_request("the request could not be read") from None
            except httptools.HttpParserError as error:
                raise bad_request(f"malformed HTTP: {error}") from None
            if self._buffered_bytes > _MAX_HEAD_BYTES:
                raise _head_too_large()
            return

    def _restart_without_upgrade(self) -> bytes:
        """Return the request's head without its Upgrade header, for a new parser to read.

        A server may ignore Upgrade (RFC 9110, 7.8), and Java's HTTP client sends it with its first request; but
        httptools takes the body of such a request for the other protocol's data.
        """
        version = self._parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (self._parser.get_method(), self._url, version)]
        head += [b"%b: %b\r\n" % header for header in self._headers if header[0].lower() != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        return b"".join((*head, b"\r\n"))

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        self.state = _HEAD
        self._reading_since = time.monotonic()
        self._buffered_bytes = 0
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._head_bytes += len(url)
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise _head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state is _HEAD:  # a trailer must not change what the request means (RFC 9110, 6.5.1)
            self._headers.append((name, value))
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise _head_too_large()

    def on_headers_complete(self) -> None:
        self._buffered_bytes = 0
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            raise _unsupported(version)
        if self._parser.get_method() == b"CONNECT":
            raise bad_request("CONNECT is not supported: this server is not a proxy")
        if self._parser.should_upgrade():
            return  # `feed` parses this head once more, without the Upgrade header
        self.state = _BODY
        hosts = 0
        for name, value in self._headers:
            lower = name.lower()
            if lower == b"host":
                hosts += 1
            if lower == b"origin" and not self._asks_for_page_file():
                raise _sent_by_a_web_page(value)
            if lower == b"content-length" and int(value) > self._max_body_bytes:
                raise self._too_large(int(value))
            if lower == b"expect" and value.lower() == b"100-continue" and version != "1.0":
                self.state = ReadState.AWAITING_CONTINUE  # HTTP/1.0 has none (RFC 9110, 10.1.1)
        if hosts != 1 and (hosts or version == "1.1"):
            raise bad_request(f"a request has one Host header (RFC 9112, 3.2), this one has {hosts}")

    def on_body(self, body: bytes) -> None:
        self.state = _BODY  # the client did not wait for 100 Continue
        self._buffered_bytes = 0
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self._max_body_bytes:
            raise self._too_large(len(self._body))

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        request = HttpRequest(
            self._parser.get_method(),
            *_split_url(self._url),
            self._headers,
            bytes(self._body),
            self._parser.should_keep_alive(),
            self._parser.get_http_version() != "1.0",
        )
        self.state = _IDLE
        self._body = b""  # it may be large, and the next request far off
        self._on_request(request)

    def _asks_for_page_file(self) -> bool:
        return self._parser.get_method() == b"GET" and self._url.startswith(_PAGE_FILES)

    def _too_large(self, size: int) -> Rejection:
        message = (
            f"the request has {size} bytes or more, the limit is {self._max_body_bytes}; raise"
            " SAGEMAKER_MAX_REQUEST_SIZE (MB, for requests and responses)"
        )
        return Rejection(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestTooLargeError", message)


def _sent_by_a_web_page(origin: bytes) -> Rejection:
    """Reject what a browser sends for a page (RFC 6454, section 7): neither SageMaker nor an AWS client sets Origin.

    A page of any site could otherwise load models here, or invoke them, on the machine of whoever looks at it.
    The dashboard's files, which tell nothing, are the exception: browsers send Origin for the modules of a script.
    """
    message = f"requests of web pages are not served (Origin: {origin.decode(errors='replace')[:200]})"
    return Rejection(HTTPStatus.FORBIDDEN, "ForbiddenError", message)


def _unsupported(version: str) -> Rejection:
    message = f"this server speaks HTTP/1.1 and HTTP/1.0, the request says HTTP/{version}"
    return Rejection(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "UnsupportedVersionError", message)


def _head_too_large() -> Rejection:
    message = f"the request's head has more than {_MAX_HEAD_BYTES} bytes"
    return Rejection(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "HeadTooLargeError", message)


def _split_url(url: bytes) -> tuple[bytes, bytes]:
    """Return the decoded path and the query as sent."""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise bad_request(f"invalid URL {url[:200]!r}") from None
    return _decode_path(parsed.path or b"/"), parsed.query or b""


def _decode_path(path: bytes) -> bytes:
    return path if b"%" not in path else b"/".join(map(_decode_segment, path.split(b"/")))


def _decode_segment(segment: bytes) -> bytes:
    """Decode one segment, but keep %2F, which must not divide the path, and %25, which could be taken for its start."""
    return unquote_to_bytes(segment).replace(b"%", b"%25").replace(b"/", b"%2F")
