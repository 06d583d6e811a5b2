"""The HTTP side alone: real sockets and a real loop, and routes that answer with what they were asked."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import uvloop

from polyhost.container.native.connection import ClientConnection, Request
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.invocation import Caller, Invocation
from polyhost.container.native.served_model import ServedModel

LIMIT = 1000
LARGE = 20_000_000  # more than the sockets take


def new_call(caller: Caller) -> Invocation:
    return Invocation(b"1", b"", cast(ServedModel, None), caller, 0.0)


class Telling:
    """`held`: those that were asked to be answered later."""

    max_body_bytes = LIMIT

    def __init__(self) -> None:
        self.held: list[ClientConnection] = []
        self.handled = 0
        self.slow: list[bool] = []  # what it was told of a client

    def handle(self, request: Request, reply: ClientConnection) -> None:
        if request.path == b"/later":
            self.held.append(reply)
        elif request.path.startswith(b"/status/"):
            reply.respond(int(request.path[8:]), [], b"a body")
        elif request.path.startswith(b"/pieces/"):
            self._in_pieces(reply, int(request.path[8:]), Chunk(None))
        elif request.path.startswith(b"/bytes/"):
            self.handled += 1
            reply.respond(200, [], bytes(int(request.path[7:])))
        elif request.path == b"/large":
            reply.on_response(new_call(reply), WorkerResponse(b"1", 200, b"OK", [], bytes(LARGE), more=True))
            self.held.append(reply)
        elif request.path == b"/broken":
            self._in_pieces(reply, 200, Chunk(None, b"{}"))
        else:
            told = {
                "method": request.method.decode(),
                "path": request.path.decode(),
                "query": request.query.decode(),
                "names": [name.decode().lower() for name, _ in request.headers],
                "body": request.body.decode(),
            }
            reply.respond(200, [], json.dumps(told).encode())

    def _in_pieces(self, reply: ClientConnection, status: int, last: Chunk) -> None:
        call = new_call(reply)
        reply.on_response(call, WorkerResponse(b"1", status, b"", [], b"one ", more=True))
        for piece in (Chunk(b"two"), last):
            if not call.cancelled:
                reply.on_chunk(call, piece)

    def on_client_gone(self, reply: ClientConnection) -> None:
        pass

    def on_slow_client(self, reply: ClientConnection, slow: bool) -> None:
        self.slow.append(slow)


class Server:
    def __init__(self) -> None:
        self.routes = Telling()
        self.connections: set[ClientConnection] = set()
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def start(self) -> None:
        self.thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await self.loop.create_server(lambda: ClientConnection(self.routes, self.connections), "127.0.0.1", 0)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.break_off()
        while self.connections:
            await asyncio.sleep(0.01)

    def do(self, what: Callable[[], None]) -> None:
        async def done() -> None:
            what()

        asyncio.run_coroutine_threadsafe(done(), self.loop).result()

    def exchange(self, *pieces: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """All answers until the server closes; the client keeps its own half open."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.01 if len(pieces) < 100 else 0)
            return answers(read_all(client))


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        status_line, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", 0))
        found.append((int(status_line.split()[1]), headers, data[:length]))
        assert len(found[-1][2]) == length
        data = data[length:]
    return found


