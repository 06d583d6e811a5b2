"""The workers of the fork server: created, forked, replaced and released."""

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from polyhost.container.control_protocol import ForkDescriptors, ForkRequest, Started
from polyhost.container.errors import Failure
from polyhost.container.forkserver.connection_copy import ConnectionCopy
from polyhost.container.forkserver.connections import Connections
from polyhost.container.forkserver.front_end import FrontEnd
from polyhost.container.forkserver.log_ends import LogReaders
from polyhost.container.forkserver.records import HostedModel, WorkerLifecycle, WorkerRecord
from polyhost.container.forkserver.zygote.pool import ZygotePool
from polyhost.container.worker.status_page import StatusPage
from polyhost.events import get_logger
from polyhost.handlers.frameworks import BARE

logger = get_logger(__name__)


class Backoff(NamedTuple):
    """How long a replacement rejects requests before it loads the model, and why."""

    seconds: float = 0.0
    reason: str = ""


_NO_BACKOFF = Backoff()


class Workers:
    """The workers that have a process, or are about to, by sequence number."""

    def __init__(
        self,
        front_end: FrontEnd,
        zygotes: ZygotePool,
        connections: Connections,
        watch_logs: Callable[[WorkerRecord], None],
        on_released: Callable[[HostedModel], None],
    ) -> None:
        self._front_end = front_end
        self._zygotes = zygotes
        self._connections = connections
        self._watch_logs = watch_logs
        self._on_released = on_released
        self._by_sequence: dict[int, WorkerRecord] = {}
        self._sequences = itertools.count(1)

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(self._by_sequence.values())

    def find(self, sequence: int) -> WorkerRecord | None:
        """Return the worker, or None if it is not in the list any more."""
        return self._by_sequence.get(sequence)

    def for_each(self, duty: Callable[[WorkerRecord], None]) -> None:
        """Do something for each worker; an error that concerns one of them does not cost the others their turn."""
        for worker in list(self):
            try:
                duty(worker)
            except Exception:
                logger.exception("failed to look after a worker", extra={"model": worker.model.name})

    # Beginnings

    def create(self, model: HostedModel, connection: socket.socket, number: int) -> WorkerRecord:
        """Make the record of a worker that is to serve the connection; takes the socket over."""
        return self._create(model, ConnectionCopy(connection), number, reload=False)

    def _create(self, model: HostedModel, connection: ConnectionCopy, number: int, reload: bool) -> WorkerRecord:
        page = StatusPage.create()
        logs, writers = LogReaders.with_writers()
        return WorkerRecord(
            sequence=next(self._sequences),
            model=model,
            connection=connection,
            connection_number=number,
            status=StatusPage(page),
            logs=logs,
            descriptors=ForkDescriptors(connection.dup_descriptor(), writers.output, writers.events, page),
            reload=reload,
            need=model.need,
        )

    def fork(self, worker: WorkerRecord, memory_bytes: int | None = None, backoff: Backoff = _NO_BACKOFF) -> None:
        """Ask for the worker's process. `memory_bytes`: what its load may allocate."""
        model = worker.model
        assert worker.descriptors is not None
        worker.enter(WorkerLifecycle.FORKING)
        self._add(worker)
        request = ForkRequest(
            sequence=worker.sequence,
            model=model.ref,
            temp_dir=str(model.temp_dir),
            io_dir=model.io_dir,
            mark=model.key,
            memory_bytes=memory_bytes,
            launched=model.launched,
            connected=time.monotonic(),
            reload=worker.reload,
            gpu_id=worker.status.gpu_id if worker.reload else worker.gpu_id,
            batch_size=worker.status.batch_size,
            backoff_s=backoff.seconds,
            reason=backoff.reason,
            user=model.user,
            layer=model.layer.site if model.layer else None,
            isolated=model.layer.isolated if model.layer else False,
            waited_s=worker.waited_s,
            extended_protocol=self._front_end.extended_protocol,
        )
        self._zygotes.fork(_forked_from(model), request, worker.descriptors)

    def zygote_bytes(self, model: HostedModel) -> int:
        """Return the bytes that zygotes are yet to take before a worker of this model is forked."""
        return self._zygotes.bytes_to_come(_forked_from(model))

    def free_memory_for(self, model: HostedModel) -> bool:
        """Stop a zygote that nothing uses and this model does not need; return whether there was one."""
        return self._zygotes.free_memory(_forked_from(model))

    def add_survivor(self, model: HostedModel, connection: socket.socket, number: int, page: int, pid: int) -> None:
        """Watch a worker that outlived its fork server; takes the socket over.

        The log collector knows it. Nobody reports its exit: it becomes our child when its zygote ends, and Reaper finds
        it.
        """
        worker = WorkerRecord(
            sequence=next(self._sequences),
            model=model,
            connection=ConnectionCopy(connection),
            connection_number=number,
            status=StatusPage(page),
            logs=None,
            pid=pid,
        )
        worker.enter(WorkerLifecycle.RUNNING)
        self._add(worker)

    def replace(self, worker: WorkerRecord, backoff: Backoff = _NO_BACKOFF) -> None:
        """Have another worker serve the connection of one that has ended, whose requests have all been replied to."""
        connection = ConnectionCopy(worker.connection.dup())
        replacement = self._create(worker.model, connection, worker.connection_number, reload=True)
        status = worker.status
        replacement.status.remember_load(status.gpu_id, status.batch_size, status.io_name)
        self.fork(replacement, backoff=backoff)
        self.release(worker, hang_up=False)

    def _add(self, worker: WorkerRecord) -> None:
        self._by_sequence[worker.sequence] = worker
        worker.model.workers[worker.sequence] = worker
        self._connections.watch(worker)

    def on_started(self, message: Started, smaps: int | None) -> None:
        """Note the pid of a worker that has started. Its descriptors are still open here: the front end gets one."""
        worker = self._by_sequence.get(message.sequence)
        if worker is None:
            if smaps is not None:
                os.close(smaps)
        else:
            worker.enter(WorkerLifecycle.RUNNING)
            worker.pid, worker.early, worker.smaps = message.pid, message.early, smaps
            self._watch_logs(worker)
            self._front_end.on_started(worker)
            if worker.connection.hung_up:
                worker.kill()

    # Ends

    def remove_ended(self, sequence: int) -> WorkerRecord | None:
        """Take a worker that has no process any more out of the list; None if it is not in it."""
        worker = self._by_sequence.pop(sequence, None)
        if worker is not None:
            worker.enter(WorkerLifecycle.ENDED)
            del worker.model.workers[sequence]
            worker.kill()  # what it has started and left in its process group
        return worker

    def hold_waiting(self, worker: WorkerRecord) -> None:
        """Watch the connection of a worker for which no process has been asked yet."""
        self._connections.watch(worker)

    def hold_rejected(self, worker: WorkerRecord) -> None:
        """Keep the connection of a rejected load until the front end hangs up."""
        worker.enter(WorkerLifecycle.REJECTED)
        self._connections.watch(worker)

    def release(self, worker: WorkerRecord, reason: Failure | None = None, hang_up: bool = True) -> None:
        """Close the worker's connection. `reason`: for a front end that cannot be informed on the connection.

        The order of the steps is an invariant:

        1. The connection leaves the loop while it is open. A closed descriptor's number may belong to another
           connection at once, and to unwatch it would then concern that one.
        2. The front end hears of the release before the hang-up. The native one reads its messages before it acts on
           the end of a connection (ForkServerClient.drain), so the reason must have been sent by then.
        3. Only then is the connection closed.
        4. The model is closed last, and only with its last worker: ModelClosed promises that nothing of it is left, and
           a replacement, which `replace` forks before it releases its predecessor, keeps the model.
        """
        self._connections.unwatch(worker)
        self._front_end.on_released(worker, reason)
        worker.close(hang_up)
        self._on_released(worker.model)

    def kill_all(self) -> None:
        """Kill all workers and what they have started."""
        for worker in self:
            worker.kill()


def _forked_from(model: HostedModel) -> str:
    """Return the framework whose zygote forks the model's workers."""
    # A worker that is to execute a new Python needs no zygote's imports.
    return BARE if model.layer and model.layer.isolated else model.framework
