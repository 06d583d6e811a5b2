"""Heartbeats: by them the supervisor notices that the fork server hangs, which the end of a process does not tell.

The fork server's event loop sends one every second, on the socket that is its stdin; so does the log collector's.
"""

import contextlib
import os
import socket
from collections.abc import Callable

from polyhost.container.system.event_loop import EventLoop

HEARTBEAT_S = 1.0
# Until the first one: the process starts, on a slow machine perhaps, and takes over what the one before it has left.
_START_S = 300.0


def send_heartbeats(loop: EventLoop, descriptor: int) -> Callable[[], None]:
    """Have the loop send heartbeats from its first round on, for as long as it runs; return what sends one more."""
    os.set_blocking(descriptor, False)

    def send() -> None:
        with contextlib.suppress(OSError):  # the supervisor is stopped and reads none, or has ended
            os.write(descriptor, b".")

    loop.after(0.0, send)  # in the first round: until the first one, a process that hangs has minutes
    loop.every(HEARTBEAT_S, send)
    return send


class HeartbeatMonitor:
    """Notices when no heartbeat has come for a while. To be asked once every HEARTBEAT_S.

    Silence is counted in questions, not by the clock: while the whole container is suspended, or gets no processor,
    no question is asked, and no process counts as late.
    """

    def __init__(self, silence_s: float) -> None:
        """`silence_s`: for how long a process that has begun to send may be silent."""
        self.limit_s = _START_S
        self._silence_s = silence_s
        self._questions = 0  # since the last heartbeat
        self._socket: socket.socket | None = None

    def connect(self) -> socket.socket:
        """Return the sender's end of a new connection, to be closed here once the sender has it."""
        self.close()
        self.limit_s, self._questions = _START_S, 0
        self._socket, senders_end = socket.socketpair()
        return senders_end

    def close(self) -> None:
        """Close our end: to the sender, the end of its supervisor."""
        if self._socket is not None:
            self._socket.close()

    def check(self) -> bool:
        """Return whether the sender has been silent for too long (`limit_s`); counting then begins anew."""
        if self._received():
            self.limit_s, self._questions = self._silence_s, 0
            return False
        self._questions += 1
        if self._questions * HEARTBEAT_S <= self.limit_s:
            return False
        self._questions = 0
        return True

    def _received(self) -> bool:
        try:
            return self._socket is not None and bool(self._socket.recv(4096, socket.MSG_DONTWAIT))
        except OSError:
            return False
