"""The front end's side of one connection to a worker; worker after worker may serve it."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Sequence
from typing import Protocol, cast

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


class ConnectionOwner(Protocol):
    def on_loaded(self, link: "WorkerConnection", times: dict[str, float]) -> None: ...

    def on_load_failed(self, link: "WorkerConnection", failure: Failure) -> None: ...

    def on_response(self, link: "WorkerConnection", call: Invocation, answer: WorkerResponse) -> None: ...

    def on_chunk(self, link: "WorkerConnection", call: Invocation, piece: Chunk) -> None: ...

    def on_unbegun(self, calls: Sequence[Invocation]) -> None:
        """A worker has died before it came to these."""

    def on_idle(self, link: "WorkerConnection") -> None:
        """It has answered all that it was sent."""

    def on_replaced(self, link: "WorkerConnection") -> None:
        """Another worker serves it now."""

    def on_lost(self, link: "WorkerConnection") -> None:
        """It has ended unasked; its `calls` have no answer, or not the end of one."""


class WorkerConnection(asyncio.Protocol):
    def __init__(self, number: int, owner: ConnectionOwner) -> None:
        self.number = number
        self.pid: int | None = None
        self.page: int | None = None  # the descriptor of the worker's status page
        self.loaded = False
        self.closing = False
        self.calls: list[Invocation] = []  # not answered yet, in the order in which the worker takes them
        self.turn = 0.0  # when the worker could begin with the first of them
        self.lost_because: Failure | None = None
        self._owner = owner
        self._replies = ReplyDecoder()
        self._opened = False
        self._transport: asyncio.Transport
        # The worker's end, kept for a fork server that has to take the worker over from one that died.
        self.workers_end: socket.socket
        self._cancelled = b""  # the id of the last call that was

    async def open(self) -> None:
        """Raises OSError where no descriptor is left."""
        ours, self.workers_end = socket.socketpair()
        ours.setblocking(False)
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            self.workers_end.close()
            raise

    def load(self, command: LoadCommand) -> None:
        self._transport.write(encode_load(command))

    def send(self, calls: list[Invocation], burst: bool = False) -> None:
        """`burst`: the handler gets them one by one, and each is answered when it is done."""
        self.calls = calls
        self.turn = now = time.monotonic()
        for call in calls:
            call.sent = now
            call.connection = self
        self._transport.write(encode_command([call.command for call in calls], burst))

    def cancel(self, call: Invocation) -> None:
        """Ends an answer that comes in pieces, of which nobody wants more."""
        if self._cancelled != call.id:
            self._cancelled = call.id
            self._transport.write(encode_cancel(call.id))

    def pause(self) -> None:
        """Takes no further pieces until `resume`: the client is slower than the worker."""
        self._transport.pause_reading()

    def resume(self) -> None:
        self._transport.resume_reading()

    def close(self) -> None:
        """The worker ends by it."""
        self.closing = True
        if self._opened:
            self._transport.abort()

    def follow(self, pid: int, page: int) -> None:
        """This worker serves the connection now."""
        if self.pid is not None:
            self._owner.on_replaced(self)
        self._forget_page()
        self.pid, self.page = pid, page

    def lose(self, reason: Failure) -> None:
        """The fork server has let it go. What its worker had answered before is read still."""
        self.lost_because = reason
        if self.loaded:
            self.resume()
        else:
            self.give_up(reason)

    def give_up(self, reason: Failure) -> None:
        self.lost_because = self.lost_because or reason
        self._transport.abort()

    def _forget_page(self) -> None:
        if self.page is not None:
            os.close(self.page)
            self.page = None

    # asyncio's half

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by inheritance
        self._opened = True
        if self.closing:  # it was closed before it was open
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for found in self._replies.feed(data):
                self._on_reply(found)
        except GarbledReplyError as error:
            # A model's code has written to a descriptor that is not its own.
            self.give_up(Failure(500, "GarbledAnswerError", f"the worker's answer is garbled: {error}", "", "predict"))

    def connection_lost(self, error: Exception | None) -> None:
        self._forget_page()
        self.workers_end.close()
        if not self.closing:
            self.closing = True
            self._owner.on_lost(self)

    def _on_reply(self, reply: Reply) -> None:
        match reply:
            case WorkerResponse():
                self._on_answer(reply)
            case Chunk():
                self._on_piece(reply)
            case WorkerReplaced():
                self._begin_again()
            case LoadReply():
                self._on_load_reply(reply)

    def _on_answer(self, answer: WorkerResponse) -> None:
        call = self._call_of(answer.id)
        self._owner.on_response(self, call, answer)
        if answer.in_place:
            self.calls.remove(call)
        elif not answer.more:
            self._done(call)
        elif call.cancelled:
            self.cancel(call)

    def _on_piece(self, piece: Chunk) -> None:
        if not self.calls:
            raise GarbledReplyError("a piece of no answer")
        call = self.calls[0]
        self._owner.on_chunk(self, call, piece)
        if piece.data is None:
            self._done(call)
        elif call.cancelled:
            self.cancel(call)

    def _call_of(self, request_id: bytes) -> Invocation:
        for call in self.calls:
            if call.id == request_id:
                return call
        raise GarbledReplyError(f"no call has the id {request_id!r}")

    def _begin_again(self) -> None:
        """The worker died with those that were answered in its place; what it had not begun goes to its successor."""
        lost, self.calls = self.calls, []
        self._owner.on_unbegun(lost)
        self._owner.on_idle(self)

    def _done(self, call: Invocation) -> None:
        self.calls.remove(call)
        if not self.calls:
            self._owner.on_idle(self)

    def _on_load_reply(self, reply: LoadReply) -> None:
        try:
            told = json.loads(reply.text)
            failure = None if reply.code == 200 else Failure(**told)
        except (ValueError, TypeError) as error:
            raise GarbledReplyError(f"the reply to a load: {error}") from None
        if failure is not None:
            self._owner.on_load_failed(self, failure)
            return
        self.loaded = True
        self._owner.on_loaded(self, told)
