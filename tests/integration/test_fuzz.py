"""Arbitrary and malformed requests to a running native front end: no crash, no hang, no 5xx of its own.

For longer: scripts/test tests/integration/test_fuzz.py --hypothesis-profile=long --timeout=0
What is not so well defined is in tests/fuzz, for as long as one likes with scripts/fuzz.
"""

import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from tests.support.container import ContainerProcess, running
from tests.support.models import place

HANG_S = 20
PAUSE_S = 0.002
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Target:
    container: ContainerProcess
    model: str
    front_end: psutil.Process

    def send(self, parts: Sequence[bytes], pause_s: float = 0.0, half_close: bool = False) -> bytes:
        """Send the parts, and return what comes back until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.container.port), timeout=HANG_S) as client:
            try:
                for part in parts:
                    client.sendall(part)
                    time.sleep(pause_s)
                if half_close:
                    client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was rejected before everything was sent
            return read_all(client)

    def check(self) -> None:
        assert self.container.http.get("/ping").status_code == 200
        assert self.front_end.is_running()


def read_all(client: socket.socket) -> bytes:
    data = b""
    try:
        while received := client.recv(1 << 16):
            data += received
    except ConnectionResetError:
        pass
    return data


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with running(folder, POLYHOST_FRONTEND="native", POLYHOST_ZYGOTES="bare") as container:
        model = container.loaded(place("returns_the_body", container.models_dir))
        target = Target(container, model, container.process_of("polyhost.container.native"))
        yield target
        target.check()
        assert not container.events(level="ERROR"), "the front end has logged an error of its own"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


places = some.lists(some.integers(0, 1 << 16), max_size=12)
bodies = some.binary(max_size=200) | some.integers(1, 200_000).map(bytes)


# Valid requests get the right response, however they are split


@dataclass(frozen=True)
class Exchange:
    request: bytes
    status: int
    body: bytes | None = None  # None: not checked


def invocation(body: bytes, chunk: int, extra: Sequence[str]) -> Exchange:
    """Make an invocation. `chunk` is the size of the request's chunks, or 0 for no chunked coding."""
    lines = ["POST /models/MODEL/invoke HTTP/1.1", "Host: here", *extra]
    if chunk:
        lines.append("Transfer-Encoding: chunked")
        chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)]
        sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks) + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
        sent = body
    return Exchange("\r\n".join(lines).encode() + b"\r\n\r\n" + sent, 200, body)


def plain(line: str, status: int) -> Exchange:
    return Exchange(f"{line} HTTP/1.1\r\nHost: here\r\n\r\n".encode(), status)


extras = some.lists(
    some.sampled_from(["Content-Type: application/json", "Accept: */*", "X-Odd: caf\u00e9", "Connection: keep-alive"]),
    max_size=3,
    unique=True,
) | some.just(["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"])
exchanges = some.builds(invocation, bodies, some.sampled_from([0, 0, 1000, 65_536]), extras) | some.sampled_from(
    [
        plain("GET /ping", 200),
        plain("GET /models", 200),
        plain("GET /models/MODEL", 200),
        plain("GET /models/other", 404),
        plain("DELETE /models/other", 404),
        plain("POST /models/other/invoke", 404),
        plain("PUT /models/MODEL", 405),
        plain("DELETE /ping", 405),
        plain("GET /models?limit=0", 400),
        plain("GET /nowhere", 404),
        plain("GET /models/%ff", 400),
        plain("POST /models", 400),
    ]
)


@given(some.lists(exchanges, min_size=1, max_size=8), places, some.sampled_from([0.0, 0.0, PAUSE_S]))
def test_pipelined_requests_split_anywhere(
    target: Target, exchanges: list[Exchange], places: list[int], pause_s: float
) -> None:
    last = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    data = b"".join(exchange.request for exchange in exchanges).replace(b"MODEL", target.model.encode()) + last

    received = parsed(target.send(cut(data, places), pause_s))

    assert [status for status, _ in received] == [*(exchange.status for exchange in exchanges), 200]
    for exchange, (_, body) in zip(exchanges, received, strict=False):
        assert exchange.body is None or body == exchange.body


