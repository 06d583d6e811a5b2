"""The native front end as the fork server sees it: one channel, on which it asks for workers and is told of them."""

import contextlib
import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from container.errors import Failure
from container.hosted import HostedModel, WorkerRecord
from container.messages import (
    AddWorker,
    AdoptWorker,
    Beat,
    Channel,
    CloseModel,
    LinkLost,
    Message,
    ModelClosed,
    OpenModel,
    Resize,
    Took,
    WorkerStarted,
)

if TYPE_CHECKING:
    from container.forkserver import ForkServer


class NativeFront:
    """`descriptor`: the fork server's end of the channel. A model's key is the front end's own number for it."""

    def __init__(self, server: "ForkServer", descriptor: int) -> None:
        self._server = server
        self._channel = Channel(socket.socket(fileno=descriptor))
        self._models: dict[int, HostedModel] = {}
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
            self._send(LinkLost(worker.link, **asdict(reason)))

    def started(self, worker: WorkerRecord, page: int) -> None:
        """With it goes the status page: should the fork server die, the next one gets it from the front end."""
        assert worker.pid is not None
        self._send(WorkerStarted(worker.link, worker.pid), (page,))

    def took(self, model: HostedModel, size: int) -> None:
        self._send(Took(model.key, size))

    def closed(self, model: HostedModel) -> None:
        del self._models[model.key]
        self._send(ModelClosed(model.key))

    def end_all(self) -> None:
        """Workers end when the front end does."""

    def _send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(OSError):  # it has ended, and the container ends with it
            self._channel.send(message, descriptors)

    def _on_message(self) -> None:
        received = self._channel.receive()
        if received is None:
            self._server.loop.unwatch(self._channel)
            return
        self._heard = True
        message, descriptors = received
        match message:
            case OpenModel():
                self._open(message)
            case AddWorker():
                self._add_worker(message, *descriptors)
            case AdoptWorker():
                self._adopt_worker(message, *descriptors)
            case CloseModel():
                if model := self._models.get(message.key):
                    self._server.let_go(model)
            case Beat():
                self._send(message)

    def _open(self, message: OpenModel) -> None:
        model = HostedModel(
            key=message.key,
            name=message.name,
            directory=Path(message.directory),
            handler=message.handler,
            temp_dir=self._server.make_temp_dir(message.key),
            framework=self._server.framework_of(message.directory, message.handler),
            response_timeout_s=message.response_timeout_s,
        )
        self._models[message.key] = model
        self._server.host(model)

    def _add_worker(self, message: AddWorker, connection: int) -> None:
        with socket.socket(fileno=connection) as sock:
            if model := self._models.get(message.key):
                self._server.connect(model, sock.dup(), message.link)

    def _adopt_worker(self, message: AdoptWorker, connection: int, page: int) -> None:
        with socket.socket(fileno=connection) as sock:
            if model := self._models.get(message.key):
                self._server.adopt(model, sock.dup(), message.link, page, message.pid)
        os.close(page)
