"""Lines from a pipe, read without ever blocking."""

import contextlib
import os
from collections.abc import Iterable

_CAPACITY = 1 << 16  # of a pipe (pipe(7))
_MAX_LINE = 1 << 16  # bytes; a longer line is split


class LineReader:
    """Reads another process's output line by line. Owns the reading end of a pipe or FIFO."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._partial = b""

    def read(self, limit: int = _CAPACITY) -> list[str] | None:
        """Return the lines that have come since the last call, without blank ones; None at the end.

        `limit`: how many bytes to read at most.
        """
        try:
            data = os.read(self._descriptor, limit)
        except BlockingIOError:
            return []
        if not data and not self._partial:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        if not data or len(self._partial) > _MAX_LINE:
            lines.append(self._partial)
            self._partial = b""
        return _decoded(lines)

    def read_rest(self, limit: int) -> list[str]:
        """Return all that has come, also a line without an end, for a pipe whose end is not waited for."""
        data = bytearray(self._partial)
        self._partial = b""
        with contextlib.suppress(BlockingIOError):
            while limit > 0 and (piece := os.read(self._descriptor, _CAPACITY)):
                data += piece
                limit -= len(piece)
        return _decoded(part for line in bytes(data).split(b"\n") for part in _split(line))

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor, once: its number may be another's afterwards."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _decoded(lines: Iterable[bytes]) -> list[str]:
    return [line.decode(errors="replace") for line in lines if line.strip()]


def _split(line: bytes) -> list[bytes]:
    return [line[start : start + _MAX_LINE] for start in range(0, len(line), _MAX_LINE)]
