"""The fork server's copy of a worker's connection to the front end."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator

from polyhost.container.worker.protocol import FrontEndConnection, LoadCommand, ProtocolError

_PATIENCE_S = 5.0  # with a front end that neither sends its load command nor reads a reply


class ConnectionCopy:
    """A duplicate of the worker's socket, kept to see the front end hang up and to reply if the worker dies."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._socket.fileno()

    def dup(self) -> socket.socket:
        """Return one more copy, for the worker's replacement."""
        return self._socket.dup()

    def dup_descriptor(self) -> int:
        """Return the descriptor of one more copy, for the worker's own process."""
        return os.dup(self._socket.fileno())

    @property
    def hung_up(self) -> bool:
        """Whether the front end has closed its end: the model is unloaded, or has fewer workers."""
        poller = select.poll()
        poller.register(self._socket, 0)  # POLLHUP is reported in any case (poll(2))
        return bool(poller.poll(0))

    def read_load_command(self) -> LoadCommand | None:
        """Read the load command on behalf of a worker that is never forked; None if none comes."""
        with self._patience(), contextlib.suppress(OSError, ProtocolError):
            command = FrontEndConnection(self._socket).receive()
            return command if isinstance(command, LoadCommand) else None
        return None

    def send(self, reply: bytes) -> None:
        """Send a reply on behalf of the worker. A front end that has hung up does not need it."""
        with self._patience(), contextlib.suppress(OSError):
            self._socket.sendall(reply)

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        self._socket.settimeout(_PATIENCE_S)
        try:
            yield
        finally:
            self._socket.settimeout(None)

    def close(self, hang_up: bool) -> None:
        """Close this copy.

        Disconnecting ends the connection for every process that holds a copy, such as one that the model has started.
        """
        if hang_up:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
