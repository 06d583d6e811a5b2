"""The log collector: turns, ends, and workers that send anything."""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from polyhost.container.control_protocol import Channel, CollectorStarted, DrainWorker, WatchWorker, WorkerDrained
from polyhost.container.forkserver.log_ends import LogReaders, LogWriters
from polyhost.container.log_collector.collector import LogCollector
from polyhost.container.log_formats import PlainEvent, to_json, to_wire
from polyhost.container.system.event_loop import EventLoop

PID = 123


@dataclass
class Side:
    """The fork server's and a worker's side of a collector, whose loop runs until a condition is met."""

    loop: EventLoop
    channel: Channel
    collector: LogCollector
    written: list[bytes]
    readers: LogReaders
    writers: LogWriters

    def watch(self, pid: int = PID, name: str = "m") -> None:
        self.channel.send(WatchWorker(pid, name), self.readers.descriptors)

    def send(self, data: bytes) -> None:
        os.write(self.writers.events, data)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.written).splitlines()]

    def run_until(self, count: int) -> list[dict[str, Any]]:
        """Run the loop until so many events are written; return all."""

        def check() -> None:
            if sum(data.count(b"\n") for data in self.written) >= count:
                self.loop.stop(0)
            else:
                self.loop.after(0.01, check)

        check()
        self.loop.after(60, lambda: self.loop.stop(1))
        assert self.loop.run() == 0
        return self.events()

    def receive(self) -> Any:
        received = self.channel.receive()
        return received[0] if received else None


@pytest.fixture
def side() -> Iterator[Side]:
    ours, theirs = Channel.pair()
    ours.socket.settimeout(120)
    written: list[bytes] = []
    loop = EventLoop()
    readers, writers = LogReaders.with_writers()
    collector = LogCollector(loop, theirs, to_json, written.append)
    collector.start()
    made = Side(loop, ours, collector, written, readers, writers)
    assert made.receive() == CollectorStarted()
    yield made
    collector.finish()
    readers.close()
    for descriptor in writers:
        os.close(descriptor)
    for channel in (ours, theirs):
        channel.close()


def event(message: str) -> bytes:
    return to_wire(PlainEvent(1.0, "INFO", "x", message, {}, {})).encode()


def test_events_and_output_are_those_of_the_worker(side: Side) -> None:
    side.watch()
    side.send(event("logged"))
    side.send(b"no event")
    os.write(side.writers.output, b"printed\n\nnot ended")

    events = side.run_until(3)

    assert {item["message"] for item in events} == {"logged", "no event", "printed"}
    assert {(item["model"], item["pid"]) for item in events} == {("m", PID)}


def test_what_was_sent_before_the_collector_knows_the_worker_is_logged(side: Side) -> None:
    side.send(event("early"))
    os.write(side.writers.output, b"early\n")
    side.watch()

    assert [item["message"] for item in side.run_until(2)] == ["early", "early"]


def test_endless_output_is_read_in_turns(side: Side) -> None:
    side.watch()
    os.write(side.writers.output, b"x\n" * 4096)
    for number in range(200):
        side.send(event(f"{number} {'y' * 100}"))

    assert len(side.run_until(4296)) == 4296
    assert max(data.count(b'"message": "x"') for data in side.written) == 2048
    assert max(data.count(b'yy"') for data in side.written) < 50


def test_rest_of_an_ended_worker_is_logged_though_a_leftover_holds_its_ends(side: Side) -> None:
    side.watch()
    for number in range(100):
        side.send(event(f"event {number}"))
    os.write(side.writers.output, b"".join(b"line %d\n" % number for number in range(5000)) + b"last words")
    side.channel.send(DrainWorker(PID))
    events = side.run_until(5101)

    drained = side.receive()
    assert isinstance(drained, WorkerDrained)
    assert drained.pid == PID
    assert drained.lines[-2:] == ["line 4999", "last words"]
    assert len(drained.lines) == 50
    assert sum(item["message"].startswith("event") for item in events) == 100
    # The collector's ends are closed; with our copies closed as well nothing can be written any more.
    side.readers.close()
    with pytest.raises(BrokenPipeError):
        os.write(side.writers.output, b"x")
    with pytest.raises(BrokenPipeError):
        side.send(b"x")


def test_unknown_worker_has_no_lines(side: Side) -> None:
    side.channel.send(DrainWorker(5))
    side.loop.after(0.01, lambda: side.loop.stop(0))
    side.loop.run()

    assert side.receive() == WorkerDrained(5, [])


def test_lines_of_a_worker_always_fit_into_a_message(side: Side) -> None:
    side.watch()
    os.write(side.writers.output, ("\0" * 1000 + "\n").encode() * 50)
    side.channel.send(DrainWorker(PID))
    side.run_until(50)

    drained = side.receive()
    assert 5 < len(drained.lines) < 50


def test_empty_message_ends_the_events_of_the_worker_alone(side: Side) -> None:
    other, writers = LogReaders.with_writers()
    side.watch()
    side.channel.send(WatchWorker(PID + 1, "other"), other.descriptors)
    with socket.socket(fileno=os.dup(side.writers.events)) as end:
        end.send(b"")
    side.send(event("too late"))
    os.write(writers.events, event("of the other"))
    os.write(side.writers.output, b"printed\n")

    assert {item["message"] for item in side.run_until(2)} == {"of the other", "printed"}
    other.close()
    for descriptor in writers:
        os.close(descriptor)


def test_finish_logs_what_is_left_even_of_workers_that_it_has_not_heard_of(side: Side) -> None:
    side.watch()
    side.send(event("last"))
    side.collector.finish()

    assert [item["message"] for item in side.events()] == ["last"]
