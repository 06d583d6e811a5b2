"""The paths below /_polyhost of a container: the page's files, the state as JSON, and the events as they come."""

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from polyhost.container.model_store.events import StoreEvents
from polyhost.container.model_store.settings import StoreSettings
from polyhost.container.model_store.start_loads import StartLoads
from polyhost.container.model_store.target_models import TargetModels
from polyhost.container.native.errors import Rejection
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.parser import HttpRequest
from polyhost.container.page.access import PageAccess
from polyhost.container.page.state import PageState
from polyhost.container.page.streams import PageStreams
from polyhost.dashboard.files import FILES, HEADERS, INDEX, ROOT, static_file

_ROOT, _STATIC = ROOT.encode(), FILES.encode()
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

Run = Callable[[Coroutine[Any, Any, None], Exchange], None]


def open_page(
    settings: StoreSettings,
    token: str,
    targets: TargetModels,
    start: StartLoads,
    front_end: str,
    memory_of: Callable[[str], int | None],
) -> "PageRoutes | None":
    """Return the page of a container with a store, or None if the settings want none."""
    if settings.page is None:
        return None
    state = PageState(targets, start, front_end, memory_of)
    return PageRoutes(PageAccess(settings.page, token), state, targets.events)


class PageRoutes:
    """Handles what browsers ask for."""

    def __init__(self, access: PageAccess, state: PageState, events: StoreEvents) -> None:
        self._access = access
        self._state = state
        self._streams = PageStreams(state.describe, events)

    def close(self) -> None:
        """End what is being sent: the container stops."""
        self._streams.close()

    def handle(self, request: HttpRequest, exchange: Exchange, run: Run) -> None:
        """Respond to a request for a path below /_polyhost. Raises Rejection."""
        self._access.check(request)
        path = request.path
        if path == _ROOT:
            exchange.respond(HTTPStatus.TEMPORARY_REDIRECT, [(b"location", _ROOT + b"/")], b"")
        elif path == _ROOT + b"/":
            _send_file(INDEX, exchange)
        elif path.startswith(_STATIC):
            _send_file(path.removeprefix(_STATIC).decode(errors="replace"), exchange)
        elif path == _ROOT + b"/state":
            exchange.respond(200, _JSON, json.dumps(self._state.describe()).encode())
        elif path == _ROOT + b"/events" and request.method == b"GET":
            run(self._streams.open(request, exchange), exchange)
        else:
            raise _missing(path)


def _send_file(name: str, exchange: Exchange) -> None:
    found = static_file(name)
    if found is None:
        raise _missing(name.encode())
    exchange.respond(200, [(b"content-type", found.content_type.encode()), *_HEADERS], found.content)


def _missing(path: bytes) -> Rejection:
    return Rejection(HTTPStatus.NOT_FOUND, "NoRouteError", f"the page has no {path.decode(errors='replace')!r}")