def parsed(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        found.append((int(head.split()[1]), data[:length]))
        assert len(data) >= length
        data = data[length:]
    return found


# Malformed requests are rejected

methods = some.sampled_from(
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PATCH", "NONSENSE"]
)
paths = some.sampled_from(
    ["/ping", "/models", "/models/MODEL/invoke", "/models/MODEL", "/invocations", "/metrics", "/", "*", "http://a/ping"]
) | some.text("/%.?=&#ab09é\u2603 ", min_size=1, max_size=30).map("/".__add__)
versions = some.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", ""])
names = some.sampled_from(
    ["Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Content-Type", "Host", "X"]
) | some.text(min_size=1, max_size=10)
values = some.sampled_from(
    ["0", "5", "-1", "99999999999", "chunked", "gzip, chunked", "close", "keep-alive", "upgrade", "100-continue", "h2c"]
) | some.text(max_size=20)


def rough(method: str, path: str, version: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


requests = some.builds(rough, methods, paths, versions, some.lists(some.tuples(names, values), max_size=5), bodies)


@some.composite
def mutated(draw: some.DrawFn) -> bytes:
    """Draw valid requests, and change a few bytes."""
    data = bytearray(b"".join(exchange.request for exchange in draw(some.lists(exchanges, min_size=1, max_size=4))))
    for _ in range(draw(some.integers(1, 4))):
        place = draw(some.integers(0, min(len(data), 400)))
        data[place : place + draw(some.integers(0, 3))] = draw(some.binary(max_size=3))
    return bytes(data)


streams = some.binary(max_size=500) | some.lists(requests, min_size=1, max_size=4).map(b"".join) | mutated()


@given(streams, places, some.sampled_from([0.0, 0.0, PAUSE_S]))
@example(b"", [], 0.0)
@example(b"\r\n" * 1000, [], 0.0)
@example(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000, [], 0.0)
@example(b"GET /" + b"a" * 100_000, [], 0.0)
@example(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" * 2000, [], 0.0)
@example(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" * 1000, [], 0.0)
@example(b"GET /models?limit=" + b"9" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", [], 0.0)
@example(b"GET /models?next_page_token=%ED%A0%80 HTTP/1.1\r\nHost: a\r\n\r\n", [], 0.0)
@example(b"POST /models HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n" + b"[" * 99_999, [], 0.0)
@example(b'POST /models HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n""', [], 0.0)
def test_any_bytes(target: Target, stream: bytes, places: list[int], pause_s: float) -> None:
    received = target.send(cut(stream.replace(b"MODEL", target.model.encode()), places), pause_s, half_close=True)

    if stream:
        assert not received or STATUS.match(received)
    assert {status for status in STATUS.findall(received) if status >= b"500"} <= {b"505"}  # not HTTP/1
    target.check()


texts = some.text(max_size=20)
fields = {
    "model_name": some.sampled_from(["a", "a/b", "%2F", "..", "", "\0", "\ud800"])
    | texts
    | some.integers()
    | some.none(),
    "url": some.sampled_from(["/", "..", "/etc", "/x\0y", "/\ud800", "MODELS/nowhere"]) | texts | some.lists(texts),
    "other": texts,
}


@given(some.fixed_dictionaries({}, optional=fields) | some.lists(texts))
@example({"model_name": "\ud800", "url": "MODELS"})
@example({"model_name": "a\0b", "url": "MODELS"})
@example({"model_name": "a", "url": "/x\0y"})
@example({"model_name": "n" * 1_000_000, "url": "MODELS"})
@example({"model_name": "a", "url": "MODELS/" + "x" * 1_000_000})
def test_any_load_request(target: Target, content: Any) -> None:
    """No request here names a folder with a model in it."""
    body = json.dumps(content).replace("MODELS", str(target.container.models_dir))
    response = target.container.http.post("/models", content=body.encode(), timeout=HANG_S)

    assert (response.status_code, response.json()["phase"]) == (400, "load"), response.text[:500]
    target.check()
    assert target.container.http.get("/metrics", timeout=HANG_S).status_code == 200


page_parameters = some.sampled_from(["next_page_token", "limit"])


@given(some.lists(some.tuples(page_parameters, texts), max_size=3))
def test_any_list_request(target: Target, parameters: list[tuple[str, str]]) -> None:
    assert target.container.http.get("/models", params=tuple(parameters), timeout=HANG_S).status_code in (200, 400)
