"""The front end's end of a connection to a worker."""

import asyncio
import itertools
import json
import math
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol

from polyhost.container.errors import Failure
from polyhost.container.native.decoder import (
    Chunk,
    GarbledReplyError,
    LoadReply,
    Reply,
    ReplyDecoder,
    WorkerReplaced,
    WorkerResponse,
)
from polyhost.container.native.encoder import encode_command
from polyhost.container.native.invocation import Invocation
from polyhost.container.worker.protocol import LoadCommand, encode_cancel, encode_load

GARBLED = "GarbledAnswerError"  # a model's code has written to the worker's connection
_LOAD_PHASES = frozenset({"connect", "requirements", "fork", "command", "handler"})  # worker/process.py measures them


class ResponseListener(Protocol):
    """Receives what workers reply to invocations (Dispatcher)."""

    def on_response(self, invocation: Invocation, response: WorkerResponse, started: float, now: float) -> None:
        """Pass a response on. `started`: when the worker could begin with the invocation."""

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None: ...

    def on_not_started(self, invocations: Sequence[Invocation]) -> None:
        """Queue invocations again: their worker died before it began with them."""

    def on_idle(self, connection: "WorkerConnection") -> None:
        """Send the next invocations: every one that the worker had is answered."""


class ConnectionListener(Protocol):
    """Receives what happens to the connection itself (ServedModel)."""

    def on_loaded(self, connection: "WorkerConnection", times: dict[str, float]) -> None:
        """Use the connection. `times`: milliseconds per phase of the load."""

    def on_load_failed(self, connection: "WorkerConnection", failure: Failure) -> None: ...

    def on_worker_replaced(self) -> None: ...

    def on_connection_lost(self, connection: "WorkerConnection") -> None:
        """Answer its `invocations`, of which there is no response or only the beginning of one."""


