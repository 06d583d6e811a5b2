"""Connections to a listener in place of MMS."""

import os
import socket
from collections.abc import Iterator

import pytest

from polyhost.container.mms.client import MmsClient
from polyhost.container.mms.netty_threads import NettyThreads
from polyhost.container.system.event_loop import EventLoop
from polyhost.processes import free_port

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Listener:
    """Answers requests, of which it breaks off the first `broken`; stops the loop after `expected` answers."""

    def __init__(self, loop: EventLoop, port: int, expected: int, broken: int = 0) -> None:
        self.answered = 0
        self._loop = loop
        self._expected = expected
        self._broken = broken
        self.socket = socket.create_server(("127.0.0.1", port), backlog=100)
        loop.watch(self.socket, self._accept)

    def _accept(self) -> None:
        connection, _ = self.socket.accept()
        self._loop.watch(connection, lambda: self._answer(connection))

    def _answer(self, connection: socket.socket) -> None:
        self._loop.unwatch(connection)
        if connection.recv(1000):
            if self._broken:
                self._broken -= 1
            else:
                connection.send(ANSWER)
                self.answered += 1
        connection.close()
        if self.answered == self._expected:
            self._loop.after(0.3, lambda: self._loop.stop(0))  # there might be more


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    made.after(60, lambda: made.stop(1))
    yield made
    made._selector.close()


@pytest.mark.parametrize(("setting", "threads"), [(3, 3), (32, 32), (0, 2 * len(os.sched_getaffinity(0)))])
def test_each_thread_gets_a_connection(loop: EventLoop, setting: int, threads: int) -> None:
    listener = Listener(loop, 0, threads)
    with listener.socket as server:
        NettyThreads(loop, MmsClient(loop, server.getsockname()[1]), setting).start()

        assert loop.run() == 0
    assert listener.answered == threads


def test_threads_that_do_not_answer_are_tried_again(loop: EventLoop) -> None:
    listener = Listener(loop, 0, 3 + 5, broken=2)
    with listener.socket as server:
        NettyThreads(loop, MmsClient(loop, server.getsockname()[1]), 5, retry_s=0.05).start()

        assert loop.run() == 0
    assert listener.answered == 3 + 5


def test_mms_that_is_not_up_yet_is_waited_for(loop: EventLoop) -> None:
    port = free_port()
    listeners: list[Listener] = []
    NettyThreads(loop, MmsClient(loop, port), 4).start()
    loop.after(0.5, lambda: listeners.append(Listener(loop, port, 4)))

    assert loop.run() == 0
    listeners[0].socket.close()
