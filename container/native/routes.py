"""The HTTP API: what each path and method does. docs/conformance.md has the same as a table."""

import asyncio
import base64
import binascii
import itertools
import json
import os
import reprlib
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from polyhost.container.config import Config
from polyhost.container.native.encoder import encode_invocation, encode_parameters
from polyhost.container.native.errors import Rejection, bad_request, internal_error
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.management import ManagementGuard, forbidden
from polyhost.container.native.models import SINGLE, Models
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.served_model import ServedModel
from polyhost.events import get_logger

_JSON = (b"content-type", b"application/json")
_DEFAULT_LIST_LIMIT = 100
_MAX_LIST_LIMIT = 1000
_MODELS, _INVOKE = b"/models/", b"/invoke"

logger = get_logger(__name__)


class Routes:
    """Handles each request: responds at once, or starts what will respond later."""

    def __init__(self, config: Config, models: Models, fork_server: ForkServerClient) -> None:
        self._config = config
        self._models = models
        self._fork_server = fork_server
        self._guard = ManagementGuard()
        self._ids = itertools.count(1)
        self._id_prefix = os.urandom(4).hex().encode()  # request ids of two containers differ
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: HttpRequest, exchange: Exchange) -> None:
        """Respond to the request, now or later. Raise Rejection if it cannot be fulfilled."""
        path = request.path
        if path.startswith(_MODELS) and path.endswith(_INVOKE) and len(path) > len(_MODELS) + len(_INVOKE):
            self._allow(request, b"POST")
            self._invoke(_decode_name(path[len(_MODELS) : -len(_INVOKE)]), request, exchange)
        elif path == b"/ping":
            self._allow(request, b"GET", b"POST")
            self._ping(exchange)
        elif path == b"/invocations":
            self._allow(request, b"POST")
            self._invoke(self._target_model(request), request, exchange)
        elif path in (b"/models", b"/metrics") or path.startswith(_MODELS):
            self._manage_if_allowed(request, exchange)
        elif path == b"/execution-parameters" and not self._config.multi_model:
            self._allow(request, b"GET")
            self._execution_parameters(exchange)
        else:
            raise _no_route(path)

    def _manage_if_allowed(self, request: HttpRequest, exchange: Exchange) -> None:
        """Manage models for everybody but the container's own models."""
        ends = exchange.addresses
        if exchange.may_manage is None and self._guard.is_remote(*ends):
            exchange.may_manage = True
        if exchange.may_manage is not None:
            self._manage(request, exchange)
            return
        body = request.body  # the connection drops it after this call

        async def respond() -> None:
            exchange.may_manage = not await asyncio.to_thread(self._guard.is_model, *ends)
            request.body = body
            self._manage(request, exchange)

        self._run_in_background(respond(), exchange)

    def _manage(self, request: HttpRequest, exchange: Exchange) -> None:
        path = request.path
        if not exchange.may_manage:
            raise forbidden()
        if path == b"/models":
            self._allow(request, b"GET", *self._if_multi_model(b"POST"))
            if request.method == b"GET":
                self._list_models(request, exchange)
            else:
                self._load_model(request, exchange)
        elif path == b"/metrics":
            self._allow(request, b"GET")
            self._metrics(exchange)
        elif b"/" not in path[len(_MODELS) :] and len(path) > len(_MODELS):
            self._allow(request, b"GET", *self._if_multi_model(b"DELETE"))
            name = _decode_name(path[len(_MODELS) :])
            if request.method == b"GET":
                _respond_json(exchange, _describe(self._models.get_loaded(name)))
            else:
                self._unload_model(name, exchange)
        else:
            raise _no_route(path)

    @staticmethod
    def _allow(request: HttpRequest, *methods: bytes) -> None:
        if request.method not in methods:
            allowed = ", ".join(method.decode() for method in methods)
            message = f"method {request.method.decode()} is not allowed here; use {allowed}"
            raise Rejection(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedError", message, allow=allowed)

    def _if_multi_model(self, method: bytes) -> tuple[bytes, ...]:
        return (method,) if self._config.multi_model else ()

    # The container

    def _ping(self, exchange: Exchange) -> None:
        """Report liveness, not readiness: one bad model must not take the instance out of service."""
        if not self._fork_server.healthy:
            message = "the fork server does not respond: no model can be loaded"
            raise Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "UnhealthyError", message)
        if not self._config.multi_model and not self._models.get(SINGLE).loaded:
            raise Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "NotReadyError", "the model is still loading")
        exchange.respond(200, [_JSON], b'{"status": "Healthy"}')

    def _metrics(self, exchange: Exchange) -> None:
        async def respond() -> None:
            from polyhost.container.native import metrics  # imported late: serving does not need its library

            samples = self._models.snapshot()
            content_type, text = await asyncio.to_thread(metrics.render, samples)
            exchange.respond(200, [(b"content-type", content_type)], text)

        self._run_in_background(respond(), exchange)

    def _execution_parameters(self, exchange: Exchange) -> None:
        """Tell batch transform how to send (SageMaker developer guide, your-algorithms-batch-code)."""
        parameters = {
            "MaxConcurrentTransforms": self._config.workers or self._config.max_workers,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": self._config.max_payload_bytes >> 20,
        }
        _respond_json(exchange, parameters)

    # Models

    def _list_models(self, request: HttpRequest, exchange: Exchange) -> None:
        parameters = dict(request.parameters())
        after = _decode_page_token(parameters.get("next_page_token", ""))
        models, more = self._models.list_page(after, _parse_limit(parameters.get("limit", "")))
        listed: dict[str, Any] = {"models": [_describe(model) for model in models]}
        if more:
            listed["nextPageToken"] = _encode_page_token(models[-1].name)
        _respond_json(exchange, listed)

    def _load_model(self, request: HttpRequest, exchange: Exchange) -> None:
        load = LoadRequest.parse(request)

        async def respond() -> None:
            await self._models.load(load)
            _respond_json(exchange, {"status": "loaded", "modelName": load.name})

        self._run_in_background(respond(), exchange)

    def _unload_model(self, name: str, exchange: Exchange) -> None:
        async def respond() -> None:
            await self._models.unload(name)
            _respond_json(exchange, {"status": "unloaded", "modelName": name})

        self._run_in_background(respond(), exchange)

    def _run_in_background(self, work: Coroutine[Any, Any, None], exchange: Exchange) -> None:
        """Run `work` as a task. It goes on if the client disconnects, as in SageMaker's other containers."""

        async def run() -> None:
            try:
                await work
            except Rejection as rejection:
                exchange.reject(rejection)
            except Exception:
                logger.exception("failed to handle a request")
                exchange.reject(internal_error())

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Invocations

    def _target_model(self, request: HttpRequest) -> str:
        if not self._config.multi_model:
            return SINGLE
        name = dict(request.parameters()).get("model_name")
        if not name:
            raise bad_request("this container serves many models: POST /models/NAME/invoke, or add ?model_name=NAME")
        return name

    def _invoke(self, name: str, request: HttpRequest, exchange: Exchange) -> None:
        model = self._models.get(name)
        request_id = b"%b-%08x" % (self._id_prefix, next(self._ids))
        parameters = encode_parameters(request.parameters()) if request.query else b""
        command = encode_invocation(request_id, exchange.encode_headers(), parameters, request.body)
        invocation = exchange.invocation = Invocation(request_id, command, model, exchange, request.arrived)
        model.submit(invocation)