class WorkerConnection(asyncio.Protocol):
    """A connection on which workers serve one model, one at a time.

    Where a worker dies, the fork server may fork another one on the same connection: it keeps a duplicate of the
    worker's end. It then replies on behalf of the dead worker to the invocations that died with it (WorkerReplaced).

    `invocations` are those that were sent and not answered in full, in the order in which the worker takes them.
    Invariants: they change hands here and in `send` only, a worker replies to them in that order (the protocol has no
    other), and on_idle is called each time the last one is answered.

    Ways to end: `close` ends the connection and its worker without a call to the listeners; `abort` ends it for a
    reason, as its breaking does: on_connection_lost follows, and `failure` has the reason.
    """

    def __init__(
        self, number: int, responses: ResponseListener, listener: ConnectionListener, max_body_bytes: int
    ) -> None:
        """`max_body_bytes`: of a response, or a chunk of one. Raise OSError if no descriptor is left."""
        self.number = number
        # The worker's end stays open: the next fork server gets it when it takes the worker over.
        self._front_end, self.workers_end = socket.socketpair()
        self.pid: int | None = None
        self.status_page: int | None = None  # descriptor
        self.loaded = False
        self.closing = False
        self.failure: Failure | None = None  # why the connection ended, if that is known
        self.invocations: list[Invocation] = []
        self.turn_started = 0.0  # when the worker could begin with the first of them
        self._responses = responses
        self._listener = listener
        self._decoder = ReplyDecoder(max_body_bytes)
        self._transport: asyncio.Transport | None = None  # None until `open` has returned
        self._cancelled_id = b""
        self._substituted = False  # some are answered on behalf of a dead worker, and WorkerReplaced has not come yet

    async def open(self) -> None:
        """Give the front end's end to the event loop; raises OSError if that fails."""
        self._front_end.setblocking(False)
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: self, sock=self._front_end)
        except BaseException:
            self._front_end.close()
            self.workers_end.close()
            raise
        # Only now: uvloop takes the socket over after connection_made. A transport aborted earlier closes the
        # descriptor, and the forgotten socket would close it again, when it may be another connection's.
        self._transport = transport
        if self.closing:  # `close` was called before there was a transport
            self._transport.abort()

    def load(self, command: LoadCommand) -> None:
        assert self._transport is not None
        self._transport.write(encode_load(command))

    def send(self, invocations: list[Invocation], burst: bool = False) -> None:
        """Send invocations to an idle worker: as one batch for the handler, or as a burst, one by one."""
        assert self._transport is not None
        assert not self.invocations, "what an idle worker has would be lost"
        self.invocations = invocations
        self.turn_started = now = time.monotonic()
        for invocation in invocations:
            invocation.sent = now
            invocation.connection = self
        self._transport.writelines(encode_command([invocation.command for invocation in invocations], burst))

    def cancel(self, invocation: Invocation) -> None:
        """Ask the worker to end a streamed response early; idempotent."""
        assert self._transport is not None
        if self._cancelled_id != invocation.id:
            self._cancelled_id = invocation.id
            self._transport.write(encode_cancel(invocation.id))

    def pause(self) -> None:
        """Read no further chunks until `resume`: the worker's `send` blocks once the socket is full (backpressure)."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def close(self) -> None:
        """End the connection, and by that its worker, without calling the listeners; idempotent."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def abort(self, failure: Failure) -> None:
        """End the connection for this reason, or for one that is known already."""
        self.failure = self.failure or failure
        assert self._transport is not None
        self._transport.abort()

    # From the fork server

    def on_worker_started(self, pid: int, status_page: int) -> None:
        """Take note of the process that serves the connection from now on, and own the descriptor of its page."""
        if self.pid is not None:
            self._listener.on_worker_replaced()
        self._close_status_page()
        self.pid, self.status_page = pid, status_page

    def on_worker_lost(self, failure: Failure) -> None:
        """Expect the connection's end: its worker died and gets no replacement.

        What the worker replied before it died is read still: the kernel keeps it, and the end comes after it. Before
        the load's reply there is nothing to read, and the end may not come by itself: a fork server that lacked a
        descriptor never received the worker's end.
        """
        self.failure = self.failure or failure
        if self.loaded:
            self.resume()  # it may have been paused for a slow client, and a paused transport does not see the end
        else:
            self.abort(failure)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            for reply in self._decoder.feed(data):
                self._on_reply(reply)
        except GarbledReplyError as error:
            self.abort(Failure(500, GARBLED, f"malformed reply from the worker: {error}", "", "predict"))

    def connection_lost(self, error: Exception | None) -> None:
        self._close_status_page()
        self.workers_end.close()
        if not self.closing:
            self.closing = True
            self._listener.on_connection_lost(self)

    # Replies

    def _on_reply(self, reply: Reply) -> None:
        match reply:
            case WorkerResponse():
                self._on_response(reply)
            case Chunk():
                self._on_chunk(reply)
            case WorkerReplaced():
                self._on_worker_replaced()
            case LoadReply():
                self._on_load_reply(reply)

    def _on_response(self, response: WorkerResponse) -> None:
        invocation = self._find(response.id)
        if response.more and invocation is not self.invocations[0]:
            raise GarbledReplyError("a streamed response out of order")
        now = time.monotonic()
        started, self.turn_started = self.turn_started, now
        self._responses.on_response(invocation, response, started, now)
        if response.substitute:
            self._substituted = True
            self.invocations.remove(invocation)  # not idle before WorkerReplaced
        elif not response.more:
            self._finish(invocation)
        elif invocation.cancelled:
            self.cancel(invocation)

    def _on_chunk(self, chunk: Chunk) -> None:
        if not self.invocations:
            raise GarbledReplyError("a chunk without a response")
        invocation = self.invocations[0]
        if chunk.data is None:
            self.turn_started = time.monotonic()
        self._responses.on_chunk(invocation, chunk)
        if chunk.data is None:
            self._finish(invocation)
        elif invocation.cancelled:
            self.cancel(invocation)

    def _find(self, request_id: bytes) -> Invocation:
        for invocation in self.invocations:
            if invocation.id == request_id:
                return invocation
        raise GarbledReplyError(f"no invocation has the id {request_id!r}")

    def _finish(self, invocation: Invocation) -> None:
        self.invocations.remove(invocation)
        if not self.invocations:
            self._responses.on_idle(self)

    def _on_worker_replaced(self) -> None:
        """Start anew with the dead worker's successor; what the dead one had not begun is queued again.

        Those that died with it have been answered by the fork server, each with a `substitute` response.
        """
        if not (self.invocations or self._substituted):
            raise GarbledReplyError("a replacement of an idle worker")
        self._substituted = False
        not_started, self.invocations = self.invocations, []
        self._responses.on_not_started(not_started)
        self._responses.on_idle(self)

    def _on_load_reply(self, reply: LoadReply) -> None:
        """Tell the listener. A failure is the fork server's reply; a worker whose load failed has ended."""
        try:
            content = json.loads(reply.text)
        except (ValueError, RecursionError) as error:
            raise GarbledReplyError(f"the reply to a load: {error}") from None
        if reply.code == 200:
            times = _checked_times(content)
            self.loaded = True
            self._listener.on_loaded(self, times)
            return
        failure = Failure.read(content)
        if failure is None:
            raise GarbledReplyError("the reply to a load is no failure")
        self._listener.on_load_failed(self, failure)

    def _close_status_page(self) -> None:
        if self.status_page is not None:
            os.close(self.status_page)
            self.status_page = None


class WorkerConnections:
    """The open connections of all models by the numbers that the control protocol gives them."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._numbers = itertools.count(1)
        self._by_number: dict[int, WorkerConnection] = {}

    def new(self, responses: ResponseListener, listener: ConnectionListener) -> WorkerConnection:
        """Return a new connection, to be opened; raises OSError if no descriptor is left."""
        connection = WorkerConnection(next(self._numbers), responses, listener, self._max_body_bytes)
        self._by_number[connection.number] = connection
        return connection

    def get(self, number: int) -> WorkerConnection | None:
        return self._by_number.get(number)

    def remove(self, connection: WorkerConnection) -> None:
        self._by_number.pop(connection.number, None)

    def close(self) -> None:
        """Close all of them."""
        for connection in self._by_number.values():
            connection.close()


def _checked_times(content: Any) -> dict[str, float]:
    """Return a load's milliseconds per phase: labels of the metrics, which are not a model's to choose."""
    if not (isinstance(content, dict) and content.keys() <= _LOAD_PHASES and all(map(_is_time, content.values()))):
        raise GarbledReplyError("the reply to a load has no times")
    return content


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf
