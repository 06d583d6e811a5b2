"""The fork server and a log collector that reads nothing, or starts anew."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.control_protocol import (
    Channel,
    CollectorStarted,
    DrainWorker,
    Message,
    WatchWorker,
    WorkerDrained,
)
from polyhost.container.forkserver.records import WorkerRecord
from polyhost.container.forkserver.worker_logs import WorkerLogs
from polyhost.container.system.event_loop import EventLoop
from tests.container.records import hosted_model, recorded_worker

NO_PROCESS = 1 << 30  # no pid that Linux gives


class Side:
    """The collector's side of the fork server's loop."""

    def __init__(self, worker: WorkerRecord) -> None:
        self.worker = worker
        worker.pid = NO_PROCESS
        self.loop = EventLoop()
        ours, self.channel = Channel.pair()
        self.logs = WorkerLogs(self.loop, ours, lambda: [worker])
        self._ours = ours

    def run(self, seconds: float = 60.0) -> int:
        self.loop.after(seconds, lambda: self.loop.stop(1))
        return self.loop.run()

    def received(self) -> list[Message]:
        """Take all that has been sent."""
        self.channel.socket.setblocking(False)
        messages: list[Message] = []
        with contextlib.suppress(BlockingIOError):
            while item := self.channel.receive():
                messages.append(item[0])
                for descriptor in item[1]:
                    os.close(descriptor)
        return messages

    def close(self) -> None:
        self._ours.close()
        self.channel.close()


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    with recorded_worker(hosted_model(tmp_path)) as recorded:
        side = Side(recorded.record)
        yield side
        side.close()


def test_worker_that_has_ended_is_drained_before_what_follows(side: Side) -> None:
    side.logs.watch(side.worker)
    side.logs.drain(side.worker, lambda: side.loop.stop(0))
    side.logs.drain(side.worker, lambda: side.loop.stop(2))  # it was reaped in two ways
    assert side.received() == [WatchWorker(NO_PROCESS, "m"), DrainWorker(NO_PROCESS)]
    side.channel.send(WorkerDrained(1, ["of another"]))
    side.channel.send(WorkerDrained(NO_PROCESS, ["last words"]))

    assert side.run() == 0
    assert side.worker.last_lines == ["last words"]


def test_collector_that_reads_nothing_holds_up_nobody(side: Side) -> None:
    for _ in range(2000):  # more than the channel holds
        side.logs.watch(side.worker)
    side.logs.drain(side.worker, lambda: side.loop.stop(0))

    assert side.run() == 0
    assert side.worker.last_lines == []
    assert len(side.received()) < 2000


def test_what_the_collector_did_not_take_is_sent_again(side: Side) -> None:
    with pytest.raises(BlockingIOError):
        while True:
            side._ours.send(DrainWorker(1), flags=socket.MSG_DONTWAIT)
    side.logs.watch(side.worker)
    assert WatchWorker(NO_PROCESS, "m") not in side.received()

    side.loop.after(2.0, lambda: side.loop.stop(0))
    side.loop.run()
    assert side.received() == [WatchWorker(NO_PROCESS, "m")]


def test_collector_that_starts_anew_hears_of_all_workers(side: Side) -> None:
    side.logs.watch(side.worker)
    side.received()
    side.channel.send(CollectorStarted())
    side.loop.after(0.5, lambda: side.loop.stop(0))
    side.loop.run()

    assert side.received() == [WatchWorker(NO_PROCESS, "m")]
