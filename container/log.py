"""Log events, each a JSON object or a line of text. All processes of a container write them to its stdout."""

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
from pathlib import Path
from typing import Any

from polyhost.container.config import Config

# Attributes of a log record that become fields of the event, in this order.
FIELDS = ("model", "target_model", "request_id", "phase", "duration_ms", "pid")

_LOCK_FILE = "log.lock"  # in the run directory
_LOCK_TIMEOUT_S = 2.0  # the holder of the lock may have been stopped (SIGSTOP)
_LOCK_POLL_S = 0.001
_MAX_UNFINISHED = 1 << 16  # characters of a printed line without an end

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


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    known = {**_process_fields, **_context.get({}), **record.__dict__}
    return {name: known[name] for name in FIELDS if known.get(name) is not None}


class JsonFormatter(logging.Formatter):
    """Formats an event as one JSON object: time, level, logger, the FIELDS, message, details, traceback."""

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
    """Formats an event for people: time, level, logger, [model], message, fields; a traceback on the next lines."""

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
    """Writes each event without interleaving: the processes of a container share a lock file.

    A pipe keeps writes of up to PIPE_BUF bytes whole by itself (POSIX), but a short write may land inside a long one
    that waits for room in the pipe.
    """

    def __init__(self, descriptor: int, lock_path: str | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock_path = lock_path
        self._lock_timeout_s = _LOCK_TIMEOUT_S

    def redirect(self, descriptor: int) -> int:
        """Write to this descriptor from now on, and return the former one."""
        former, self._descriptor = self._descriptor, descriptor
        return former

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode(errors="backslashreplace")
        except Exception:  # a model's log call with wrong arguments must not fail the model's request
            self.handleError(record)
            return
        try:
            with self._lock():
                write_all(self._descriptor, line)
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
    """Send all logging of this process to the descriptor; a later call replaces an earlier one."""
    handler = DescriptorHandler(descriptor, lock_path)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    # These would log each HTTP request that polyhost makes.
    for chatty in ("httpx", "httpcore", "urllib3", "botocore", "boto3"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


@contextmanager
def muted() -> Iterator[None]:
    """Discard the events inside the block, after formatting them as usual."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, DescriptorHandler)]
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        descriptors = [handler.redirect(null.fileno()) for handler in handlers]
        try:
            yield
        finally:
            for handler, descriptor in zip(handlers, descriptors, strict=True):
                handler.redirect(descriptor)


class PrintedLines(io.TextIOBase):
    """Replaces sys.stdout or sys.stderr in a worker: each printed line becomes a log event."""

    encoding = "utf-8"

    def __init__(self, name: str, level: int, descriptor: int) -> None:
        self._logger = logging.getLogger(name)
        self._level = level
        self._descriptor = descriptor
        self._unfinished = ""

    def write(self, text: str) -> int:
        *lines, unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._log(line)
        self._unfinished = _visible(unfinished)
        if len(self._unfinished) > _MAX_UNFINISHED:
            self.close_line()
        return len(text)

    def flush(self) -> None:
        """Do nothing: what `print(x, end="", flush=True)` prints in a loop is one line."""

    def close_line(self) -> None:
        """Log what was printed without an end of line."""
        line, self._unfinished = self._unfinished, ""
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
    """Return what a terminal would show: after a carriage return, a progress bar overwrites itself."""
    text = line.rstrip("\r")
    return line[text.rfind("\r") + 1 :]


def capture_prints() -> None:
    """Turn what Python code prints into log events. Descriptors 1 and 2 stay as they are, for native code."""
    sys.stdout = PrintedLines("stdout", logging.INFO, 1)
    sys.stderr = PrintedLines("stderr", logging.WARNING, 2)


def close_printed_lines() -> None:
    """Log what was printed without an end of line, before the process ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintedLines):
            stream.close_line()
