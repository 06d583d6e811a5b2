"""One client's connection: pipelined requests, answered in the order in which they came."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import cast

from polyhost.container.native.errors import Rejection, internal_error, pending_bytes_exceeded
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.flow_control import HIGH_WATER_BYTES, FlowControl
from polyhost.container.native.header_cache import HeaderCache
from polyhost.container.native.parser import HttpRequest, ReadState, RequestParser
from polyhost.container.native.queue import PendingBytes, PendingShare
from polyhost.events import get_logger

_LINGER_S = 5.0
_UNCONNECTED = asyncio.Transport()  # its methods raise NotImplementedError
_UNREADABLE = HttpRequest(b"", b"", b"", [], b"", keep_alive=False, accepts_chunks=False)

logger = get_logger(__name__)


class ConnectionState(Enum):
    """What may still come from the client, and go to it."""

    OPEN = "open"  # requests are read and answered
    DRAINING = "draining"  # nothing more is read; the requests that have been read are answered, then it closes
    REJECTING = "rejecting"  # the same, then the unreadable rest is rejected; the client may still be sending it
    LINGERING = "lingering"  # all is sent and our half closed; what the client still sends is thrown away
    CLOSED = "closed"  # the transport is closed, or closes when it has sent what it holds


_TRANSITIONS: dict[ConnectionState, frozenset[ConnectionState]] = {
    ConnectionState.OPEN: frozenset({ConnectionState.DRAINING, ConnectionState.REJECTING, ConnectionState.CLOSED}),
    ConnectionState.DRAINING: frozenset({ConnectionState.CLOSED}),
    ConnectionState.REJECTING: frozenset({ConnectionState.LINGERING, ConnectionState.CLOSED}),
    ConnectionState.LINGERING: frozenset({ConnectionState.CLOSED}),
    ConnectionState.CLOSED: frozenset({ConnectionState.CLOSED}),
}

# Looking a member up on its class takes three times as long as a global.
_OPEN, _AWAITING_CONTINUE = ConnectionState.OPEN, ReadState.AWAITING_CONTINUE

RequestHandler = Callable[[HttpRequest, Exchange], None]


class ClientConnection(asyncio.Protocol):
    """Reads requests, starts one exchange after the other, and ends the connection.

    At most one exchange is under way; so responses leave in the order of their requests. Requests that arrive then
    stand in `_pending`, and while any does, reading is paused: the queue never grows beyond what one read has brought.
    While the client is slow (`write_paused`), no exchange begins either. Invariant, outside of `_pump`: where
    `_pending` holds anything, an exchange is under way or writing is paused, and the end of either calls `_pump`.

    `handle` responds through the exchange, at once or later, or raises Rejection.
    """

    def __init__(
        self,
        handle: RequestHandler,
        max_body_bytes: int,
        connections: "set[ClientConnection]",
        pending: PendingBytes,
        cache_headers: bool = True,
    ) -> None:
        self.header_cache = HeaderCache(cache_headers)
        self.may_manage: bool | None = None  # known once it asks for management (management.py)
        self._handle = handle
        self._connections = connections  # holds this one while it is connected
        self._parser = RequestParser(max_body_bytes, self._on_request)
        self._transport = _UNCONNECTED
        self._flow = FlowControl(_UNCONNECTED)
        self._state = _OPEN
        self._pending: deque[HttpRequest | Rejection] = deque()  # a rejection is the last
        self._share = PendingShare(pending)  # of the bytes of what is arriving, and of what is in `_pending`
        self._exchange: Exchange | None = None
        self._pumping = False

    @property
    def busy(self) -> bool:
        """Whether the client waits for a response."""
        return self._exchange is not None or bool(self._pending)

    # Events of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._flow = FlowControl(self._transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        exchange = self._exchange
        self._shut()
        if exchange is not None:
            exchange.on_disconnected()

    def data_received(self, data: bytes) -> None:
        if self._state is not _OPEN:
            return
        try:
            self._parser.feed(data)
        except Rejection as rejection:
            if self._state is _OPEN:  # else a response within `feed` has closed it, and what follows does not count
                self._reject_rest(rejection)
            return
        if self._parser.body_bytes or self._pending or self._share.size:
            self._count_bytes()
            if self._parser.body_bytes and self._share.exceeded and self._state is _OPEN:
                self._reject_rest(pending_bytes_exceeded("", self._share.limit))
                return
        if self._parser.state is _AWAITING_CONTINUE and self._state is _OPEN and not self.busy:
            self._send_continue()

    def pause_writing(self) -> None:
        self._flow.on_write_paused()
        if self._exchange is not None:
            self._exchange.on_write_paused()

    def resume_writing(self) -> None:
        self._flow.on_write_resumed()
        if self._exchange is not None:
            self._exchange.on_write_resumed()
        elif not self._pumping:
            self._pump()

    # Requests

    def _on_request(self, request: HttpRequest) -> None:
        if self._state is not _OPEN:  # the response before it has announced the end
            return
        if self._exchange is None and not self._flow.write_paused:
            self._start(request)
        else:
            self._pending.append(request)
            self._flow.pause_reading()

    def _count_bytes(self) -> None:
        waiting = sum(len(request.body) for request in self._pending if isinstance(request, HttpRequest))
        self._share.set(self._parser.body_bytes + waiting)

    def _start(self, request: HttpRequest) -> None:
        exchange = self._exchange = Exchange(request, self._transport, self)
        try:
            self._handle(request, exchange)
        except Rejection as rejection:
            exchange.reject(rejection)
        except Exception:
            logger.exception("failed to handle a request")
            exchange.reject(internal_error())
        request.body = b""  # whoever needs it has it by now; it may be large, and the response far off

    def _start_rejection(self, rejection: Rejection) -> None:
        exchange = self._exchange = Exchange(_UNREADABLE, self._transport, self)
        exchange.reject(rejection)

    def _reject_rest(self, rejection: Rejection) -> None:
        """Reject what cannot be read and all that follows it, after the responses to the requests before it."""
        self._enter(ConnectionState.REJECTING)
        self._parser.close()
        self._pending.append(rejection)
        self._count_bytes()
        if self._exchange is None:
            self._pump()

    def _pump(self) -> None:
        """Start pending exchanges until one has to wait, and see to what follows the last.

        Exchanges mostly end at once, and their end would call this again: hence a loop and `_pumping`, for thousands of
        requests may have come together.
        """
        self._pumping = True
        while self._pending and self._exchange is None and not self._flow.write_paused:
            pending = self._pending.popleft()
            if isinstance(pending, Rejection):
                self._start_rejection(pending)
            else:
                self._start(pending)
        self._pumping = False
        if self._share.size:
            self._count_bytes()
        if self._pending:
            return
        if self._flow.read_paused:  # though the last exchange may be under way: its client may disconnect
            self._flow.resume_reading()
            self._parser.restart_clock()
        if self._exchange is not None:
            return
        if self._state is not _OPEN:
            self._close_after_responses()
        elif self._parser.state is _AWAITING_CONTINUE:
            self._send_continue()

    def _send_continue(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._parser.on_continue_sent()

    # Owner of the exchange

    @property
    def write_paused(self) -> bool:
        return self._flow.write_paused

    @property
    def closes_next(self) -> bool:
        return self._state is not _OPEN and not self._pending

    def on_exchange_complete(self, keep_alive: bool) -> None:
        self._exchange = None
        if not keep_alive:
            self._pending.clear()
            if self._state is _OPEN:
                self._enter(ConnectionState.DRAINING)
        if not self._pumping:
            self._pump()

    def on_exchange_aborted(self) -> None:
        """Forget the rest: the exchange has closed the transport."""
        self._shut()

    # Ends

    def close_when_idle(self) -> None:
        """Answer what has been read, read nothing more, and close: the container is stopping."""
        if not self.busy:
            self._transport.close()
            self._shut()
        elif self._state is _OPEN:
            self._enter(ConnectionState.DRAINING)

    def reject_if_stalled(self, before: float) -> None:
        """Reject a request that began to arrive before `before` and is still not whole."""
        if self._state is _OPEN and not self.busy and self._parser.is_reading_since_before(before):
            message = "the request did not arrive in time"
            self._reject_rest(Rejection(HTTPStatus.REQUEST_TIMEOUT, "SlowRequestError", message))

    def close_if_idle(self, before: float) -> None:
        """Close the connection if nothing has happened on it since `before`.

        Has to be called every few seconds, because the end of a response is noticed here only.
        """
        if self._state is not _OPEN or self._parser.state is not ReadState.IDLE:
            return
        if self.busy:
            self._parser.restart_clock()
        elif self._parser.is_idle_since_before(before):
            self._transport.close()
            self._shut()

    def abort_if_stuck(self, before: float) -> None:
        """Disconnect a client that has taken nothing since `before` of what it was sent."""
        if self._flow.is_stuck(before):
            self._transport.abort()

    def abort(self) -> None:
        """Disconnect the client, whatever it waits for."""
        self._transport.abort()

    def _close_after_responses(self) -> None:
        """Close, but linger where bytes may be left unread.

        TCP resets a connection that is closed with bytes unread, and the response may be lost with it (RFC 9112, 9.6).
        """
        if self._state is ConnectionState.REJECTING:
            self._enter(ConnectionState.LINGERING)
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)
        elif self._state is ConnectionState.DRAINING:
            self._transport.close()
            self._shut()

    def _shut(self) -> None:
        self._enter(ConnectionState.CLOSED)
        self._parser.close()
        self._pending.clear()
        self._share.set(0)
        self._exchange = None

    def _enter(self, state: ConnectionState) -> None:
        assert state in _TRANSITIONS[self._state], f"{self._state} -> {state}"
        self._state = state
