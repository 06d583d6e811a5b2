"""Log events: one JSON object, or one line of text, per event; all of a container's processes write to its stdout."""

import contextvars
import fcntl
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Fields of a log record that become fields of the event, in this order.
FIELDS = ("model", "target_model", "request_id", "phase", "duration_ms", "pid")

_MAX_PARTIAL = 1 << 16  # characters of a line that has no end yet
_PATIENCE_S, _POLL_S = 2.0, 0.001  # with one who does not end its turn, e.g. because it was stopped in it

_context: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("polyhost_log_context")
_process_fields: dict[str, Any] = {}


def bind(**fields: Any) -> None:
    """Adds these fields to every later event of this process, e.g. the model that a worker serves."""
    _process_fields.update(fields)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Adds these fields to every event inside the block, e.g. the request in hand."""
    token = _context.set({**_context.get({}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    known = {**_process_fields, **_context.get({}), **record.__dict__}
    return {name: known[name] for name in FIELDS if known.get(name) is not None}


class JsonFormatter(logging.Formatter):
    """{"time", "level", "logger", model, request..., "message", "traceback"}, the traceback inside its event."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            **_fields_of(record),
            "message": record.getMessage(),
        }
        extra = getattr(record, "details", None)
        if extra:
            event.update(extra)
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, [model], message; a traceback on the lines below."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        model = fields.pop("model", None)
        words = [_timestamp(record), f"{record.levelname:<7}", record.name]
        if model:
            words.append(f"[{model}]")
        words.append(record.getMessage())
        words += [f"{name}={value}" for name, value in fields.items() if name != "pid"]
        words += [f"{name}={value}" for name, value in (getattr(record, "details", None) or {}).items()]
        text = " ".join(words)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class DescriptorHandler(logging.Handler):
    """Writes each event whole: the processes of a container take turns by a lock file.

    A pipe keeps writes up to PIPE_BUF whole by itself (POSIX), but a short one may land inside a long one that waits
    for room in the pipe.
    """

    def __init__(self, descriptor: int, lock_path: str | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock_path = lock_path
        self._patience_s = _PATIENCE_S

    def redirect(self, descriptor: int) -> int:
        """Gives the descriptor that it wrote to so far."""
        former, self._descriptor = self._descriptor, descriptor
        return former

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode(errors="backslashreplace")
        except Exception:  # a model's log call with wrong arguments must not fail the model's request
            self.handleError(record)
            return
        try:
            with self._turn():
                write_all(self._descriptor, line)
        except OSError:
            pass  # nobody reads the container's log any more; serving goes on

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Opened anew each time: a lock belongs to the open file, which a fork would share."""
        try:
            lock = os.open(self._lock_path, os.O_WRONLY | os.O_CREAT, 0o600) if self._lock_path else None
        except OSError:
            lock = None  # no descriptor is left, or the container is ending: better out of turn than not at all
        try:
            if lock is not None:
                self._wait_for_turn(lock)
            yield
        finally:
            if lock is not None:
                # Not by the close alone: what another thread has forked meanwhile holds the same open file.
                fcntl.flock(lock, fcntl.LOCK_UN)
                os.close(lock)

    def _wait_for_turn(self, lock: int) -> None:
        """Out of turn after a while, and from then on at once until the lock is free again: all would stand still."""
        end = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    self._patience_s = 0.0
                    return
                time.sleep(_POLL_S)
            else:
                self._patience_s = _PATIENCE_S
                return


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def configure(*, as_json: bool, level: int, descriptor: int = 1, lock_path: str | None = None) -> None:
    """Sends all logging of this process to the descriptor; later calls replace earlier ones."""
    handler = DescriptorHandler(descriptor, lock_path)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    # httpx and the like would report every request of ours.
    for chatty in ("httpx", "httpcore", "urllib3", "botocore", "boto3"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


@contextmanager
def muted() -> Iterator[None]:
    """Formats events as ever inside the block, and writes them nowhere."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, DescriptorHandler)]
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        kept = [handler.redirect(nowhere.fileno()) for handler in handlers]
        try:
            yield
        finally:
            for handler, descriptor in zip(handlers, kept, strict=True):
                handler.redirect(descriptor)


class PrintedLines(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr in a worker: each printed line becomes an event of the model's."""

    encoding = "utf-8"

    def __init__(self, name: str, level: int, descriptor: int) -> None:
        self._logger = logging.getLogger(name)
        self._level = level
        self._descriptor = descriptor
        self._partial = ""

    def write(self, text: str) -> int:
        *lines, partial = (self._partial + text).split("\n")
        for line in lines:
            self._log(line)
        self._partial = _visible(partial)
        if len(self._partial) > _MAX_PARTIAL:
            self.close_line()
        return len(text)

    def flush(self) -> None:
        """Keeps a line that has no end yet: `print(x, end="", flush=True)` in a loop is one line."""

    def close_line(self) -> None:
        """Logs what was printed without an end of line."""
        line, self._partial = self._partial, ""
        self._log(line)

    def _log(self, line: str) -> None:
        if line.strip():
            self._logger.log(self._level, "%s", _visible(line).rstrip("\r"))

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._descriptor


def _visible(line: str) -> str:
    """What a terminal would show: a progress bar writes over itself, after a carriage return."""
    text = line.rstrip("\r")
    return line[text.rfind("\r") + 1 :]


def capture_prints() -> None:
    """Makes print() and sys.stderr log events. The descriptors 1 and 2 stay what they are, for native code."""
    sys.stdout = PrintedLines("stdout", logging.INFO, 1)
    sys.stderr = PrintedLines("stderr", logging.WARNING, 2)


def close_printed_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintedLines):
            stream.close_line()
