"""What workers log and print: the fork server connects each worker with the log collector, and reads nothing itself."""

import contextlib
import socket
from collections.abc import Callable, Iterable
from functools import partial

from polyhost.container.control_protocol import Channel, CollectorStarted, DrainWorker, WatchWorker, WorkerDrained
from polyhost.container.forkserver.records import WorkerRecord
from polyhost.container.system.event_loop import EventLoop

_ANSWER_S = 1.0  # the collector waits where the container's log has no room
_RETRY_S = 0.5


class WorkerLogs:
    """Tells the log collector which workers there are. Never waits for it: what it does not take is sent again."""

    def __init__(self, loop: EventLoop, channel: Channel, workers: Callable[[], Iterable[WorkerRecord]]) -> None:
        """`workers`: returns those that there are."""
        self._loop = loop
        self._channel = channel
        self._workers = workers
        self._known: set[int] = set()  # sequence numbers of the workers of which the collector has been told
        self._ending: dict[int, tuple[WorkerRecord, Callable[[], None]]] = {}  # by pid: what waits for WorkerDrained
        self._retrying = False
        loop.watch(channel, self._on_message)

    def watch(self, worker: WorkerRecord) -> None:
        """Have the collector log what the worker logs and prints, once its pid is known."""
        if worker.pid is None or worker.logs is None or not worker.logs.descriptors:
            return
        try:
            self._channel.send(
                WatchWorker(worker.pid, worker.model.name), worker.logs.descriptors, flags=socket.MSG_DONTWAIT
            )
        except OSError:
            self._retry()
        else:
            self._known.add(worker.sequence)

    def drain(self, worker: WorkerRecord, then: Callable[[], None]) -> None:
        """Have everything logged that a worker has left that has ended, then call `then`, soon in any case.

        The worker's `last_lines` are known by then. Does nothing if it has been called for the worker before.
        """
        pid = worker.pid
        if pid is None:
            then()
        elif pid not in self._ending:
            worker.kill()  # what it has started and left in its process group may write as well
            self._ending[pid] = worker, then
            with contextlib.suppress(OSError):
                self._channel.send(DrainWorker(pid), flags=socket.MSG_DONTWAIT)
            self._loop.after(_ANSWER_S, partial(self._on_drained, worker, []))

    def _on_message(self) -> None:
        received = self._channel.receive()
        match received[0] if received else None:
            case WorkerDrained(pid=pid, lines=lines) if pid in self._ending:
                self._on_drained(self._ending[pid][0], lines)
            case CollectorStarted():
                self._known.clear()
                self._watch_all()
            case None:  # not before the supervisor has ended, which keeps the other end
                self._loop.unwatch(self._channel)

    def _on_drained(self, worker: WorkerRecord, lines: list[str]) -> None:
        ending, then = self._ending.get(worker.pid or 0, (None, None))
        if ending is worker and then is not None:
            del self._ending[worker.pid or 0]
            self._known.discard(worker.sequence)
            worker.last_lines = lines
            then()

    def _retry(self) -> None:
        if not self._retrying:
            self._retrying = True
            self._loop.after(_RETRY_S, self._watch_all)

    def _watch_all(self) -> None:
        self._retrying = False
        for worker in list(self._workers()):
            if worker.sequence not in self._known:
                self.watch(worker)