def _no_route(path: bytes) -> Rejection:
    return Rejection(HTTPStatus.NOT_FOUND, "NoRouteError", f"no route for {path.decode(errors='replace')!r}")


def _respond_json(exchange: Exchange, content: dict[str, Any]) -> None:
    exchange.respond(200, [_JSON], json.dumps(content).encode())


def _describe(model: ServedModel) -> dict[str, Any]:
    return {"modelName": model.name, "modelUrl": model.url}


def _decode_name(segment: bytes) -> str:
    try:
        return unquote(segment.decode(), errors="strict")
    except UnicodeDecodeError:
        raise bad_request(f"invalid model name {segment!r}: not UTF-8") from None


def _encode_page_token(last_name: str) -> str:
    return base64.urlsafe_b64encode(last_name.encode()).decode()


def _decode_page_token(token: str) -> str:
    """Return the name after which the list page begins."""
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise bad_request(f"invalid next_page_token {token!r}") from None


def _parse_limit(value: str) -> int:
    if not value:
        return _DEFAULT_LIST_LIMIT
    if not value.isdecimal() or len(value) > 4 or not 1 <= int(value) <= _MAX_LIST_LIMIT:
        message = f"limit is {reprlib.repr(value)}; it must be a whole number from 1 to {_MAX_LIST_LIMIT}"
        raise bad_request(message)
    return int(value)
