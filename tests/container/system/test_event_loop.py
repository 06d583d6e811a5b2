"""The event loop: descriptors, timers and signals, and callbacks that fail."""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from polyhost.container.system.event_loop import EventLoop


@pytest.fixture
def loop() -> EventLoop:
    return EventLoop()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Restore what `on_signals` changes."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_run_returns_the_status_given_to_stop(loop: EventLoop) -> None:
    loop.after(0, lambda: loop.stop(3))

    assert loop.run() == 3


def test_readable_descriptor_calls_back(loop: EventLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    loop.watch(ours, lambda: loop.stop(len(ours.recv(100))))
    loop.after(0.01, lambda: theirs.send(b"four"))  # type: ignore[arg-type]

    assert loop.run() == 4


def test_timers_run_in_order_and_on_time(loop: EventLoop) -> None:
    ran: list[str] = []
    start = time.monotonic()
    loop.after(0.04, lambda: loop.stop(0))
    loop.after(0.02, lambda: ran.append("second"))
    loop.after(0.01, lambda: ran.append("first"))
    loop.run()

    assert ran == ["first", "second"]
    assert time.monotonic() - start >= 0.04


def test_every_repeats(loop: EventLoop) -> None:
    rounds: list[int] = []
    loop.every(0.005, lambda: rounds.append(1) if len(rounds) < 3 else loop.stop(0))

    assert loop.run() == 0
    assert len(rounds) == 3


def test_every_continues_after_an_error(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[int] = []

    def duty() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise ValueError("only the first time")
        loop.stop(0)

    loop.every(0.005, duty)
    loop.after(5, lambda: loop.stop(1))

    assert loop.run() == 0
    assert "only the first time" in caplog.text


def test_error_in_a_callback_is_logged_and_others_run(
    loop: EventLoop, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = pair
    theirs.send(b"x")

    def broken() -> None:
        ours.recv(1)
        raise ValueError("broken")

    loop.watch(ours, broken)
    loop.after(0.02, lambda: loop.stop(0))

    assert loop.run() == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_unwatch_accepts_a_descriptor_that_is_not_watched(
    loop: EventLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    loop.watch(ours, lambda: loop.stop(1))
    loop.unwatch(ours)
    loop.unwatch(theirs)
    theirs.send(b"x")
    loop.after(0.01, lambda: loop.stop(0))

    assert loop.run() == 0


def test_reused_descriptor_number_gets_no_stale_event(loop: EventLoop) -> None:
    """Two descriptors are ready in one round; the callback of one closes the other and reuses its number."""
    called: list[str] = []
    pairs = [socket.socketpair() for _ in range(2)]
    fresh: list[socket.socket] = []

    def callback(mine: int) -> None:
        called.append("ready")
        loop.unwatch(pairs[mine][0])
        other = pairs[1 - mine][0]
        number = other.fileno()
        loop.unwatch(other)
        other.close()
        fresh.extend(socket.socketpair())
        assert number in (fresh[0].fileno(), fresh[1].fileno())
        loop.watch(number, lambda: called.append("not ready"))

    for mine, (ours, theirs) in enumerate(pairs):
        loop.watch(ours, lambda mine=mine: callback(mine))  # type: ignore[misc]
        theirs.send(b"x")
    loop.after(0.02, lambda: loop.stop(0))
    loop.run()

    assert called == ["ready"]
    for sock in (*fresh, *(sock for pair in pairs for sock in pair)):
        sock.close()


@pytest.mark.usefixtures("own_signals")
def test_repeated_signal_calls_back_once(loop: EventLoop) -> None:
    received: list[int] = []
    loop.on_signals({signal.SIGUSR1: lambda: received.append(1)}, ignored=[signal.SIGUSR2])
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
        os.kill(os.getpid(), number)
    loop.after(0.02, lambda: loop.stop(0))
    loop.run()

    assert received == [1]
    for key in [*loop._selector.get_map().values()]:
        key.fileobj.close()  # type: ignore[union-attr]
    assert loop._signal_writer is not None
    loop._signal_writer.close()
