"""The live data of the page: server-sent events, to each browser that looks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from polyhost.container.model_store.events import StoreEvents
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.parser import HttpRequest
from polyhost.dashboard.server_sent import CONTENT_TYPE, STATE_PERIOD_S, server_sent_event

_HEADERS = [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]


class PageStreams:
    """Sends the events that there were and those that come, and the state every second, until a browser leaves."""

    def __init__(self, state: Callable[[], dict[str, Any]], events: StoreEvents) -> None:
        self._state = state
        self._events = events
        self._closing = asyncio.Event()

    def open(self, request: HttpRequest, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Begin a stream; what is returned is to be run, and ends with it."""
        return _EventStream(request, exchange).run(self._state, self._events, self._closing)

    def close(self) -> None:
        """End all streams: the container stops."""
        self._closing.set()


class _EventStream:
    """One stream. To its exchange it is an invocation's model, and the source of its response."""

    def __init__(self, request: HttpRequest, exchange: Exchange) -> None:
        self._exchange = exchange
        self._invocation = exchange.invocation = Invocation(b"page", b"", self, exchange, request.arrived)
        self._invocation.connection, self._invocation.streaming = self, True
        self._paused = False

    async def run(self, state: Callable[[], dict[str, Any]], events: StoreEvents, closing: asyncio.Event) -> None:
        response = WorkerResponse(self._invocation.id, 200, b"", _HEADERS, b"", more=True)
        self._exchange.on_response(self._invocation, response)
        seen = 0
        while not (self._invocation.cancelled or closing.is_set()):
            if not self._paused:
                fresh, seen = events.since(seen)
                parts = [server_sent_event("event", event) for event in fresh]
                self._send(Chunk("".join((*parts, server_sent_event("state", state()))).encode()))
            await _wait(closing, STATE_PERIOD_S)
        self._send(Chunk(None))

    def _send(self, chunk: Chunk) -> None:
        if not self._invocation.cancelled:
            self._exchange.on_chunk(self._invocation, chunk)

    # For the exchange

    def on_cancelled(self, invocation: Invocation) -> None:
        """Stop: the browser has left."""

    def pause(self) -> None:
        """Send nothing: the browser does not take what it is sent."""
        self._paused = True

    def resume(self) -> None:
        """Send again."""
        self._paused = False


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
