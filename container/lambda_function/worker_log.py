"""What a worker logs and prints, on its way to the function's log."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from polyhost.container.log_collector.source import Stream, WorkerSource
from polyhost.container.log_formats import PlainEvent

_LAST_LINES_BYTES = 4000


class WorkerLog:
    """Reads both of a worker's streams while the event loop runs, which is while there is a call."""

    def __init__(self, model: str, on_event: Callable[[PlainEvent], None]) -> None:
        self._model = model
        self._on_event = on_event
        self._source: WorkerSource | None = None
        self._events, self._events_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output, self._output_end = os.pipe2(os.O_CLOEXEC)

    @contextmanager
    def worker_ends(self) -> Iterator[tuple[int, int]]:
        """Yield the descriptors for the worker: for what native code prints, and for events. They are closed then."""
        try:
            yield self._output_end, self._events_end.fileno()
        except BaseException:
            os.close(self._output)
            self._events.close()
            raise
        finally:
            os.close(self._output_end)
            self._events_end.close()

    def watch(self, pid: int) -> None:
        """Begin to read."""
        self._source = WorkerSource(pid, self._model, self._events.detach(), self._output)
        loop = asyncio.get_running_loop()
        for stream in self._source.streams:
            loop.add_reader(stream, partial(self._read, stream))

    def drain(self) -> None:
        """Pass on what has come, at the end of a call or of the worker."""
        for event in self._source.read_rest() if self._source is not None else ():
            self._on_event(event)

    def last_lines(self) -> list[str]:
        """Return the last lines that native code has printed."""
        return [] if self._source is None else self._source.last_lines(_LAST_LINES_BYTES)

    def close(self) -> None:
        """Pass on what is left; may be called twice."""
        source, self._source = self._source, None
        if source is None:
            return
        for event in source.read_rest():
            self._on_event(event)
        for stream in source.streams:
            self._ignore(stream)
        source.close()

    def _read(self, stream: Stream) -> None:
        events = stream.read()
        if events is None:
            self._ignore(stream)
        for event in events or ():
            self._on_event(event)

    def _ignore(self, stream: Stream) -> None:
        with contextlib.suppress(ValueError, OSError):
            asyncio.get_running_loop().remove_reader(stream)
