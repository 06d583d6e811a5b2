"""Hang-ups: the front end closes the connection of a worker that it needs no longer."""

import select
from collections.abc import Callable

from polyhost.container.forkserver.records import WorkerRecord
from polyhost.container.system.event_loop import EventLoop


class Connections:
    """Watches the copies of the workers' connections for hang-ups, and for nothing else."""

    def __init__(self, loop: EventLoop, on_hang_up: Callable[[WorkerRecord], None]) -> None:
        # An epoll of its own, for the loop's reports data too: it would be woken by each request to a worker.
        self._poller = select.epoll()
        self._workers: dict[int, WorkerRecord] = {}  # by descriptor
        self._on_hang_up = on_hang_up
        loop.watch(self._poller, self._on_events)

    def watch(self, worker: WorkerRecord) -> None:
        """Report the hang-up once; does nothing if the connection is watched already."""
        descriptor = worker.connection.fileno()
        if descriptor not in self._workers:
            self._workers[descriptor] = worker
            self._poller.register(descriptor, select.EPOLLRDHUP)

    def unwatch(self, worker: WorkerRecord) -> None:
        """Stop watching; must come before the connection is closed, for its descriptor may be another's afterwards."""
        descriptor = worker.connection.fileno()
        if self._workers.pop(descriptor, None):
            self._poller.unregister(descriptor)

    def _on_events(self) -> None:
        for descriptor, _ in self._poller.poll(0):
            # An earlier hang-up of this round may have released it.
            if worker := self._workers.get(descriptor):
                self.unwatch(worker)
                self._on_hang_up(worker)
