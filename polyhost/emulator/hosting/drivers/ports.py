"""Ports for containers on this machine."""

import secrets
import socket
from itertools import cycle, islice

# Multi Model Server takes no port from 32767 on; below 20000 others live. Two emulators do not begin with the same one:
# a port is free until its container listens.
_FIRST, _COUNT = 20000, 12767
_candidates = islice(cycle(range(_FIRST, _FIRST + _COUNT)), secrets.randbelow(_COUNT), None)


def free_port() -> int:
    """One that nobody uses now and that was not given out lately. Raises OSError where all are in use."""
    for _ in range(_COUNT):
        port = next(_candidates)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port from 20000 to 32766")
