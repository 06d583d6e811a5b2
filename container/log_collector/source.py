"""One worker, as the log collector reads it. Whatever comes is taken for text of that worker's model."""

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from polyhost.container.log_formats import MAX_WIRE_BYTES, PlainEvent, from_wire
from polyhost.container.system.line_reader import LineReader
from polyhost.events import is_logged

_NATIVE = "native"  # the logger of what native code and child processes print
_KEPT_LINES, _KEPT_CHARACTERS = 50, 1000  # of the output, which may say why the worker died
_TURN_BYTES = 4096
# More than a socket or a pipe holds: at most so much is read of a worker that has ended, for a process that it has left
# behind may go on writing.
_REST_BYTES = 1 << 20

_buffer = bytearray(MAX_WIRE_BYTES)


class Stream(Protocol):
    """The reading end of one of a worker's two."""

    ended: bool

    def fileno(self) -> int: ...

    def read(self) -> list[PlainEvent] | None:
        """Return the events that have come, about as many as fit into _TURN_BYTES; None at the end."""

    def read_rest(self) -> list[PlainEvent]:
        """Return what has come, of a worker that has ended."""

    def close(self) -> None: ...


class EventStream:
    """The worker's socket for log events. Owns the descriptor."""

    def __init__(self, pid: int, model: str, descriptor: int) -> None:
        self.ended = False
        self._pid, self._model = pid, model
        self._socket = socket.socket(fileno=descriptor)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[PlainEvent] | None:
        return self._read(_TURN_BYTES)

    def read_rest(self) -> list[PlainEvent]:
        return self._read(_REST_BYTES) or []

    def _read(self, left: int) -> list[PlainEvent] | None:
        found: list[PlainEvent] = []
        while left > 0:
            try:
                size = self._socket.recv_into(_buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            if not size:
                return found or None
            left -= size
            found.append(from_wire(bytes(_buffer[:size]), time.time(), self._model, self._pid))
        return found

    def close(self) -> None:
        self._socket.close()


class OutputStream:
    """The pipe for what native code and child processes print: each line becomes an event. Owns the descriptor."""

    def __init__(self, pid: int, model: str, descriptor: int) -> None:
        self.ended = False
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._fields = {"model": model, "pid": pid}
        self._reader = LineReader(descriptor)

    def fileno(self) -> int:
        return self._reader.fileno()

    def read(self) -> list[PlainEvent] | None:
        lines = self._reader.read(_TURN_BYTES)
        return None if lines is None else self._events_of(lines)

    def read_rest(self) -> list[PlainEvent]:
        return self._events_of(self._reader.read_rest(_REST_BYTES))

    def _events_of(self, lines: list[str]) -> list[PlainEvent]:
        self.last_lines.extend(line[:_KEPT_CHARACTERS] for line in lines)
        now = time.time()
        logged = lines if is_logged(logging.INFO) else []
        return [PlainEvent(now, "INFO", _NATIVE, line, self._fields, {}) for line in logged]

    def close(self) -> None:
        self._reader.close()


class WorkerSource:
    """A worker's two streams."""

    def __init__(self, pid: int, model: str, events: int, output: int) -> None:
        """`events` and `output`: the descriptors, which it takes over."""
        self.pid = pid
        self._output = OutputStream(pid, model, output)
        self.streams: tuple[Stream, ...] = (self._output, EventStream(pid, model, events))

    @property
    def ended(self) -> bool:
        """Whether nobody can write to it any more."""
        return all(stream.ended for stream in self.streams)

    def read_rest(self) -> Iterable[PlainEvent]:
        """Yield what is left of a worker that has ended."""
        for stream in self.streams:
            yield from stream.read_rest()

    def last_lines(self, size: int) -> list[str]:
        """Return the last lines of the output whose JSON has no more than `size` bytes together."""
        kept: list[str] = []
        for line in reversed(self._output.last_lines):
            size -= 6 * len(os.fsencode(line)) + 4
            if size < 0:
                break
            kept.append(line)
        return kept[::-1]

    def close(self) -> None:
        """Close both streams."""
        for stream in self.streams:
            stream.close()
