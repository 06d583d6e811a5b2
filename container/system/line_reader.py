"""The output of another process, line by line, without ever waiting for it."""

import os

_CAPACITY = 1 << 16  # of a pipe (pipe(7))
_LONGEST = 1 << 16  # of a line; what has no end yet is cut there


class Lines:
    """Owns the reading end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._partial = b""

    def read(self, most: int = _CAPACITY) -> list[str] | None:
        """The lines that have come since the last call, without empty ones; None at the end. `most`: bytes."""
        try:
            data = os.read(self._descriptor, most)
        except BlockingIOError:
            return []
        if not data and not self._partial:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        if not data or len(self._partial) > _LONGEST:
            lines.append(self._partial)
            self._partial = b""
        return [line.decode(errors="replace") for line in lines if line.strip()]

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """A second time does nothing: the number may be another's by then."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
