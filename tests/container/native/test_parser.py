import sys
import time

import pytest

from polyhost.container.native.errors import Rejection
from polyhost.container.native.parser import HttpRequest, ReadState, RequestParser
from tests.container.native.http_server import LIMIT, request

UPGRADE = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"


class Client:
    """Feeds a parser; `requests`: those that it has found."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.parser = RequestParser(LIMIT, self.requests.append)

    def send(self, *parts: bytes) -> list[HttpRequest]:
        for part in parts:
            self.parser.feed(part)
        return self.requests


def one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def rejection_of(*parts: bytes) -> tuple[int, str]:
    with pytest.raises(Rejection) as caught:
        Client().send(*parts)
    return caught.value.failure.code, caught.value.failure.type


def names(found: HttpRequest) -> list[bytes]:
    return [name.lower() for name, _ in found.headers]


def test_request_may_come_byte_by_byte() -> None:
    (found,) = Client().send(*one_by_one(request("/slow?a=b&c=", b"body")))
    assert (found.method, found.path, found.query, found.body) == (b"POST", b"/slow", b"a=b&c=", b"body")
    assert found.parameters() == [("a", "b"), ("c", "")]


@pytest.mark.parametrize(
    ("head", "keep_alive", "accepts_chunks"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True, True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False, True),
        (b"GET / HTTP/1.0\r\n\r\n", False, False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True, False),
    ],
)
def test_version_decides_about_keep_alive_and_chunks(head: bytes, keep_alive: bool, accepts_chunks: bool) -> None:
    (found,) = Client().send(head)
    assert (found.keep_alive, found.accepts_chunks) == (keep_alive, accepts_chunks)


def test_upgrade_is_ignored() -> None:
    """Java's HTTP client sends it with its first request, and the body as ever."""
    first, second = Client().send(request("/upgrade", b"its body", *UPGRADE) + request("/next", b"another"))
    assert (first.path, first.body) == (b"/upgrade", b"its body")
    assert b"upgrade" not in names(first)
    assert (second.path, second.body) == (b"/next", b"another")


def test_upgrade_is_ignored_byte_by_byte_and_often() -> None:
    sent = request("/upgrade", b"its body", *UPGRADE)
    assert [found.body for found in Client().send(*one_by_one(sent * 3))] == [b"its body"] * 3
    assert len(Client().send(sent * 1500)) == 1500


@pytest.mark.parametrize("origin", [b"https://site.example", b"null", b"http://127.0.0.1:8080", b""])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
def test_request_of_a_web_page_is_rejected_before_its_body(method: bytes, origin: bytes) -> None:
    head = b"%b /models HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nContent-Length: 5\r\n\r\n" % (method, origin)

    assert rejection_of(head) == (403, "ForbiddenError")


def test_files_of_the_page_are_for_browsers_which_send_their_origin_for_modules() -> None:
    origin = "Origin: http://127.0.0.1:8080"
    (found,) = Client().send(b"GET /_polyhost/static/dom.js HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % origin.encode())
    assert found.path == b"/_polyhost/static/dom.js"
    for start in (b"POST /_polyhost/static/dom.js", b"GET /_polyhost/state", b"GET http://a/_polyhost/static/dom.js"):
        head = b"%b HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (start, origin.encode())
        assert rejection_of(head) == (403, "ForbiddenError"), start


def test_trailer_is_no_header() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"2\r\nab\r\n0\r\nContent-Type: text/evil\r\n\r\n"
    (found,) = Client().send(chunked)
    assert found.body == b"ab"
    assert names(found) == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/a%20b", b"/a b"),
        ("/a%2Fb", b"/a%2Fb"),
        ("/a%252Fb", b"/a%252Fb"),
        ("/a%2520b", b"/a%2520b"),
        ("/100%25", b"/100%25"),
    ],
)
def test_path_is_decoded_once(sent: str, path: bytes) -> None:
    """An encoded percent sign and slash stay encoded, so that the routes can split the path first."""
    (found,) = Client().send(request(sent))
    assert found.path == path


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["header", "url", "trailer", "chunk extension"],
)
def test_line_that_does_not_end_is_rejected(head: bytes) -> None:
    code, _ = rejection_of(head, *[b"x" * 10_000] * 30)
    assert code in (400, 431)  # httptools has a limit of its own for chunk extensions


def test_many_small_headers_are_rejected() -> None:
    assert rejection_of(b"GET / HTTP/1.1\r\nHost: a\r\n", *[b"A: b\r\n"] * 40_000) == (431, "HeadTooLargeError")


@pytest.mark.parametrize(
    "parts",
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1),),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"64\r\n" + b"x" * 100 + b"\r\n"] * 11),
    ],
    ids=["announced", "chunked"],
)
def test_body_above_the_limit_is_rejected(parts: tuple[bytes, ...]) -> None:
    assert rejection_of(*parts) == (413, "RequestTooLargeError")


def test_body_at_the_limit_is_read() -> None:
    (found,) = Client().send(*one_by_one(request("/", b"x" * LIMIT)))
    assert found.body == b"x" * LIMIT


def test_parser_keeps_no_body() -> None:
    client = Client()
    (found,) = client.send(request("/", b"x" * 500))
    references = sys.getrefcount(found.body)  # outside of the assert, which pytest rewrites
    assert references == 2  # the request's, and that call's argument


def test_continue_is_awaited_between_head_and_body() -> None:
    client = Client()
    states = []
    client.send(EXPECTING[:-1])
    states.append(client.parser.state)
    client.send(EXPECTING[-1:])
    states.append(client.parser.state)
    client.parser.on_continue_sent()
    states.append(client.parser.state)
    assert [state is ReadState.AWAITING_CONTINUE for state in states] == [False, True, False]
    (found,) = client.send(b"{}")
    assert found.body == b"{}"


def test_continue_is_not_awaited_once_the_body_comes() -> None:
    client = Client()
    client.send(EXPECTING + b"{")
    assert client.parser.state is not ReadState.AWAITING_CONTINUE


def test_request_is_being_read_from_its_first_byte_to_its_last() -> None:
    client = Client()
    assert not client.parser.is_reading_since_before(time.monotonic() + 1)
    client.send(b"P")
    begun = time.monotonic()
    assert client.parser.is_reading_since_before(begun)
    client.parser.restart_clock()
    assert not client.parser.is_reading_since_before(begun)
    client.send(b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert not client.parser.is_reading_since_before(time.monotonic() + 1)