def request(path: str = "/", body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: here", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LAST = request("/last", b"", "Connection: close")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


def told(answer: tuple[int, dict[str, str], bytes]) -> dict[str, str]:
    assert answer[0] == 200, answer
    return json.loads(answer[2])


def refused(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["type"]


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    many = [request(f"/{number}", str(number).encode()) for number in range(500)]
    found = server.exchange(b"".join(many) + LAST)
    assert [told(answer)["body"] for answer in found[:-1]] == [str(number) for number in range(500)]
    assert [headers.get("connection") for _, headers, _ in found] == [None] * 500 + ["close"]


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    sent = request("/slow?a=b", b"body") + LAST
    first, _ = server.exchange(*(sent[place : place + 1] for place in range(len(sent))))
    assert (told(first)["path"], told(first)["query"], told(first)["body"]) == ("/slow", "a=b", "body")


UPGRADE = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


def test_the_wish_for_another_protocol_is_ignored(server: Server) -> None:
    """Java's client has it with its first request; the body comes as ever."""
    wishing = request("/wish", b"its body", *UPGRADE)
    first, second, last = server.exchange(wishing + request("/next", b"another") + LAST)
    assert (told(first)["path"], told(first)["body"]) == ("/wish", "its body")
    assert "upgrade" not in told(first)["names"]
    assert (told(second)["body"], told(last)["path"]) == ("another", "/last")


def test_the_wish_may_come_byte_by_byte_and_often(server: Server) -> None:
    sent = request("/wish", b"its body", *UPGRADE) * 3 + LAST
    found = server.exchange(*(sent[place : place + 1] for place in range(len(sent))))
    assert [told(answer)["body"] for answer in found] == ["its body"] * 3 + [""]
    found = server.exchange(request("/wish", b"its body", *UPGRADE) * 1500 + LAST)
    assert len(found) == 1501


def test_a_trailer_is_no_header(server: Server) -> None:
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nContent-Type: text/evil\r\n\r\n"
    first, _ = server.exchange(chunked + LAST)
    assert told(first)["body"] == "ab"
    assert told(first)["names"] == ["transfer-encoding"]


@pytest.mark.parametrize("path", ["/status", "/pieces"])
@pytest.mark.parametrize("status", [204, 304])
def test_statuses_that_have_no_body_get_none(server: Server, status: int, path: str) -> None:
    """Else its bytes would be taken for the next answer."""
    first, last = server.exchange(request(f"{path}/{status}") + LAST)
    assert (first[0], first[2], "content-length" in first[1]) == (status, b"", False)
    assert told(last)["path"] == "/last"


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/a%20b", "/a b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%252Fb", "/a%252Fb"),
        ("/a%2520b", "/a%2520b"),
        ("/100%25", "/100%25"),
    ],
)
def test_paths_are_decoded_once(server: Server, sent: str, path: str) -> None:
    """A percent sign and a slash that were encoded stay so, for the routes to divide the path first."""
    first, _ = server.exchange(request(sent) + LAST)
    assert told(first)["path"] == path


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"NONSENSE\r\n\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/9.9\r\n\r\n", (400, "BadRequestError")),
        (b"GET http://[ HTTP/1.1\r\n\r\n", (400, "BadRequestError")),
        (b"CONNECT there:80 HTTP/1.1\r\n\r\nthrough", (400, "BadRequestError")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", (431, "HeadTooLargeError")),
        (b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", (413, "RequestTooLargeError")),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_after_what_could(
    server: Server, sent: bytes, expected: tuple[int, str]
) -> None:
    first, second = server.exchange(request("/good") + sent)
    assert told(first)["path"] == "/good"
    assert first[1].get("connection") is None
    assert refused(second) == expected
    assert second[1]["connection"] == "close"


def test_a_refusal_arrives_though_the_client_still_sends(server: Server) -> None:
    """A connection that is closed with bytes unread is reset, and takes the answer with it."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
            for _ in range(20):
                client.sendall(bytes(100_000))
            assert refused(answers(read_all(client))[0]) == (413, "RequestTooLargeError")


def test_an_answer_in_pieces_is_chunked(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/pieces/200") + LAST)
        assert b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK" in read_all(client)


def test_a_broken_answer_cannot_be_taken_for_whole(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/broken"))
        assert read_all(client).endswith(b"3\r\ntwo\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"POST /broken HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            read_all(client)


@pytest.mark.parametrize("last", [Chunk(None), Chunk(None, b"{}")], ids=["whole", "broken"])
def test_a_slow_client_holds_its_worker_up_no_longer_than_its_call_lasts(server: Server, last: Chunk) -> None:
    """Else the next call of that model would wait for a connection that nobody reads."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/large", b"", "Connection: close"))
        while not server.routes.slow:
            time.sleep(0.01)
        (connection,) = server.routes.held
        server.routes.held.clear()
        server.do(lambda: connection.on_chunk(new_call(connection), last))
        told = list(server.routes.slow)
        assert len(read_all(client)) > LARGE
    server.routes.slow.clear()
    assert told == [True, False]


