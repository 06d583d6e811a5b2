"""One request's response, over real sockets."""

import pytest

from polyhost.container.native.decoder import Chunk
from polyhost.container.native.errors import internal_error, queue_full
from tests.container.native.http_server import (
    LARGE,
    LAST,
    HttpServer,
    echoed,
    parse_responses,
    read_all,
    rejected,
    request,
)


@pytest.mark.parametrize("path", ["/status", "/chunks"])
@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_get_none(server: HttpServer, status: int, path: str) -> None:
    """Otherwise the client would take the body for the next response."""
    first, last = server.exchange(request(f"{path}/{status}") + LAST)
    assert (first[0], first[2], "content-length" in first[1]) == (status, b"", False)
    assert echoed(last)["path"] == "/last"
    assert server.routes.model.asked == ([] if path == "/status" else ["resume", "cancel"])


def test_head_request_gets_the_length_and_no_body(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/status/200", b"", "Connection: close", method="HEAD"))
        assert read_all(client).endswith(b"content-length: 6\r\n\r\n")


def test_streamed_response_is_chunked(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/chunks/200") + LAST)
        assert b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK" in read_all(client)


def test_old_client_gets_a_streamed_response_until_the_connection_closes(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(b"POST /chunks/200 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        received = read_all(client)
    assert received.endswith(b"connection: close\r\n\r\none two")


def test_broken_response_cannot_be_taken_for_whole(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/broken") + request("/behind"))
        assert read_all(client).endswith(b"3\r\ntwo\r\n")
    assert server.routes.handled == 1
    with server.connect() as client:
        client.sendall(b"POST /broken HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            read_all(client)


@pytest.mark.parametrize("last", [Chunk(None), Chunk(None, b"{}")], ids=["whole", "broken"])
def test_slow_client_holds_up_a_worker_no_longer_than_its_invocation_lasts(server: HttpServer, last: Chunk) -> None:
    """Otherwise the model's next request would wait for a worker's connection that nobody reads."""
    with server.connect() as client:
        client.sendall(request("/large", b"", "Connection: close"))
        server.wait_for_slow_client()
        exchange = server.wait_for_held()
        invocation = exchange.invocation
        assert invocation is not None
        server.run(lambda: exchange.on_chunk(invocation, last))
        assert server.routes.model.asked == ["pause", "resume"]
        assert len(read_all(client)) > LARGE


def test_worker_goes_on_when_a_slow_client_reads_again(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/large", b"", "Connection: close"))
        server.wait_for_slow_client()
        exchange = server.wait_for_held()
        invocation = exchange.invocation
        assert invocation is not None
        received = b""
        while len(received) < LARGE:
            received += client.recv(1 << 20)
        server.run(lambda: exchange.on_chunk(invocation, Chunk(None)))
        read_all(client)
    assert server.routes.model.asked == ["pause", "resume"]


def test_rejection_during_a_streamed_response_breaks_it_off(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/large"))
        exchange = server.wait_for_held()
        invocation = exchange.invocation
        assert invocation is not None
        server.run(lambda: exchange.on_rejected(invocation, internal_error()))
        received = read_all(client)
    assert b"InternalError" not in received
    assert not received.endswith(b"0\r\n\r\n")


def test_rejection_has_its_headers(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later", b"", "Connection: close"))
        exchange = server.wait_for_held()
        server.run(lambda: exchange.reject(queue_full("m", 1)))
        (response,) = parse_responses(read_all(client))
    assert rejected(response) == (503, "QueueFullError")
    assert response[1]["retry-after"] == "1"
