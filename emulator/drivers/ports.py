"""Ports for containers on this machine."""

import socket
from itertools import cycle

# Multi Model Server takes no port from 32767 on; below 20000 others live.
_candidates = cycle(range(20000, 32767))


def free_port() -> int:
    """One that nobody uses now and that was not given out lately. Raises OSError where all are in use."""
    for _ in range(12767):
        port = next(_candidates)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port from 20000 to 32766")