def test_a_request_that_stops_half_way_is_noticed_behind_another(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/first") + b"POST /half")
        assert client.recv(1 << 16)
        (connection,) = [one for one in server.connections if one._reading_since is not None]
        server.do(lambda: connection.close_if_stalled(time.monotonic() - 60))
        server.do(lambda: connection.close_if_stalled(time.monotonic()))
        assert refused(answers(read_all(client))[0]) == (408, "SlowRequestError")


def test_what_the_server_did_not_read_is_not_the_clients_slowness(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/later") + request("/second") + b"POST /half")
        while not server.routes.held:
            time.sleep(0.01)
        (connection,) = server.routes.held
        server.routes.held.clear()
        time.sleep(0.1)
        answered = time.monotonic()
        server.do(lambda: connection.respond(200, [], b""))
        server.do(lambda: connection.close_if_stalled(answered))
        client.sendall(b" HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert [status for status, _, _ in answers(read_all(client))] == [200, 200, 200]


def test_a_client_that_does_not_read_is_answered_no_further(server: Server) -> None:
    """Else what it has asked for would lie here, however much that is."""
    server.routes.handled = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/bytes/1000000") * 39 + request("/bytes/1000000", b"", "Connection: close"))
        while not server.routes.slow:
            time.sleep(0.01)
        server.do(lambda: None)  # behind what the loop was doing then
        assert server.routes.handled < 20
        assert len(answers(read_all(client))) == 40
    assert server.routes.handled == 40
    server.routes.slow.clear()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["header", "url", "trailer", "chunk extension"],
)
def test_a_line_that_does_not_end_is_refused(server: Server, head: bytes) -> None:
    (answer,) = server.exchange(head, *[b"x" * 10_000] * 30)
    assert answer[0] in (400, 431)  # httptools has a limit of its own for what stands behind a chunk's size


def test_a_client_that_takes_nothing_is_let_go(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request(f"/bytes/{LARGE}", b"", "Connection: close"))
        while not server.routes.slow:
            time.sleep(0.01)
        (connection,) = server.connections
        server.do(lambda: connection.abort_if_unread(time.monotonic()))
        server.do(lambda: connection.abort_if_unread(time.monotonic() - 10))
        assert server.connections
        server.do(lambda: connection.abort_if_unread(time.monotonic()))
        while server.connections:
            time.sleep(0.01)
    server.routes.slow.clear()


def test_a_client_that_takes_some_is_not(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request(f"/bytes/{LARGE}", b"", "Connection: close"))
        while not server.routes.slow:
            time.sleep(0.01)
        (connection,) = server.connections
        left = LARGE
        while left > 1_000_000:
            server.do(lambda: connection.abort_if_unread(time.monotonic()))
            taken = 0
            while taken < 4_000_000 and left > 0 and (piece := client.recv(1 << 20)):
                taken, left = taken + len(piece), left - len(piece)
        assert read_all(client).strip(b"\0") == b""
    server.routes.slow.clear()


EXPECTING = b"POST /%b HTTP/%b\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(("version", "length", "status"), [(b"1.1", LIMIT + 1, 413), (b"1.0", 2, 200)])
def test_who_is_not_told_to_go_on(server: Server, version: bytes, length: int, status: int) -> None:
    """Who would be refused then, and who does not know of it."""
    (answer,) = server.exchange(EXPECTING % (b"it", version, length), b"{}")
    assert answer[0] == status


def test_a_request_behind_another_is_told_to_go_on_in_its_turn(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/later") + EXPECTING % (b"it", b"1.1", 2))
        while not server.routes.held:
            time.sleep(0.01)
        connection = server.routes.held.pop()
        server.do(lambda: connection.respond(200, [], b""))
        received = b""
        while not received.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            received += client.recv(1 << 16)
        client.sendall(b"{}")
        assert told(answers(read_all(client))[0])["body"] == "{}"


def test_a_body_is_kept_once(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request("/later", b"x" * 500))
        while not server.routes.held:
            time.sleep(0.01)
        connection = server.routes.held.pop()
        assert not connection._body
        server.do(lambda: connection.respond(200, [], b""))
