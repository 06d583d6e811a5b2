"""The event loop of the supervisor and the fork server: descriptors, timers and signals, with short callbacks."""

import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from polyhost.events import get_logger

Callback = Callable[[], None]

logger = get_logger(__name__)


class EventLoop:
    """Runs until `stop`. Signal handlers only record; the loop acts."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callback]] = []
        self._timer_numbers = itertools.count()  # timers of one time run in the order in which they were set
        self._exit: int | None = None
        self._signal_writer: socket.socket | None = None  # open as long as the loop is

    def run(self) -> int:
        """Call back until `stop`; return its status."""
        while self._exit is None:
            for key, _ in self._selector.select(self._until_next_timer()):
                # An earlier callback of this round may have closed it, and another may have its number by now.
                if self._selector.get_map().get(key.fd) is key:
                    self._call(key.data)
            self._run_timers()
        return self._exit

    def stop(self, status: int) -> None:
        """Have `run` return the status at the end of the round."""
        self._exit = status

    def watch(self, descriptor: Any, callback: Callback) -> None:
        """Call back whenever the descriptor can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def unwatch(self, descriptor: Any) -> None:
        """Stop watching; does nothing if it was not watched."""
        try:
            self._selector.unregister(descriptor)
        except (KeyError, ValueError):
            pass

    def after(self, seconds: float, callback: Callback) -> None:
        """Call back once."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._timer_numbers), callback))

    def every(self, seconds: float, callback: Callback) -> None:
        """Call back again and again, even if a callback fails."""

        def again() -> None:
            self.after(seconds, again)  # before the callback, which may raise
            callback()

        self.after(seconds, again)

    def on_signals(self, callbacks: dict[int, Callback], ignored: Iterable[int] = ()) -> None:
        """Call back for signals; one callback stands for any number of the same signal."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        self._signal_writer = writer
        # First, or a signal that comes in between would be lost.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in callbacks:
            signal.signal(number, lambda signum, frame: None)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

        def dispatch() -> None:
            for number in set(reader.recv(4096)) & callbacks.keys():
                callbacks[number]()

        self.watch(reader, dispatch)

    def _until_next_timer(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._call(heapq.heappop(self._timers)[2])

    @staticmethod
    def _call(callback: Callback) -> None:
        """Call back; an error that concerns one model must not end what serves the others."""
        try:
            callback()
        except Exception:
            logger.exception("unhandled error in the event loop")
