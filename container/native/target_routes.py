"""Invocations by the name of a model in the store, by the container's API and by AWS's runtime API."""

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from polyhost.container.model_store.counters import StoreMetrics
from polyhost.container.model_store.errors import NOT_READY, failure_of, kind_of
from polyhost.container.model_store.serving import ServingVersion
from polyhost.container.model_store.start_loads import StartLoads, StartState
from polyhost.container.model_store.target_models import TargetModels
from polyhost.container.native.access import Access
from polyhost.container.native.endpoint_callers import EndpointCaller, EventStreamCaller
from polyhost.container.native.errors import Rejection, bad_request, pending_bytes_exceeded
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Caller
from polyhost.container.native.parser import Header, HttpRequest
from polyhost.container.native.queue import PendingBytes
from polyhost.container.page.measured import MeasuredCaller
from polyhost.container.page.routes import PageRoutes
from polyhost.dashboard.files import ROOT as PAGE_ROOT
from polyhost.model_cache.errors import ModelServingError
from polyhost.runtime_api.errors import AwsError, ValidationError
from polyhost.runtime_api.headers import STREAMED_ACCEPT, TARGET_MODEL, TO_CONTAINER

_JSON = (b"content-type", b"application/json")
_TARGET = TARGET_MODEL.lower().encode()
_TARGET_BYTES = len(_TARGET)
_TO_MODEL = frozenset(name.lower().encode() for name in TO_CONTAINER.values())
_ENDPOINTS, _MODELS, _INVOKE = b"/endpoints/", b"/models/", b"/invoke"
_PAGE = PAGE_ROOT.encode()

RunInBackground = Callable[[Coroutine[Any, Any, None], "Answer"], None]


class Answer(Protocol):
    """What can tell the client that nothing came of its request."""

    def reject(self, rejection: Rejection) -> None: ...


class AnsweringCaller(Caller, Answer, Protocol):
    """A caller of an invocation that may never be begun."""


class Backend(Protocol):
    """Where the models are."""

    def submit(self, key: str, request: HttpRequest, exchange: Exchange, caller: Caller) -> None:
        """Invoke the model that the cache has loaded under this key. Raises Rejection."""

    def memory_of(self, key: str) -> int | None:
        """Return the bytes that a loaded model takes, if that is known."""


