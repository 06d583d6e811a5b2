"""What an environment logs: the output of its processes, and Lambda's lines around each call."""

import asyncio
import os
from collections.abc import Callable

_READ_BYTES = 1 << 16
_MAX_LINE_BYTES = 256 * 1024  # an event of CloudWatch Logs; a longer line is logged in parts
_TAIL_BYTES = 4096  # of LogType Tail (botocore, LogResult)


class EnvironmentLog:
    """Reads a pipe whose writing end, `writer`, the processes get; lines go to `on_line`, and into the call's tail."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._tail = bytearray()
        self._rest = b""
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writer, True)
        asyncio.get_running_loop().add_reader(self._reader, self.drain)

    def begin(self) -> None:
        """Begin the tail of a call."""
        self._tail.clear()

    def line(self, text: str) -> None:
        """Log a line of Lambda's own, after what has been printed so far."""
        self.drain()
        self._flush()
        self._add(text)

    def tail(self) -> bytes:
        """Return the end of what has been logged since `begin`."""
        return bytes(self._tail[-_TAIL_BYTES:])

    def drain(self) -> None:
        """Log what has been printed so far."""
        while self._reader >= 0:
            try:
                chunk = os.read(self._reader, _READ_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._add(line.decode(errors="replace").rstrip("\r"))
            if len(self._rest) >= _MAX_LINE_BYTES:
                self._flush()
            if len(chunk) < _READ_BYTES:
                return

    def close(self) -> None:
        """Log the rest, and close the pipe."""
        if self._reader >= 0:
            self.drain()
            self._flush()
            asyncio.get_running_loop().remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
            os.close(self.writer)

    def _flush(self) -> None:
        rest, self._rest = self._rest, b""
        if rest:
            self._add(rest.decode(errors="replace"))

    def _add(self, text: str) -> None:
        self._on_line(text)
        self._tail += text.encode() + b"\n"
        if len(self._tail) > 4 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]
