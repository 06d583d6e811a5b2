"""Pipelining, slow clients and the ends of a client's connection, over real sockets."""

import time

import pytest

from polyhost.container.native.connection import ClientConnection
from tests.container.native.http_server import (
    LARGE,
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

EXPECTING = b"POST /%b HTTP/%b\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Order


def test_pipelined_requests_are_answered_in_order(server: HttpServer) -> None:
    many = [request(f"/{number}", str(number).encode()) for number in range(500)]
    responses = server.exchange(b"".join(many) + LAST)
    assert [echoed(response)["body"] for response in responses[:-1]] == [str(number) for number in range(500)]
    assert [headers.get("connection") for _, headers, _ in responses] == [None] * 500 + ["close"]


def test_requests_behind_one_that_waits_are_answered_after_it(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later") + request("/second") + LAST)
        exchange = server.wait_for_held()
        assert server.routes.handled == 1
        server.run(lambda: exchange.respond(201, [], b""))
        assert [status for status, _, _ in parse_responses(read_all(client))] == [201, 200, 200]


def test_requests_behind_a_last_one_are_not_handled(server: HttpServer) -> None:
    (response,) = server.exchange(LAST + request("/behind"))
    assert echoed(response)["path"] == "/last"
    assert server.routes.handled == 1


def test_route_that_fails_answers_500_and_the_connection_goes_on(server: HttpServer) -> None:
    first, second = server.exchange(request("/fails") + LAST)
    assert rejected(first) == (500, "InternalError")
    assert echoed(second)["path"] == "/last"


def test_response_after_a_disconnect_is_ignored(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later"))
        exchange = server.wait_for_held()
        invocation = exchange.invocation = server.routes.new_invocation(exchange)
    wait_for(lambda: not server.connections, "the disconnect")
    assert invocation.cancelled
    assert server.routes.model.asked == ["cancel"]
    server.run(lambda: exchange.respond(200, [], b""))


# Rejections


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"NONSENSE\r\n\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/9.9\r\n\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", (505, "UnsupportedVersionError")),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", (505, "UnsupportedVersionError")),
        (b"GET /\r\n\r\n", (505, "UnsupportedVersionError")),
        (b"GET / HTTP/1.1\r\n\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", (400, "BadRequestError")),
        (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", (400, "BadRequestError")),
        (b"CONNECT there:80 HTTP/1.1\r\n\r\nthrough", (400, "BadRequestError")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n", (400, "BadRequestError")),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", (400, "BadRequestError")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", (431, "HeadTooLargeError")),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", (413, "RequestTooLargeError")),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_unreadable_input_is_rejected_after_the_requests_before_it(
    server: HttpServer, sent: bytes, expected: tuple[int, str]
) -> None:
    first, second = server.exchange(request("/good") + sent)
    assert echoed(first)["path"] == "/good"
    assert first[1].get("connection") is None
    assert rejected(second) == expected
    assert second[1]["connection"] == "close"


def test_rejection_waits_for_the_response_before_it(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later") + b"NONSENSE\r\n\r\n")
        exchange = server.wait_for_held()
        server.run(lambda: exchange.respond(200, [], b""))
        first, second = parse_responses(read_all(client))
        assert first[0] == 200
        assert rejected(second) == (400, "BadRequestError")


def test_rejection_keeps_its_place_behind_requests_of_a_slow_client(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request(f"/bytes/{LARGE}") + request("/status/201") + b"NONSENSE\r\n\r\n")
        server.wait_for_slow_client()
        assert [status for status, _, _ in parse_responses(read_all(client))] == [200, 201, 400]


def test_rejection_arrives_though_the_client_still_sends(server: HttpServer) -> None:
    """TCP resets a connection that is closed with bytes unread, and the response is lost with it."""
    for _ in range(20):
        with server.connect() as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
            for _ in range(20):
                client.sendall(bytes(100_000))
            assert rejected(parse_responses(read_all(client))[0]) == (413, "RequestTooLargeError")


# Requests that do not arrive


def test_request_that_stalls_behind_another_is_rejected(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/first") + b"POST /half")
        assert client.recv(1 << 16)
        (connection,) = server.connections
        server.run(lambda: connection.reject_if_stalled(time.monotonic() - 60))
        server.run(lambda: connection.reject_if_stalled(time.monotonic()))
        assert rejected(parse_responses(read_all(client))[0]) == (408, "SlowRequestError")


def test_idle_connection_does_not_count_as_stalled(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/first"))
        assert client.recv(1 << 16)
        (connection,) = server.connections
        server.run(lambda: connection.reject_if_stalled(time.monotonic()))
        client.sendall(LAST)
        assert [status for status, _, _ in parse_responses(read_all(client))] == [200]


def test_connection_that_is_idle_for_long_is_closed(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/first"))
        assert client.recv(1 << 16)
        (connection,) = server.connections
        server.run(lambda: connection.close_if_idle(time.monotonic() - 60))
        client.sendall(request("/second"))
        assert client.recv(1 << 16)
        server.run(lambda: connection.close_if_idle(time.monotonic()))
        assert client.recv(1 << 16) == b""


def test_connection_that_never_sent_anything_is_closed_too(server: HttpServer) -> None:
    with server.connect() as client:
        connection: ClientConnection = wait_for(lambda: next(iter(server.connections), None), "the connection")
        server.run(lambda: connection.close_if_idle(time.monotonic() - 60))
        server.run(lambda: connection.close_if_idle(time.monotonic()))
        assert client.recv(1 << 16) == b""


@pytest.mark.parametrize("sent", [b"POST /half", request("/first") + b"POST /half"])
def test_half_a_request_is_not_idle(server: HttpServer, sent: bytes) -> None:
    with server.connect() as client:
        client.sendall(sent)
        wait_for(lambda: any(c._parser.is_reading_since_before(time.monotonic()) for c in server.connections), "half")
        (connection,) = server.connections
        server.run(lambda: connection.close_if_idle(time.monotonic()))
        client.sendall(b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert parse_responses(read_all(client))[-1][0] == 200


def test_time_of_a_response_does_not_count_as_idle(server: HttpServer) -> None:
    """A connection whose response took longer than the limit is not closed as soon as that is sent."""
    with server.connect() as client:
        client.sendall(request("/later"))
        exchange = server.wait_for_held()
        (connection,) = server.connections
        server.run(lambda: connection.close_if_idle(time.monotonic()))
        looked = time.monotonic()
        server.run(lambda: connection.close_if_idle(looked))
        server.run(lambda: exchange.respond(200, [], b""))
        server.run(lambda: connection.close_if_idle(looked))
        client.sendall(LAST)
        assert [status for status, _, _ in parse_responses(read_all(client))] == [200, 200]


def test_rejected_connection_is_not_rejected_again(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(b"NONSENSE\r\n\r\n")
        assert rejected(parse_responses(read_all(client))[0]) == (400, "BadRequestError")
        (connection,) = server.connections
        server.run(lambda: connection.reject_if_stalled(time.monotonic()))


def test_time_in_which_the_server_did_not_read_does_not_count(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later") + request("/second") + b"POST /half")
        exchange = server.wait_for_held()
        (connection,) = server.connections
        time.sleep(0.1)
        responded = time.monotonic()
        server.run(lambda: exchange.respond(200, [], b""))
        server.run(lambda: connection.reject_if_stalled(responded))
        client.sendall(b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert [status for status, _, _ in parse_responses(read_all(client))] == [200, 200, 200]


# Slow clients


def test_requests_of_a_slow_client_are_not_handled_until_it_reads(server: HttpServer) -> None:
    """Otherwise all its responses would pile up in memory."""
    with server.connect() as client:
        client.sendall(request("/bytes/1000000") * 39 + request("/bytes/1000000", b"", "Connection: close"))
        server.wait_for_slow_client()
        server.run(lambda: None)  # after what the loop was doing then
        assert server.routes.handled < 20
        assert len(parse_responses(read_all(client))) == 40
    assert server.routes.handled == 40


def test_client_that_takes_nothing_is_disconnected(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request(f"/bytes/{LARGE}", b"", "Connection: close"))
        connection = server.wait_for_slow_client()
        server.run(lambda: connection.abort_if_stuck(time.monotonic()))
        server.run(lambda: connection.abort_if_stuck(time.monotonic() - 10))
        assert server.connections
        server.run(lambda: connection.abort_if_stuck(time.monotonic()))
        wait_for(lambda: not server.connections, "the disconnect")


def test_client_that_reads_slowly_is_not_disconnected(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request(f"/bytes/{LARGE}", b"", "Connection: close"))
        connection = server.wait_for_slow_client()
        left = LARGE
        while left > 1_000_000:
            server.run(lambda: connection.abort_if_stuck(time.monotonic()))
            taken = 0
            while taken < 4_000_000 and left > 0 and (part := client.recv(1 << 20)):
                taken, left = taken + len(part), left - len(part)
        assert read_all(client).strip(b"\0") == b""


# Expect: 100-continue


@pytest.mark.parametrize(("version", "length", "status"), [(b"1.1", LIMIT + 1, 413), (b"1.0", 2, 200)])
def test_no_100_continue_for_a_rejected_request_or_an_old_client(
    server: HttpServer, version: bytes, length: int, status: int
) -> None:
    (response,) = server.exchange(EXPECTING % (b"it", version, length), b"{}")
    assert response[0] == status


def test_100_continue_comes_at_once(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(EXPECTING % (b"it", b"1.1", 2))
        assert client.recv(len(CONTINUE), 256) == CONTINUE
        client.sendall(b"{}")
        assert echoed(parse_responses(read_all(client))[0])["body"] == "{}"


def test_100_continue_waits_for_the_response_before_it(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later") + EXPECTING % (b"it", b"1.1", 2))
        exchange = server.wait_for_held()
        server.run(lambda: exchange.respond(200, [], b""))
        received = b""
        while not received.endswith(CONTINUE):
            part = client.recv(1 << 16)
            assert part, received
            received += part
        client.sendall(b"{}")
        assert echoed(parse_responses(read_all(client))[0])["body"] == "{}"


# The container's end


def test_container_stop_closes_an_idle_connection(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/first"))
        assert client.recv(1 << 16)
        (connection,) = server.connections
        server.run(connection.close_when_idle)
        assert read_all(client) == b""


def test_container_stop_lets_requests_that_have_come_finish(server: HttpServer) -> None:
    with server.connect() as client:
        client.sendall(request("/later") + request("/second"))
        exchange = server.wait_for_held()
        (connection,) = server.connections
        server.run(connection.close_when_idle)
        server.run(lambda: exchange.respond(200, [], b""))
        first, second = parse_responses(read_all(client))
        assert (first[1].get("connection"), second[1].get("connection")) == (None, "close")
