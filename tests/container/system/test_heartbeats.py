"""Heartbeats between two processes, or two ends in one; the test asks as often as the supervisor would."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import HEARTBEAT_S, HeartbeatMonitor, send_heartbeats
from tests.support.waiting import wait_for

SENDER = """
import signal
import sys
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import send_heartbeats

def hang():
    while True:
        pass

loop = EventLoop()
loop.on_signals({signal.SIGUSR1: hang})
send_heartbeats(loop, 0)
loop.watch(sys.stdin, lambda: loop.stop(0))
sys.exit(loop.run())
"""
SILENCE_S = 3.0


@pytest.fixture
def monitor() -> Iterator[HeartbeatMonitor]:
    made = HeartbeatMonitor(SILENCE_S)
    yield made
    made.close()


@pytest.fixture
def sender(monitor: HeartbeatMonitor) -> Iterator[subprocess.Popen[bytes]]:
    with monitor.connect() as stdin:
        process = subprocess.Popen([sys.executable, "-c", SENDER], stdin=stdin.fileno())
    yield process
    process.kill()
    process.wait()


def answers(monitor: HeartbeatMonitor, questions: int) -> list[bool]:
    return [monitor.check() for _ in range(questions)]


def wait_for_heartbeat(monitor: HeartbeatMonitor) -> None:
    wait_for(lambda: not monitor.check() and monitor.limit_s == SILENCE_S, "a heartbeat")


def check_in_a_while(monitor: HeartbeatMonitor) -> bool:
    """Ask as often as the supervisor does: a process that goes on is never overdue then."""
    time.sleep(HEARTBEAT_S)
    return monitor.check()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGUSR1], ids=["stopped", "in an endless loop"])
def test_process_that_hangs_is_overdue(
    monitor: HeartbeatMonitor, sender: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    wait_for_heartbeat(monitor)
    sender.send_signal(number)

    wait_for(lambda: check_in_a_while(monitor), "silence")
    assert sender.poll() is None


def test_process_that_goes_on_is_not_overdue(monitor: HeartbeatMonitor) -> None:
    with monitor.connect() as senders_end:
        for _ in range(3):
            senders_end.send(b".")
            assert answers(monitor, 4) == [False] * 4
    # One more would have been too many.
    assert monitor.check()


def test_counting_begins_anew_after_each_answer(monitor: HeartbeatMonitor) -> None:
    with monitor.connect() as senders_end:
        senders_end.send(b".")

        assert answers(monitor, 9) == [False, *[False] * 3, True, *[False] * 3, True]


def test_start_may_take_minutes(monitor: HeartbeatMonitor) -> None:
    with monitor.connect():
        assert answers(monitor, 301) == [*[False] * 300, True]


def test_each_process_has_a_start_of_its_own(monitor: HeartbeatMonitor) -> None:
    with monitor.connect() as first:
        first.send(b".")
        monitor.check()
    with monitor.connect():
        assert answers(monitor, 100) == [False] * 100


def test_first_heartbeat_is_sent_in_the_first_round(monitor: HeartbeatMonitor) -> None:
    """A process that hangs before its first heartbeat is taken for one that starts, and is given minutes."""
    loop = EventLoop()
    with monitor.connect() as senders_end:
        send_heartbeats(loop, senders_end.fileno())
        loop.after(0.0, lambda: loop.stop(0))
        loop.run()

        assert not monitor.check()
        assert monitor.limit_s == SILENCE_S


def test_sender_ends_with_the_monitor(monitor: HeartbeatMonitor, sender: subprocess.Popen[bytes]) -> None:
    wait_for_heartbeat(monitor)
    monitor.close()

    assert sender.wait(60) == 0


def test_sender_does_not_wait_for_a_monitor_that_does_not_ask() -> None:
    ours, senders_end = socket.socketpair()
    with ours, senders_end:
        os.set_blocking(senders_end.fileno(), False)
        with pytest.raises(BlockingIOError):
            while True:
                senders_end.send(b".")
        loop = EventLoop()
        send_heartbeats(loop, senders_end.fileno())
        loop.after(1.2, lambda: loop.stop(7))

        assert loop.run() == 7
