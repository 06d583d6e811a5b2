"""Log events, each a JSON object or a line of text, on the container's stdout.

polyhost's own events come from `polyhost.events`; those of a model and of libraries from `logging`'s root logger. The
processes that run no model's code write to stdout themselves, in turns. A worker writes to a socket of its own, whose
reader is the log collector (log_collector/): so no model can write other models' events, or hold up anybody's.
"""

import contextvars
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import format_exception
from typing import Any, NamedTuple

from polyhost import events
from polyhost.container import log_records
from polyhost.container.config import Config
from polyhost.container.log_formats import FIELDS, EventSocket, Format, PlainEvent, to_json, to_text, to_wire
from polyhost.events import LogEvent

_LOCK_TIMEOUT_S = 2.0  # the holder of the lock may have been stopped (SIGSTOP)
_LOCK_POLL_S = 0.001

_context: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("polyhost_log_context")
_process_fields: dict[str, Any] = {}

Output = Callable[[bytes], None]
"""Takes one formatted event, or several, with their ends of line. May raise OSError."""


class LogDescriptors(NamedTuple):
    """What a process that runs no model's code needs to write to the container's log."""

    output: int = 1
    lock: int = -1  # a memfd, which has no path for a model to open; -1: the process does not share the output

    @classmethod
    def shared(cls, output: int = 1) -> "LogDescriptors":
        """Return descriptors for processes that are to share the output."""
        return cls(output, os.memfd_create("polyhost-log-lock", os.MFD_CLOEXEC))

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that a child process must inherit to use these."""
        return (self.output, *((self.lock,) if self.lock >= 0 else ()))

    @property
    def lock_path(self) -> str | None:
        """A path by which this process opens the lock file anew: a lock belongs to the open file."""
        return f"/proc/self/fd/{self.lock}" if self.lock >= 0 else None


STDOUT = LogDescriptors()  # of a process that has it for itself


def bind(**fields: Any) -> None:
    """Add these fields to every later event of this process, e.g. the model that a worker serves."""
    _process_fields.update(fields)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add these fields to every event inside the block, e.g. the request in progress.

    A field may be a function, which is called for an event that is written: most requests write none.
    """
    token = _context.set({**_context.get({}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def plain(event: LogEvent) -> PlainEvent:
    """Return the event with the fields of the process and of the request in progress, and its traceback as text."""
    in_progress = {name: value() if callable(value) else value for name, value in _context.get({}).items()}
    known = {**_process_fields, **in_progress, **event.fields}
    details = event.fields.get("details")
    error = event.exception
    return PlainEvent(
        event.created,
        event.level_name,
        event.logger,
        event.message,
        {name: known[name] for name in FIELDS if known.get(name) is not None},
        # An abstract class looks at all its subclasses first, at 80 memory pages of a worker's.
        details if details is not None and isinstance(details, Mapping) else {},
        None if error is None else "".join(format_exception(error)).rstrip("\n"),
    )


class LogSink:
    """Formats each event and hands it to the output; both can be replaced, wherever the sink is known."""

    def __init__(self, form: Format, output: Output) -> None:
        self._format = form
        self.output = output

    def redirect(self, form: Format, output: Output) -> tuple[Format, Output]:
        """Format and write events so from now on; return what did it before."""
        former = self._format, self.output
        self._format, self.output = form, output
        return former

    def __call__(self, event: LogEvent) -> None:
        try:
            text = self._format(plain(event))
        except Exception as error:  # what a model passed as `details` or raised may fail in any way
            message = f"{event.message} ({type(error).__name__}: this event's fields and traceback cannot be written)"
            text = self._format(plain(LogEvent(event.level, event.logger, message, created=event.created)))
        try:
            self.output((text + "\n").encode(errors="backslashreplace"))
        except OSError:
            pass  # the reader of the log has ended; serving goes on


class SharedDescriptor:
    """Writes to the container's stdout without interleaving: the processes that write there share a lock file.

    A pipe keeps writes of up to PIPE_BUF bytes whole by itself (POSIX), but a short write may land inside a long one
    that waits for room in the pipe.
    """

    def __init__(self, descriptors: LogDescriptors, write: Callable[[int, bytes], None] | None = None) -> None:
        self.descriptors = descriptors
        self._write = write or write_all
        self.lock_timeout_s = _LOCK_TIMEOUT_S

    def __call__(self, data: bytes) -> None:
        """Write the data in one piece. Raises OSError."""
        with self._lock():
            self._write(self.descriptors.output, data)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors.inherited:
            os.close(descriptor)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock file, opened anew each time: a lock belongs to the open file, which a fork would share."""
        try:
            path = self.descriptors.lock_path
            lock = os.open(path, os.O_WRONLY | os.O_CLOEXEC) if path else None
        except OSError:
            lock = None  # out of descriptors, or the container is ending: better interleaved than not at all
        try:
            if lock is not None:
                self._acquire(lock)
            yield
        finally:
            if lock is not None:
                # Closing is not enough: a process that another thread has just forked holds the same open file.
                fcntl.flock(lock, fcntl.LOCK_UN)
                os.close(lock)

    def _acquire(self, lock: int) -> None:
        """Wait for the lock, but not for ever: one stopped process must not stop the whole container.

        After one timeout, events go out without the lock and without waiting, until the lock is free again.
        """
        end = time.monotonic() + self.lock_timeout_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    self.lock_timeout_s = 0.0
                    return
                time.sleep(_LOCK_POLL_S)
            else:
                self.lock_timeout_s = _LOCK_TIMEOUT_S
                return


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data, in as many system calls as that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def configure_for(config: Config, descriptors: LogDescriptors = STDOUT) -> None:
    """Send all events of this process to the descriptor, as the settings say; a later call replaces an earlier one."""
    configure(as_json=config.log_json, level=config.log_level, descriptors=descriptors)


def configure(*, as_json: bool, level: int, descriptors: LogDescriptors = STDOUT) -> None:
    """Send all events of this process to the descriptor; a later call replaces an earlier one."""
    output = SharedDescriptor(descriptors)
    send_to(LogSink(to_json if as_json else to_text, output), level)


def send_to(sink: events.Sink, level: int) -> None:
    """Send all events of this process to the sink: polyhost's own, and those of `logging`."""
    events.send_to(sink, level)
    log_records.take_over(sink, level)


def hand_over(descriptor: int) -> None:
    """Send all events of this process to the log collector, on the worker's socket; forget the container's stdout.

    The sink stays the same: to configure another one would write to a hundred memory pages.
    """
    sink = events.current_sink()
    assert isinstance(sink, LogSink)
    _, output = sink.redirect(to_wire, EventSocket(descriptor))
    assert isinstance(output, SharedDescriptor)
    output.close()


@contextmanager
def muted() -> Iterator[None]:
    """Discard the events inside the block, after formatting them as a worker does."""
    sink = events.current_sink()
    if not isinstance(sink, LogSink):
        yield
        return
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with reader:
        send = EventSocket(writer.detach())

        def discard(data: bytes) -> None:
            send(data)
            reader.recv(1)

        former = sink.redirect(to_wire, discard)
        try:
            yield
        finally:
            sink.redirect(*former)
            send.close()
