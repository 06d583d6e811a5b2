"""Lines from a pipe, read without ever blocking."""

import os

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
        return [line.decode(errors="replace") for line in lines if line.strip()]

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor, once: its number may be another's afterwards."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
