"""Models that MMS has registered and that have no launcher, with a listener in place of MMS."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from polyhost.container.mms import lost_loads
from polyhost.container.mms.client import MmsClient
from polyhost.container.mms.lost_loads import LostLoads
from polyhost.container.system.event_loop import EventLoop

LIST, LAST = "GET /models?limit=100000", "GET /models/last"


class Mms:
    """Answers each request with the list of models, and keeps the requests."""

    def __init__(self, listener: socket.socket, urls: dict[str, str]) -> None:
        self.requests: list[str] = []
        self._listener = listener
        models = [{"modelName": name, "modelUrl": url} for name, url in urls.items()]
        self._body = json.dumps({"models": models}).encode()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(1 << 16).decode().partition(" HTTP")[0])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._body) + self._body)


@contextmanager
def mms_with(urls: dict[str, str]) -> Iterator[tuple[Mms, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mms = Mms(listener, urls)
        thread = threading.Thread(target=mms.serve)
        thread.start()
        try:
            yield mms, listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def look(port: int, launched: set[str], times: int) -> None:
    """Look that often, each time once MMS has answered; return when the last answer has been read."""
    loop = EventLoop()
    mms = MmsClient(loop, port)
    answers = 0

    def launched_names() -> set[str]:
        nonlocal answers
        answers += 1
        # The listener answers one request after the other: the answer to the last one comes last.
        loop.after(0.0, lost.check if answers < times else ask_last)
        return launched

    def ask_last() -> None:
        mms.describe("last", lambda status: loop.stop(0))

    lost = LostLoads(mms, launched_names)
    lost.on_rejected()
    lost.check()
    loop.run()


def test_what_had_no_launcher_at_two_looks_is_unregistered(caplog: pytest.LogCaptureFixture) -> None:
    with mms_with({"lost": "/lost", "launched": "/launched"}) as (mms, port):
        look(port, {"launched"}, 2)
    assert mms.requests == [LIST, LIST, "DELETE /models/lost", LAST]
    assert caplog.messages == ["MMS has lost a load; unregistered it, so that the next one works"]


def test_one_look_is_not_enough() -> None:
    with mms_with({"lost": "/lost"}) as (mms, port):
        look(port, set(), 1)
    assert mms.requests == [LIST, LAST]


def test_the_log_names_a_folder_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lost_loads, "why_unreadable", lambda path: f"{path} cannot be read")
    with mms_with({"lost": "/shut"}) as (_, port):
        look(port, set(), 2)
    (message,) = caplog.messages
    assert message.startswith("MMS has lost a load (/shut cannot be read); unregistered it")
