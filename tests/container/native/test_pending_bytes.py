"""What clients send is counted while it arrives, and freed when they go away, without a garbage collection."""

import gc
import socket
from collections.abc import Callable, Iterator

import pytest

from polyhost.container.native.connection import ClientConnection
from polyhost.container.native.parser import RequestParser
from tests.container.native.http_server import (
    LAST,
    LIMIT,
    HttpServer,
    echoed,
    parse_responses,
    read_all,
    rejected,
    request,
)
from tests.support.waiting import wait_for

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LIMIT + bytes(LIMIT - 100)
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % LIMIT + bytes(LIMIT - 100)
UPGRADE = UPLOAD.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 1)
HEAD_ONLY = b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept() -> int:
    # By its type, which runs no code: isinstance asks an object's __class__, which PyTorch's lazy ones compute.
    return sum(type(item) in (ClientConnection, RequestParser) for item in gc.get_objects())


def abort(client: socket.socket, server: HttpServer) -> None:
    client.close()


def shut_down_sending(client: socket.socket, server: HttpServer) -> None:
    client.shutdown(socket.SHUT_WR)
    read_all(client)
    client.close()


def stall(client: socket.socket, server: HttpServer) -> None:
    def reject() -> None:
        for connection in list(server.connections):
            connection.reject_if_stalled(float("inf"))

    server.run(reject)
    read_all(client)
    client.close()


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("sent", [UPLOAD, CHUNKED, UPGRADE, HEAD_ONLY, request("/later") + UPLOAD, b"NONSENSE\r\n\r\n"])
@pytest.mark.parametrize("end", [abort, shut_down_sending, stall])
def test_connections_are_freed_when_their_clients_go_away(
    server: HttpServer, sent: bytes, end: Callable[[socket.socket, HttpServer], None]
) -> None:
    if sent.startswith(request("/later")) and end is not abort:
        pytest.skip("it waits for its response")
    before = kept()
    for _ in range(5):
        client = server.connect()
        client.sendall(sent[:50])
        client.sendall(sent[50:])
        wait_for(lambda: server.connections, "the connection")
        end(client, server)
        wait_for(lambda: not server.connections, "the disconnect")
    server.routes.held.clear()
    wait_for(lambda: kept() == before, "the connections to be freed")
    assert server.pending.total == 0


def test_bytes_that_arrive_are_counted_until_the_request_is_handled(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(UPLOAD)
        wait_for(lambda: server.pending.total == LIMIT - 100, "the bytes to be counted")
        client.sendall(bytes(100) + LAST)
        assert len(parse_responses(read_all(client))) == 2
    wait_for(lambda: server.pending.total == 0, "the bytes to be handled")


def test_requests_that_wait_for_the_response_before_them_are_counted(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later") + request("/second", b"x" * 700) + request("/third", b"x" * 50))
        exchange = server.wait_for_held()
        wait_for(lambda: server.pending.total == 750, "the bytes to be counted")
        server.run(lambda: exchange.respond(200, [], b""))
        wait_for(lambda: server.pending.total == 0, "the requests to be handled")


def test_above_the_limit_an_upload_is_rejected_and_small_requests_are_served(server: HttpServer) -> None:
    server.run(lambda: setattr(server.pending, "total", server.pending.limit - 10))
    with server.connect() as client:
        client.sendall(UPLOAD)
        (response,) = parse_responses(read_all(client))
        assert rejected(response) == (503, "QueueFullError")
        assert response[1]["retry-after"] == "1"
    assert [echoed(response)["path"] for response in server.exchange(LAST)] == ["/last"]
    wait_for(lambda: server.pending.total == server.pending.limit - 10, "the bytes to be freed")
