"""The native front end as the fork server sees it: one channel, on which it asks for workers and is told of them."""

import contextlib
import errno
import logging
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from polyhost.container.forkserver.records import HostedModel, WorkerRecord

if TYPE_CHECKING:
    from polyhost.container.forkserver.server import ForkServer

_END_S = 1.0  # when the container ends, the front end ends first, and SIGTERM comes at once

logger = logging.getLogger("polyhost.forkserver")


class NativeFront:
    """`descriptor`: the fork server's end of the channel. A model's key is the front end's own number for it."""

    def __init__(self, server: "ForkServer", descriptor: int) -> None:
        self._server = server
        self._channel = Channel(socket.socket(fileno=descriptor))
        self._models: dict[int, HostedModel] = {}
        self._refused: dict[int, Failure] = {}  # models that could not be taken in
        self._heard = False

    def start(self) -> None:
        self._server.loop.watch(self._channel, self._on_message)

    def is_up(self) -> bool:
        return self._heard

    def resize(self, model: HostedModel, workers: int) -> None:
        self._send(Resize(model.key, workers))

    def load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        worker.answer_load(failure)
        self._server.release(worker)

    def gave_up(self, worker: WorkerRecord) -> None:
        """The front end has seen its connection end."""

    def released(self, worker: WorkerRecord, reason: Failure | None) -> None:
        if reason is not None:
            self._send(WorkerLost(worker.link, reason))

    def started(self, worker: WorkerRecord, page: int) -> None:
        """With it goes the status page: should the fork server die, the next one gets it from the front end."""
        assert worker.pid is not None
        self._send(WorkerStarted(worker.link, worker.pid), (page,))

    def took(self, model: HostedModel, size: int) -> None:
        self._send(MemoryMeasured(model.key, size))

    def closed(self, model: HostedModel) -> None:
        del self._models[model.key]
        self._send(ModelClosed(model.key))

    def end_all(self) -> None:
        """Workers end when the front end does."""

    def _send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(OSError):  # it has ended, and the container ends with it
            self._channel.send(message, descriptors)

    def _on_message(self) -> None:
        try:
            received = self._channel.receive()
        except OSError:
            received = None
        if received is None:
            self._server.loop.unwatch(self._channel)
            self._server.loop.after(_END_S, self._end)
            return
        self._heard = True
        message, descriptors = received
        match message:
            case OpenModel():
                self._open(message)
            case AddWorker() | AddSurvivor():
                self._take(message, descriptors)
            case CloseModel():
                self._close(message)
            case Heartbeat():
                self._send(message)

    def _end(self) -> None:
        """Not by the loop's stop, which ends the workers: a front end that lives gives them to our successor."""
        logger.error("the channel to the front end has ended, and the fork server ends with it")
        raise SystemExit(1)

    def _open(self, message: OpenModel) -> None:
        try:
            self._host(message)
        except Exception as error:
            logger.exception("the model cannot be taken in", extra={"model": message.model.name})
            self._refused[message.key] = _failure(error, message.model.name)

    def _host(self, message: OpenModel) -> None:
        model = HostedModel(
            key=message.key,
            name=message.model.name,
            directory=Path(message.model.directory),
            handler=message.model.handler,
            temp_dir=self._server.make_temp_dir(message.key),
            framework=self._server.framework_of(message.model.directory, message.model.handler),
            response_timeout_s=message.response_timeout_s,
        )
        self._models[message.key] = model
        self._server.host(model)

    def _take(self, message: AddWorker | AddSurvivor, descriptors: list[int]) -> None:
        """What goes wrong is told to the front end, where somebody waits for the worker."""
        model = self._models.get(message.key)
        connection: socket.socket | None = None
        try:
            if model is None:
                raise LookupError(f"the fork server has no model {message.key}")
            if len(descriptors) < (1 if isinstance(message, AddWorker) else 2):  # some had no room here (unix(7))
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            connection = socket.socket(fileno=os.dup(descriptors[0]))
            if isinstance(message, AddWorker):
                self._server.connect(model, connection, message.connection)
            else:
                self._server.adopt(model, connection, message.connection, descriptors[1], message.pid)
        except Exception as error:
            logger.exception("a worker cannot be taken in", extra={"model": model.name if model else ""})
            failure = self._refused.get(message.key) or _failure(error, model.name if model else "")
            self._send(WorkerLost(message.connection, failure))
            if connection is not None:
                connection.shutdown(socket.SHUT_RDWR)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _close(self, message: CloseModel) -> None:
        self._refused.pop(message.key, None)
        if model := self._models.get(message.key):
            self._server.let_go(model)
        else:
            self._send(ModelClosed(message.key))


def _failure(error: Exception, model: str) -> Failure:
    """Whatever is short now may be there when another model is gone."""
    failure = Failure.of(error, model, "load")
    return replace(failure, code=INSUFFICIENT_STORAGE) if isinstance(error, OSError) else failure
