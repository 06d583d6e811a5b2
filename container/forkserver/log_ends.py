"""Both ends of what a worker logs and prints."""

import os
import socket
from typing import NamedTuple, Self


class LogWriters(NamedTuple):
    """A worker's own ends."""

    output: int
    events: int


class LogReaders:
    """The reading ends of a worker's pipe for native output and of its socket for log events.

    The log collector gets copies. These are kept for one that starts anew.
    """

    def __init__(self, events: int, output: int) -> None:
        self._descriptors: tuple[int, ...] = (events, output)

    @classmethod
    def with_writers(cls) -> tuple[Self, LogWriters]:
        """Return new reading ends and the worker's ends of them. Raises OSError."""
        output, output_writer = os.pipe2(os.O_CLOEXEC)
        try:
            events, events_writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            os.close(output)
            os.close(output_writer)
            raise
        return cls(events.detach(), output), LogWriters(output_writer, events_writer.detach())

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The end for events and the one for output; none if they are closed."""
        return self._descriptors

    def close(self) -> None:
        """Close both; may be called twice."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()
