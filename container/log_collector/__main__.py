"""The log collector's process, started by the supervisor (keeper.py)."""

import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from polyhost.container import log
from polyhost.container.config import Isolation
from polyhost.container.control_protocol import Channel
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.log_collector.collector import LogCollector
from polyhost.container.log_formats import to_json, to_text
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import send_heartbeats

_PIECE_BYTES = select.PIPE_BUF  # a pipe that is reported as writable has room for so much (poll(2), pipe(7))
_POLL_MS = 1000


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM or the supervisor's end, then log what is left; return the exit status."""
    channel_descriptor, lock_descriptor, form, level, isolation = arguments
    protect(Isolation(isolation))
    descriptors = log.LogDescriptors(1, int(lock_descriptor))
    log.configure(as_json=form == "json", level=int(level), descriptors=descriptors)
    loop = EventLoop()
    beat = send_heartbeats(loop, sys.stdin.fileno())
    write = log.SharedDescriptor(descriptors, _writer(beat))
    channel = Channel(socket.socket(fileno=int(channel_descriptor)))
    collector = LogCollector(loop, channel, to_json if form == "json" else to_text, write)
    loop.on_signals({signal.SIGTERM: collector.finish}, ignored=(signal.SIGINT,))
    loop.watch(sys.stdin, collector.finish)  # the supervisor has ended
    collector.start()
    return loop.run()


def _writer(beat: Callable[[], None]) -> Callable[[int, bytes], None]:
    """Return a function that writes, and sends heartbeats while the log's reader takes nothing."""

    def write(descriptor: int, data: bytes) -> None:
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        view = memoryview(data)
        while view:
            if poller.poll(_POLL_MS):
                log.write_all(descriptor, bytes(view[:_PIECE_BYTES]))
                view = view[_PIECE_BYTES:]
            else:
                beat()

    return write


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
