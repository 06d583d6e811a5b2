"""The log collector's own process: reads every worker's events and output, and writes them to the container's log.

A worker that logs without end waits for its turn like the others, and slows itself alone: it sleeps in its own write
when its socket or pipe is full.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterable
from functools import partial

from polyhost.container.control_protocol import (
    Channel,
    CollectorStarted,
    DrainWorker,
    Message,
    MessageError,
    WatchWorker,
    WorkerDrained,
)
from polyhost.container.log import Output
from polyhost.container.log_collector.source import Stream, WorkerSource
from polyhost.container.log_formats import Format, PlainEvent
from polyhost.container.system.event_loop import EventLoop
from polyhost.events import get_logger

_PAUSE_FACTOR = 4.0  # times the duration of the turn before it: one worker takes a fifth of this process at most
_FORGET_S = 60.0  # after the end of a worker that nobody asks for: behind MMS, one that outlived its fork server
_LINES_BYTES = 60_000  # of a message

logger = get_logger(__name__)


class LogCollector:
    """Watches the workers that the fork server names, until it says that one has ended."""

    def __init__(self, loop: EventLoop, channel: Channel, form: Format, write: Output) -> None:
        """`write` may wait for room in the log, for as long as that takes."""
        self._loop = loop
        self._channel = channel
        self._format = form
        self._write = write
        self._sources: dict[int, WorkerSource] = {}  # by pid

    def start(self) -> None:
        """Begin: ask the fork server for the workers that there are."""
        self._loop.watch(self._channel, self._on_message)
        with contextlib.suppress(OSError):
            self._channel.send(CollectorStarted(), flags=socket.MSG_DONTWAIT)

    def finish(self) -> None:
        """Log what is left of all workers, and end."""
        self._receive_all()
        while self._sources:
            self._end(self._sources.popitem()[1])
        self._loop.stop(0)

    # Messages of the fork server

    def _receive_all(self) -> None:
        self._channel.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while received := self._channel.receive():
                self._handle(*received)

    def _on_message(self) -> None:
        if received := self._channel.receive():
            self._handle(*received)
        else:  # not before the supervisor has ended, which keeps the other end
            self._loop.unwatch(self._channel)

    def _handle(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case WatchWorker() if len(descriptors) == 2:
                self._watch(WorkerSource(message.pid, message.name, *descriptors))
            case DrainWorker():
                self._drain(message.pid)
            case _:  # descriptors are missing where this process may not open more
                for descriptor in descriptors:
                    os.close(descriptor)
                logger.error("cannot read a worker's log: no descriptors are left", extra={"details": {"of": message}})

    def _watch(self, source: WorkerSource) -> None:
        if former := self._sources.pop(source.pid, None):
            self._end(former)
        self._sources[source.pid] = source
        for stream in source.streams:
            self._loop.watch(stream, partial(self._take_turn, source, stream))

    def _drain(self, pid: int) -> None:
        source = self._sources.pop(pid, None)
        lines: list[str] = []
        if source is not None:
            self._end(source)
            lines = source.last_lines(_LINES_BYTES)
        with contextlib.suppress(OSError, MessageError):  # the fork server has ended, or goes on without an answer
            self._channel.send(WorkerDrained(pid, lines), flags=socket.MSG_DONTWAIT)

    # Workers

    def _take_turn(self, source: WorkerSource, stream: Stream) -> None:
        start = time.monotonic()
        self._loop.unwatch(stream)
        events = stream.read()
        if events is None:
            stream.ended = True
            if source.ended:
                self._loop.after(_FORGET_S, partial(self._forget, source))
            return
        self._log(events)
        self._loop.after(_PAUSE_FACTOR * (time.monotonic() - start), partial(self._resume, source, stream))

    def _resume(self, source: WorkerSource, stream: Stream) -> None:
        if self._sources.get(source.pid) is source:
            self._loop.watch(stream, partial(self._take_turn, source, stream))

    def _end(self, source: WorkerSource) -> None:
        for stream in source.streams:
            self._loop.unwatch(stream)
        self._log(source.read_rest())
        source.close()

    def _forget(self, source: WorkerSource) -> None:
        if self._sources.get(source.pid) is source:
            del self._sources[source.pid]
            self._end(source)

    def _log(self, events: Iterable[PlainEvent]) -> None:
        lines = "".join(f"{self._formatted(event)}\n" for event in events)
        if lines:
            with contextlib.suppress(OSError):  # the log's reader has ended
                self._write(lines.encode(errors="backslashreplace"))

    def _formatted(self, event: PlainEvent) -> str:
        try:
            return self._format(event)
        except Exception:  # details of any depth, for example
            return self._format(PlainEvent(event.created, event.level, event.logger, event.message, event.fields, {}))
