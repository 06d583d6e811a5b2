"""What Python code prints in a worker, as log events: `sys.stdout` and `sys.stderr`, and their `buffer`s.

The streams are text streams like any other, and cannot be closed: a model may wrap their buffer in a stream of its own,
with which Python closes the buffer as well. Nothing here passes through `logging`: its handlers may print.
"""

import codecs
import io
import logging
import os
import sys
import threading
from typing import Any

from polyhost import events
from polyhost.events import LogEvent

_MAX_UNFINISHED = 1 << 16  # characters of a printed line without an end


class Lines:
    """Makes events of what is printed, one for each line."""

    __slots__ = ("_decoder", "_level", "_lock", "_name", "unfinished")

    def __init__(self, name: str, level: int) -> None:
        self._name = name
        self._level = level
        self.unfinished = ""  # what was printed without an end of line
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._lock = threading.RLock()

    def renew_lock(self) -> None:
        """Take a new lock: in a process that the model has forked, no thread would release the old one."""
        self._lock = threading.RLock()

    def add(self, text: str) -> None:
        with self._lock:
            *lines, unfinished = (self.unfinished + text).split("\n")
            self.unfinished = _visible(unfinished)
            if len(self.unfinished) > _MAX_UNFINISHED:
                lines.append(self._take())
        for line in lines:
            self._log(line)

    def add_bytes(self, data: bytes) -> None:
        with self._lock:
            text = self._decoder.decode(data)
        self.add(text)

    def close_line(self) -> None:
        """Log what was printed without an end of line."""
        with self._lock:
            line = self._take()
        self._log(line)

    def _take(self) -> str:
        line, self.unfinished = self.unfinished, ""
        return line

    def _log(self, line: str) -> None:
        if line.strip() and events.is_logged(self._level):
            events.emit(LogEvent(self._level, self._name, _visible(line).rstrip("\r")))


def _visible(line: str) -> str:
    """Return what a terminal would show: after a carriage return, a progress bar overwrites itself."""
    text = line.rstrip("\r")
    return line[text.rfind("\r") + 1 :]


class PrintedBytes(io.BufferedIOBase):
    """The `buffer` of a PrintedText."""

    mode = "wb"

    def __init__(self, lines: Lines, name: str, descriptor: int) -> None:
        self._lines = lines
        self._descriptor = descriptor
        self.name = f"<{name}>"

    @property
    def raw(self) -> "PrintedBytes":
        """Return this object: nothing is buffered."""
        return self

    def detach(self) -> Any:
        return self

    def write(self, data: Any) -> int:
        copy = memoryview(data).tobytes()
        self._lines.add_bytes(copy)
        return len(copy)

    def flush(self) -> None:
        """Do nothing: what `print(x, end="", flush=True)` prints in a loop is one line."""

    def close(self) -> None:
        """Do nothing: Python closes a buffer with any text stream around it."""

    @property
    def closed(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        """Return the descriptor to which native code and child processes print."""
        return self._descriptor


class PrintedText(io.TextIOWrapper):
    """Replaces sys.stdout or sys.stderr."""

    mode = "w"

    def __init__(self, name: str, level: int, descriptor: int) -> None:
        self.lines = Lines(name, level)
        super().__init__(
            PrintedBytes(self.lines, name, descriptor),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
            write_through=True,
        )

    def write(self, text: str) -> int:
        """Log the text, whatever encoding the model has chosen for the stream."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.lines.add(text)
        return len(text)

    def close(self) -> None:
        """Do nothing: what is printed afterwards is logged as well."""

    def detach(self) -> Any:
        """Return the buffer; this stream can still be printed to."""
        return self.buffer


class Capture:
    """The streams for the place of sys.stdout and sys.stderr. Native code prints to descriptors 1 and 2 as before."""

    __slots__ = ("err", "err_lines", "former", "out", "out_lines")  # for `flush`, which every request pays for

    def __init__(self) -> None:
        self.out = PrintedText("stdout", logging.INFO, 1)
        self.err = PrintedText("stderr", logging.WARNING, 2)
        self.out_lines, self.err_lines = self.out.lines, self.err.lines
        self.former: tuple[Any, ...] = ()
        os.register_at_fork(after_in_child=self._renew_locks)

    def _renew_locks(self) -> None:
        self.out_lines.renew_lock()
        self.err_lines.renew_lock()

    def start(self) -> None:
        # Kept because Python would flush them at their end: what the zygote had printed, once for each worker.
        self.former = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        sys.stdout = sys.__stdout__ = self.out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.err  # type: ignore[misc]


_prepared: Capture | None = None
_capture: Capture | None = None


def prepare() -> None:
    """Make the streams for `capture`, which the forks of this process then need not do."""
    global _prepared
    _prepared = Capture()


def capture() -> None:
    """Turn what Python code prints into log events from now on."""
    global _prepared, _capture
    _capture, _prepared = _prepared or Capture(), None
    _capture.start()


def flush() -> None:
    """Log what has been printed so far, if it is captured, also to streams that the model has put around or in place.

    Called after each load and request, so that it is logged as that one's.
    """
    captured = _capture
    if captured is None:
        return
    if sys.stdout is not captured.out or sys.stderr is not captured.err:
        _flush(sys.stdout)
        _flush(sys.stderr)
    if captured.out_lines.unfinished:
        captured.out_lines.close_line()
    if captured.err_lines.unfinished:
        captured.err_lines.close_line()


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except Exception:  # the model's own stream, or None
        pass
