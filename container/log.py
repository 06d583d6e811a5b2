"""Log events, each a JSON object or a line of text. All processes of a container write them to its stdout.

polyhost's own events come from `polyhost.events`; those of a model and of libraries from `logging`'s root logger.
"""

import contextvars
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from json import dumps  # by name: a model may replace an attribute of the module
from pathlib import Path
from traceback import format_exception
from typing import Any

from polyhost import events
from polyhost.container import log_records
from polyhost.container.config import Config
from polyhost.events import LogEvent

# Fields of an event besides its time, level, logger and message, in this order.
FIELDS = ("model", "target_model", "request_id", "phase", "duration_ms", "pid")

_LOCK_FILE = "log.lock"  # in the run directory
_LOCK_TIMEOUT_S = 2.0  # the holder of the lock may have been stopped (SIGSTOP)
_LOCK_POLL_S = 0.001

_context: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("polyhost_log_context")
_process_fields: dict[str, Any] = {}


def bind(**fields: Any) -> None:
    """Add these fields to every later event of this process, e.g. the model that a worker serves."""
    _process_fields.update(fields)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add these fields to every event inside the block, e.g. the request in progress."""
    token = _context.set({**_context.get({}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def _fields_of(event: LogEvent) -> dict[str, Any]:
    known = {**_process_fields, **_context.get({}), **event.fields}
    return {name: known[name] for name in FIELDS if known.get(name) is not None}


Format = Callable[[LogEvent], str]


def to_json(event: LogEvent) -> str:
    """Format an event as one JSON object: time, level, logger, the FIELDS, message, details, traceback."""
    known = {
        "time": _timestamp(event),
        "level": event.level_name,
        "logger": event.logger,
        **_fields_of(event),
        "message": event.message,
    }
    known |= {name: value for name, value in _details_of(event).items() if name not in known}
    if event.exception is not None:
        known["traceback"] = _traceback(event.exception)
    return dumps(known, ensure_ascii=False, default=str, skipkeys=True)


def to_text(event: LogEvent) -> str:
    """Format an event for people: time, level, logger, [model], message, fields; a traceback on the next lines."""
    fields = _fields_of(event)
    model = fields.pop("model", None)
    words = [_timestamp(event), f"{event.level_name:<7}", event.logger]
    if model:
        words.append(f"[{model}]")
    words.append(event.message)
    words += [f"{name}={value}" for name, value in fields.items() if name != "pid"]
    words += [f"{name}={value}" for name, value in _details_of(event).items()]
    text = " ".join(words)
    return text if event.exception is None else f"{text}\n{_traceback(event.exception)}"


def _details_of(event: LogEvent) -> Mapping[str, Any]:
    details = event.fields.get("details")
    if details is None:  # an abstract class looks at all its subclasses first, at 80 memory pages of a worker's
        return {}
    return details if isinstance(details, Mapping) else {}


def _timestamp(event: LogEvent) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event.created))
    return f"{seconds}.{int(event.created % 1 * 1000):03d}Z"


def _traceback(error: BaseException) -> str:
    return "".join(format_exception(error)).rstrip("\n")


class DescriptorSink:
    """Writes each event without interleaving: the processes of a container share a lock file.

    A pipe keeps writes of up to PIPE_BUF bytes whole by itself (POSIX), but a short write may land inside a long one
    that waits for room in the pipe.
    """

    def __init__(self, descriptor: int, lock_path: str | None, form: Format) -> None:
        self._descriptor = descriptor
        self._lock_path = lock_path
        self._format = form
        self._lock_timeout_s = _LOCK_TIMEOUT_S

    def redirect(self, descriptor: int) -> int:
        """Write to this descriptor from now on, and return the former one."""
        former, self._descriptor = self._descriptor, descriptor
        return former

    def __call__(self, event: LogEvent) -> None:
        try:
            text = self._format(event)
        except Exception as error:  # what a model passed as `details` or raised may fail in any way
            message = f"{event.message} ({type(error).__name__}: this event's fields and traceback cannot be written)"
            text = self._format(LogEvent(event.level, event.logger, message, created=event.created))
        try:
            with self._lock():
                write_all(self._descriptor, (text + "\n").encode(errors="backslashreplace"))
        except OSError:
            pass  # the reader of the container's log has ended; serving goes on

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock file, opened anew each time: a lock belongs to the open file, which a fork would share."""
        try:
            lock = os.open(self._lock_path, os.O_WRONLY | os.O_CREAT, 0o600) if self._lock_path else None
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
        end = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    self._lock_timeout_s = 0.0
                    return
                time.sleep(_LOCK_POLL_S)
            else:
                self._lock_timeout_s = _LOCK_TIMEOUT_S
                return


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data, in as many system calls as that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def configure_for(config: Config, run_dir: Path | None = None, descriptor: int = 1) -> None:
    """Configure logging as the settings say; the processes that share a run directory share its lock file."""
    lock_path = str(run_dir / _LOCK_FILE) if run_dir else None
    configure(as_json=config.log_json, level=config.log_level, descriptor=descriptor, lock_path=lock_path)


def configure(*, as_json: bool, level: int, descriptor: int = 1, lock_path: str | None = None) -> None:
    """Send all events of this process to the descriptor; a later call replaces an earlier one."""
    send_to(DescriptorSink(descriptor, lock_path, to_json if as_json else to_text), level)


def send_to(sink: events.Sink, level: int) -> None:
    """Send all events of this process to the sink: polyhost's own, and those of `logging`."""
    events.send_to(sink, level)
    log_records.take_over(sink, level)


@contextmanager
def muted() -> Iterator[None]:
    """Discard the events inside the block, after formatting them as usual."""
    sink = events.current_sink()
    if not isinstance(sink, DescriptorSink):
        yield
        return
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        descriptor = sink.redirect(null.fileno())
        try:
            yield
        finally:
            sink.redirect(descriptor)
