"""The fork server's side of the native front end: a channel for its requests, and for the events of its workers."""

import contextlib
import errno
import os
import socket
from dataclasses import replace

from polyhost.container.control_protocol import (
    AddSurvivor,
    AddWorker,
    Channel,
    CloseModel,
    Heartbeat,
    MemoryMeasured,
    Message,
    ModelClosed,
    OpenModel,
    Resize,
    WorkerLost,
    WorkerStarted,
)
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.forkserver.front_end import Host
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.worker.protocol import SUBSTITUTE_CODE
from polyhost.events import get_logger

# When the container ends, the front end ends first, and then the supervisor sends SIGTERM at once.
_SIGTERM_WAIT_S = 1.0

logger = get_logger(__name__)


class NativeAdapter:
    """Adapter of the native front end. A model's key is the front end's number for this load of it."""

    busy_rounds = 1  # another worker costs the native front end nothing
    idle_share = 0.1  # it lets a worker finish before it gives it back
    extended_protocol = True
    substitute_code = SUBSTITUTE_CODE

    def __init__(self, host: Host, loop: EventLoop, descriptor: int) -> None:
        """`descriptor`: the fork server's end of the channel."""
        self._host = host
        self._loop = loop
        self._channel = Channel(socket.socket(fileno=descriptor))
        self._models: dict[int, HostedModel] = {}
        self._failed: dict[int, Failure] = {}  # why a model could not be opened, for the workers that it is to have
        self._heard_from = False

    def start(self) -> None:
        """Begin to accept requests for models."""
        self._loop.watch(self._channel, self._on_message)

    def is_up(self) -> bool:
        """Return whether the front end has been heard from."""
        return self._heard_from

    # Events, for the front end

    def resize(self, model: HostedModel, workers: int) -> None:
        """Ask the front end to have `workers` connections to the model."""
        self._send(Resize(model.key, workers))

    def on_started(self, worker: WorkerRecord) -> None:
        """Report the worker, with its status page: the next fork server gets the page from the front end."""
        assert worker.pid is not None and worker.descriptors is not None
        message = WorkerStarted(worker.connection_number, worker.pid)
        self._send(message, (worker.descriptors.status_page,))

    def on_load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """Reply to the load command with the failure, as JSON."""
        worker.fail_load(failure.code, failure.to_json().decode())
        self._host.release(worker)

    def on_extra_worker_failed(self, worker: WorkerRecord) -> None:
        """Do nothing: the front end sees the worker's connection end."""

    def on_released(self, worker: WorkerRecord, reason: Failure | None) -> None:
        """Send the reason; without one the front end sees the connection end, and needs to know no more."""
        if reason is not None:
            self._send(WorkerLost(worker.connection_number, reason))

    def on_memory_measured(self, model: HostedModel, size: int) -> None:
        """Report the bytes, for the front end's metrics."""
        self._send(MemoryMeasured(model.key, size))

    def on_model_closed(self, model: HostedModel) -> None:
        """Report that nothing of the model is left, which the unload waits for."""
        del self._models[model.key]
        self._send(ModelClosed(model.key))

    def on_supervisor_died(self) -> None:
        """Do nothing: the front end sees the supervisor's end itself, and the workers end with their connections."""

    def _send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(OSError):  # the front end has ended, and the container ends with it
            self._channel.send(message, descriptors)

    # Requests, from the front end

    def _on_message(self) -> None:
        try:
            received = self._channel.receive()
        except OSError:
            received = None
        if received is None:
            self._loop.unwatch(self._channel)
            self._loop.after(_SIGTERM_WAIT_S, self._exit)
            return
        self._heard_from = True
        message, descriptors = received
        match message:
            case OpenModel():
                self._open(message)
            case AddWorker() | AddSurvivor():
                self._add(message, descriptors)
            case CloseModel():
                self._close(message)
            case Heartbeat():
                self._send(message)

    def _exit(self) -> None:
        """End this process without stopping the loop, which would kill the workers.

        If the front end is alive after all, it hands them over to the next fork server.
        """
        logger.error("the channel to the front end has ended, and the fork server ends with it")
        raise SystemExit(1)

    def _open(self, message: OpenModel) -> None:
        ref = message.model
        try:
            with self._host.attempt(message.key):
                model = HostedModel(
                    key=message.key,
                    ref=ref,
                    temp_dir=self._host.make_temp_dir(message.key),
                    framework=self._host.framework_of(ref.directory, ref.handler),
                    response_timeout_s=message.response_timeout_s,
                )
                self._host.add_model(model)
                self._models[message.key] = model
        except Exception as error:
            logger.exception("cannot open the model", extra={"model": ref.name})
            self._failed[message.key] = _failure(error, ref.name)

    def _add(self, message: AddWorker | AddSurvivor, descriptors: list[int]) -> None:
        """Add a worker. An error is reported to the front end, where a load waits for the worker."""
        model = self._models.get(message.key)
        connection: socket.socket | None = None
        try:
            if model is None:
                raise LookupError(f"the fork server has no model {message.key}")
            # Some are missing if this process may not open more (unix(7)).
            if len(descriptors) < (1 if isinstance(message, AddWorker) else 2):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            connection = socket.socket(fileno=os.dup(descriptors[0]))
            if isinstance(message, AddWorker):
                self._host.add_worker(model, connection, message.connection)
            else:
                self._host.add_survivor(model, connection, message.connection, descriptors[1], message.pid)
        except Exception as error:
            logger.exception("cannot add a worker", extra={"model": model.name if model else ""})
            failure = self._failed.get(message.key) or _failure(error, model.name if model else "")
            self._send(WorkerLost(message.connection, failure))
            if connection is not None:
                connection.shutdown(socket.SHUT_RDWR)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _close(self, message: CloseModel) -> None:
        self._failed.pop(message.key, None)
        if model := self._models.get(message.key):
            self._host.close_model(model)
        else:
            self._send(ModelClosed(message.key))


def _failure(error: Exception, model: str) -> Failure:
    """Describe the error; a shortage of any resource is 507, for it may be over when another model is unloaded."""
    failure = Failure.of(error, model, "load")
    return replace(failure, code=INSUFFICIENT_STORAGE) if isinstance(error, OSError) else failure
