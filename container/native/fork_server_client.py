"""The native front end's channel to the fork server. When the fork server dies, the supervisor starts another one."""

import asyncio
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
from polyhost.container.errors import Failure
from polyhost.events import get_logger

_HEARTBEAT_S = 2.0
# A fork server that starts, or is being restarted, is no reason to replace an instance; one that stays away is.
_MAX_SILENCE_S = 10.0

logger = get_logger(__name__)


class ForkServerListener(Protocol):
    """Receives what the fork server sends (Models). `key` is a model's number, `connection` a worker connection's."""

    def on_worker_started(self, connection: int, pid: int, status_page: int) -> None:
        """Take note of the process that serves the connection, and own the descriptor of its status page."""

    def on_worker_lost(self, connection: int, failure: Failure) -> None: ...

    def on_resize(self, key: int, workers: int) -> None: ...

    def on_memory_measured(self, key: int, size: int) -> None: ...

    def on_model_closed(self, key: int) -> None: ...

    def on_fork_server_lost(self) -> None: ...

    def on_new_fork_server(self) -> None:
        """Tell it everything: it knows nothing yet."""


class ForkServerClient:
    """Sends to the fork server that there is, if any, and passes its messages to the listener.

    `supervisor` is the descriptor of a socket on which the supervisor sends our end of a channel to each fork server
    that it starts. The end of that socket is the supervisor's end (`supervisor_ended`).

    Between two fork servers `send` does nothing. This is safe because on_new_fork_server tells the next one everything.
    """

    def __init__(self, supervisor: int) -> None:
        self.supervisor_ended = asyncio.Event()
        self._supervisor = socket.socket(fileno=supervisor)
        self._channel: Channel | None = None
        # Messages that the channel had no room for, in order, with duplicates of their descriptors.
        self._unsent: deque[tuple[Message, tuple[int, ...]]] = deque()
        self._listener: ForkServerListener | None = None  # None until `start`
        self._last_message = time.monotonic()
        self._heartbeats = 0

    def start(self, listener: ForkServerListener) -> None:
        """Begin to receive on the running event loop."""
        self._listener = listener
        self._supervisor.setblocking(False)
        asyncio.get_running_loop().add_reader(self._supervisor, self._on_supervisor)
        self._send_heartbeat()

    def close(self) -> None:
        """Close the sockets."""
        self._disconnect()
        asyncio.get_running_loop().remove_reader(self._supervisor)
        self._supervisor.close()

    @property
    def healthy(self) -> bool:
        """Whether the fork server has sent something lately; it returns each heartbeat."""
        return time.monotonic() - self._last_message < _MAX_SILENCE_S

    def send(self, message: Message, *descriptors: int) -> None:
        """Send a message without blocking, or do nothing while there is no fork server.

        Raises OSError if there are descriptors to send and none is left for their duplicates.
        """
        if self._channel is None:
            return
        # Duplicates, since the caller may close its own before the channel has room.
        self._unsent.append((message, _duplicate(descriptors)))
        if len(self._unsent) == 1:
            self._flush()

    def receive_pending(self) -> None:
        """Handle all messages that have arrived, now instead of in the event loop's order.

        When a worker's connection ends, the reason has been sent before; it must be known before the end is handled.
        """
        while self._channel is not None and self._receive_one():
            pass

    def _send_heartbeat(self) -> None:
        self._heartbeats += 1
        self.send(Heartbeat(self._heartbeats))
        asyncio.get_running_loop().call_later(_HEARTBEAT_S, self._send_heartbeat)

    def _on_supervisor(self) -> None:
        assert self._listener is not None
        data, descriptors, _, _ = socket.recv_fds(self._supervisor, 16, 1)
        if not data:
            asyncio.get_running_loop().remove_reader(self._supervisor)
            self.supervisor_ended.set()
            return
        self._disconnect()
        (descriptor,) = descriptors
        os.set_inheritable(descriptor, False)
        channel = socket.socket(fileno=descriptor)
        channel.setblocking(False)
        self._channel = Channel(channel)
        asyncio.get_running_loop().add_reader(channel, self.receive_pending)
        self.send(Heartbeat(self._heartbeats))
        self._listener.on_new_fork_server()

    def _disconnect(self) -> None:
        if self._channel is None:
            return
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._channel)
        loop.remove_writer(self._channel)
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
                asyncio.get_running_loop().add_writer(self._channel, self._flush)
                return
            except OSError as error:
                logger.warning("lost the fork server (%s); waiting for its restart", error)
                self._disconnect()
                return
            self._unsent.popleft()
            _close(descriptors)
        asyncio.get_running_loop().remove_writer(self._channel)

    def _receive_one(self) -> bool:
        assert self._channel is not None
        try:
            received = self._channel.receive()
        except BlockingIOError:
            return False
        except OSError:
            received = None
        if received is None:
            logger.warning("the fork server has ended; waiting for its restart")
            self._disconnect()
            return False
        self._last_message = time.monotonic()
        self._dispatch(*received)
        return True

    def _dispatch(self, message: Message, descriptors: list[int]) -> None:
        assert self._listener is not None
        match message:
            case WorkerStarted():
                self._listener.on_worker_started(message.connection, message.pid, descriptors[0])
            case WorkerLost():
                self._listener.on_worker_lost(message.connection, message.failure)
            case Resize():
                self._listener.on_resize(message.key, message.workers)
            case MemoryMeasured():
                self._listener.on_memory_measured(message.key, message.size)
            case ModelClosed():
                self._listener.on_model_closed(message.key)


def _duplicate(descriptors: Sequence[int]) -> tuple[int, ...]:
    duplicates: list[int] = []
    try:
        for descriptor in descriptors:
            duplicates.append(os.dup(descriptor))
    except OSError:
        _close(duplicates)
        raise
    return tuple(duplicates)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
