"""The front end's channel to the fork server, whichever that is: another one takes its place when it dies."""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from polyhost.container.control_protocol import (
    Channel,
    Heartbeat,
    MemoryMeasured,
    Message,
    ModelClosed,
    Resize,
    WorkerLost,
    WorkerStarted,
)

_BEAT_S = 2.0
# A fork server that is starting, or is being restarted, is no reason to replace an instance; one that stays away is.
_SILENCE_S = 10.0

logger = logging.getLogger("polyhost.native")


class Listener(Protocol):
    def on_worker_started(self, link: int, pid: int, page: int) -> None: ...

    def on_link_lost(self, message: WorkerLost) -> None: ...

    def on_resize(self, key: int, workers: int) -> None: ...

    def on_took(self, key: int, size: int) -> None: ...

    def on_model_closed(self, key: int) -> None: ...

    def on_fork_server_lost(self) -> None: ...

    def on_new_fork_server(self) -> None:
        """It knows nothing yet."""


class ForkServerClient:
    """`supervisor`: a socket's descriptor, on which the supervisor sends our end of a channel to each fork server."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = socket.socket(fileno=supervisor)
        self._channel: Channel | None = None
        self._unsent: deque[tuple[Message, tuple[int, ...]]] = deque()
        self._listener: Listener
        self._heard = time.monotonic()
        self._beats = 0
        self.supervisor_gone = asyncio.Event()

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._supervisor.setblocking(False)
        self._loop.add_reader(self._supervisor, self._on_supervisor)
        self._beat()

    @property
    def well(self) -> bool:
        """Whether the fork server has been heard of lately."""
        return time.monotonic() - self._heard < _SILENCE_S

    def send(self, message: Message, *descriptors: int) -> None:
        """Never waits. Without a fork server nothing is sent: the next one is told of everything anew.

        Raises OSError where there are descriptors to send and none is left.
        """
        if self._channel is None:
            return
        # Duplicates, for the caller may have closed its own by the time they go.
        self._unsent.append((message, _duplicates(descriptors)))
        if len(self._unsent) == 1:
            self._flush()

    def drain(self) -> None:
        """Hears what has come, at once: a reason lies here before the connection that it is about has ended."""
        while self._channel is not None and self._hear_one():
            pass

    def _beat(self) -> None:
        self._beats += 1
        self.send(Heartbeat(self._beats))
        self._loop.call_later(_BEAT_S, self._beat)

    def _on_supervisor(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._supervisor, 16, 1)
        if not data:
            self._loop.remove_reader(self._supervisor)
            self.supervisor_gone.set()
            return
        self._lose()
        (descriptor,) = descriptors
        os.set_inheritable(descriptor, False)
        channel = socket.socket(fileno=descriptor)
        channel.setblocking(False)
        self._channel = Channel(channel)
        self._loop.add_reader(channel, self.drain)
        self.send(Heartbeat(self._beats))
        self._listener.on_new_fork_server()

    def _lose(self) -> None:
        if self._channel is None:
            return
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()
        self._channel = None
        for _, descriptors in self._unsent:
            _close(descriptors)
        self._unsent.clear()
        self._listener.on_fork_server_lost()

    def _flush(self) -> None:
        assert self._channel is not None
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                self._channel.send(message, descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._channel, self._flush)
                return
            except OSError as error:
                logger.warning("nothing can be said to the fork server (%s); another is awaited", error)
                self._lose()
                return
            self._unsent.popleft()
            _close(descriptors)
        self._loop.remove_writer(self._channel)

    def _hear_one(self) -> bool:
        assert self._channel is not None
        try:
            received = self._channel.receive()
        except BlockingIOError:
            return False
        except OSError:
            received = None
        if received is None:
            logger.warning("the fork server has ended; another is awaited")
            self._lose()
            return False
        self._heard = time.monotonic()
        self._dispatch(*received)
        return True

    def _dispatch(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case WorkerStarted():
                self._listener.on_worker_started(message.connection, message.pid, descriptors[0])
            case WorkerLost():
                self._listener.on_link_lost(message)
            case Resize():
                self._listener.on_resize(message.key, message.workers)
            case MemoryMeasured():
                self._listener.on_took(message.key, message.size)
            case ModelClosed():
                self._listener.on_model_closed(message.key)


def _duplicates(descriptors: Sequence[int]) -> tuple[int, ...]:
    made: list[int] = []
    try:
        for descriptor in descriptors:
            made.append(os.dup(descriptor))
    except OSError:
        _close(made)
        raise
    return tuple(made)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
