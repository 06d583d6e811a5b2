"""Netty's server threads, started before models come.

Netty starts each with the first connection that it gets, and gives connections to its threads in turn
(MultithreadEventLoopGroup.java, DefaultEventExecutorChooserFactory.java). A thread that cannot be started, because a
model takes all the processes that the container may have, breaks every connection that is its turn, /ping's too.
"""

import os

from polyhost.container.mms.client import MmsClient
from polyhost.container.system.event_loop import EventLoop
from polyhost.events import get_logger

_NOT_UP_S = 0.1
_RETRY_S = 5.0

logger = get_logger(__name__)


class NettyThreads:
    """Opens as many connections as Netty has threads, until all of them have been answered."""

    def __init__(self, loop: EventLoop, mms: MmsClient, threads: int, retry_s: float = _RETRY_S) -> None:
        """`threads`: MMS_NUMBER_OF_NETTY_THREADS; 0 means Netty's default, two for each core."""
        self._loop = loop
        self._mms = mms
        self._retry_s = retry_s
        self._threads = threads or 2 * len(os.sched_getaffinity(0))
        self._waiting = 0  # for an answer
        self._unanswered = 0

    def start(self) -> None:
        """Start them as soon as MMS is up."""
        if not self._mms.is_up():
            self._loop.after(_NOT_UP_S, self.start)
            return
        self._waiting, self._unanswered = self._threads, 0
        for _ in range(self._threads):
            try:
                self._mms.probe(self._on_response)
            except OSError:
                self._on_response(None)

    def _on_response(self, status: int | None) -> None:
        self._waiting -= 1
        self._unanswered += status is None
        if self._waiting == 0 and self._unanswered:
            logger.warning("%d of MMS's %d threads do not answer; trying again", self._unanswered, self._threads)
            self._loop.after(self._retry_s, self.start)