class TargetRoutes:
    """Handles what is asked of a container with a model store; the rest is as without one (Routes)."""

    def __init__(
        self,
        targets: TargetModels,
        backend: Backend,
        start: StartLoads,
        pending: PendingBytes,
        timeout_s: float,
        access: Access,
        page: PageRoutes | None = None,
    ) -> None:
        """`timeout_s`: how long a client waits for a load, which goes on."""
        self._targets = targets
        self._backend = backend
        self._start = start
        self._pending = pending
        self._timeout_s = timeout_s
        self._page = page
        self._access = access
        self._draining = False

    def handle(self, request: HttpRequest, exchange: Exchange, run: RunInBackground) -> bool:
        """Respond to the request, now or later, and return True; or return False. Raises Rejection."""
        if self._draining:
            request.keep_alive = False
        path = request.path
        if path == b"/invocations":
            self._access.check(request)
            self._invoke_target(request, exchange, run)
        elif path.startswith(_ENDPOINTS):
            self._invoke_endpoint(request, exchange, run)
        elif path == b"/ready":
            self._ready(request, exchange)
        elif path == b"/ping":
            return False
        elif self._page is not None and path.startswith(_PAGE):
            self._page.handle(request, exchange, run)
        else:
            self._access.check(request)
            if not (path.startswith(_MODELS) and path.endswith(_INVOKE) and len(path) > len(_MODELS) + len(_INVOKE)):
                return self._check_management(request)
            _only_post(request)
            name = unquote(path[len(_MODELS) : -len(_INVOKE)].decode(errors="replace"))
            self._invoke(name, request, exchange, exchange, run)
        return True

    def drain(self) -> None:
        """Serve on, but have clients go elsewhere: not ready, and each connection ends with its next response."""
        self._draining = True
        if self._page is not None:
            self._page.close()

    def describe(self, name: str) -> dict[str, Any]:
        """Return what the list of models says of one besides its name and folder."""
        serving = self._targets.target(name)
        if serving is None:
            return {}
        return {
            "version": serving.version.number,
            "lastUsed": int(serving.copy.last_used),
            "pinned": serving.copy.pinned,
        }

    def metrics(self) -> StoreMetrics:
        """Return what /metrics says of the store."""
        return StoreMetrics(self._targets.counters, self._targets.levels())

    # The container's API

    def _invoke_target(self, request: HttpRequest, exchange: Exchange, run: RunInBackground) -> None:
        _only_post(request)
        name = _target_of(request.headers)
        if name is None:
            raise bad_request(f"the request names no model: send the header {TARGET_MODEL}, such as churn.tar.gz")
        self._invoke(name, request, exchange, exchange, run)

    def _ready(self, request: HttpRequest, exchange: Exchange) -> None:
        """Tell everybody whether, as load balancers have no token; and which models only to those who have it."""
        ready = self._start.state is StartState.READY and not self._draining
        described = self._start.describe() if self._access.has_token(request) else {"status": self._start.state.value}
        described |= {"status": "stopping"} if self._draining else {}
        exchange.respond(200 if ready else 503, [_JSON], json.dumps(described).encode())

    def _check_management(self, request: HttpRequest) -> bool:
        if request.method in (b"POST", b"DELETE", b"PUT") and request.path.startswith(b"/models"):
            message = (
                "this container loads and unloads the models of its store itself: invoke one by the header"
                f" {TARGET_MODEL}, or leave out POLYHOST_MODEL_STORE"
            )
            raise Rejection(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedError", message, allow="GET")
        return False

    # AWS's runtime API

    def _invoke_endpoint(self, request: HttpRequest, exchange: Exchange, run: RunInBackground) -> None:
        parts = request.path.split(b"/")
        operation = parts[3] if len(parts) == 4 and parts[2] else b""
        streams = operation == b"invocations-response-stream"
        caller = EventStreamCaller(exchange) if streams else EndpointCaller(exchange)
        try:
            if not (streams or operation == b"invocations"):
                raise Rejection(HTTPStatus.NOT_FOUND, "NoRouteError", "use /endpoints/NAME/invocations")
            _only_post(request)
            self._access.check_endpoint(request)
            name = _target_of(request.headers)
            if not name:
                raise ValidationError(f"Request {uuid.uuid4()} is missing a target model header")
            request.headers = _to_model(request.headers, streams)
            self._invoke(name, request, exchange, caller, run)
        except AwsError as error:
            caller.fail(error)
        except Rejection as rejection:
            caller.reject(rejection)

    # Both

    def _invoke(
        self, name: str, request: HttpRequest, exchange: Exchange, caller: AnsweringCaller, run: RunInBackground
    ) -> None:
        serving = self._targets.target(name)
        if serving is not None:
            self._targets.counters.hits += 1
            self._submit(serving, request, exchange, caller)
        else:
            run(self._load_and_submit(name, request, request.body, exchange, caller), caller)

    def _submit(self, serving: ServingVersion, request: HttpRequest, exchange: Exchange, caller: Caller) -> None:
        targets = self._targets
        targets.acquire(serving)
        exchange.on_end = partial(targets.release, serving)
        if self._page is not None:
            caller = MeasuredCaller(caller, serving.copy.usage)
        self._backend.submit(serving.copy.key, request, exchange, caller)

    async def _load_and_submit(
        self, name: str, request: HttpRequest, body: bytes, exchange: Exchange, caller: AnsweringCaller
    ) -> None:
        """Invoke the model once it is loaded. `body`: the connection drops the request's own in the meantime."""
        if self._pending.exceeded:
            raise pending_bytes_exceeded(name, self._pending.limit)
        self._targets.counters.misses += 1
        self._pending.total += len(body)
        try:
            serving = await self._load(name)
        finally:
            self._pending.total -= len(body)
        if exchange.pending:  # else the client has disconnected
            request.body = body
            self._submit(serving, request, exchange, caller)
            request.body = b""

    async def _load(self, name: str) -> ServingVersion:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._targets.load(name)
        except TimeoutError:
            message = f"model {name!r} is still being fetched or loaded after {self._timeout_s:g} s; try again"
            rejection = Rejection(503, NOT_READY, message, name, "load", retry_after="1")
            kind = NOT_READY
        except ModelServingError as error:
            rejection = Rejection.of(failure_of(error, name))
            kind = kind_of(error)
        self._targets.counters.failures[kind] += 1
        raise rejection


def _only_post(request: HttpRequest) -> None:
    if request.method != b"POST":
        message = f"method {request.method.decode()} is not allowed here; use POST"
        raise Rejection(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedError", message, allow="POST")


def _target_of(headers: list[Header]) -> str | None:
    """Return the name in the request's header. To compare lengths first takes a third of the time."""
    for name, value in headers:
        if len(name) == _TARGET_BYTES and name.lower() == _TARGET:
            return value.decode(errors="surrogateescape")
    return None


def _to_model(headers: list[Header], streams: bool) -> list[Header]:
    """Return the headers that the platform passes to a container; the others are AWS's own, and differ each time."""
    passed = [header for header in headers if header[0].lower() in _TO_MODEL]
    if streams:
        streamed = STREAMED_ACCEPT.encode()
        accepts = [(b"Accept", value) for name, value in headers if name.lower() == streamed]
        passed = [*(header for header in passed if header[0].lower() != b"accept"), *accepts]
    return passed
