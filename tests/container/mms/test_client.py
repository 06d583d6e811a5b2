"""Requests to a listener in place of MMS, and its responses."""

import socket

import pytest

from polyhost.container.mms.client import MmsClient
from polyhost.container.system.event_loop import EventLoop


def test_request_is_sent_and_its_response_read_to_the_end() -> None:
    loop = EventLoop()
    with socket.create_server(("127.0.0.1", 0)) as mms:
        MmsClient(loop, mms.getsockname()[1]).resize("a model/ü", 3)
        connection, _ = mms.accept()
        request = connection.recv(65536).decode()
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nConnection: close\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        loop.watch(connection, lambda: loop.stop(len(connection.recv(100))))
        status = loop.run()
        connection.close()

    assert request.startswith("PUT /models/a%20model%2F%C3%BC?min_worker=3&max_worker=3 HTTP/1.1\r\nHost: ")
    assert request.endswith("\r\n\r\n")
    assert status == 0  # it has closed its end


def test_mms_that_does_not_listen_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    with pytest.raises(OSError):
        MmsClient(EventLoop(), port).resize("m", 2)


@pytest.mark.parametrize(("response", "status"), [(b"HTTP/1.1 404 Not Found\r\n\r\n", 404), (b"", None), (b"x", None)])
def test_status_of_a_response(response: bytes, status: int | None) -> None:
    loop = EventLoop()
    statuses: list[int | None] = []

    def on_response(given: int | None) -> None:
        statuses.append(given)
        loop.stop(0)

    with socket.create_server(("127.0.0.1", 0)) as mms:
        MmsClient(loop, mms.getsockname()[1]).describe("m", on_response)
        connection, _ = mms.accept()
        assert connection.recv(65536).startswith(b"GET /models/m HTTP/1.1\r\n")
        connection.sendall(response)
        connection.close()
        loop.run()

    assert statuses == [status]
