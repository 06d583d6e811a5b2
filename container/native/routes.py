"""The HTTP API: what each path and method does. docs/conformance.md has the same as a table."""

import asyncio
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from polyhost.container.config import Config
from polyhost.container.native.errors import Rejection, bad_request
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation_sender import InvocationSender
from polyhost.container.native.list_page import decode_page_token, encode_page_token, parse_limit
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.management import ManagementGuard, forbidden
from polyhost.container.native.models import SINGLE, Models
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.request_tasks import RequestTasks
from polyhost.container.native.served_model import ServedModel
from polyhost.container.native.target_routes import TargetRoutes

_JSON = (b"content-type", b"application/json")
_MAX_TRANSFORMS_MB = 100  # of all requests of a transform job at the same time (botocore, MaxPayloadInMB)
_MODELS, _INVOKE = b"/models/", b"/invoke"


class Routes:
    """Handles each request: responds at once, or starts what will respond later."""

    def __init__(
        self, config: Config, models: Models, fork_server: ForkServerClient, targets: TargetRoutes | None = None
    ) -> None:
        """`targets`: of a container with a model store."""
        self._config = config
        self._models = models
        self._fork_server = fork_server
        self._targets = targets
        self._guard = ManagementGuard(config.model_uids)
        self._sender = InvocationSender()
        self._tasks = RequestTasks()

    def handle(self, request: HttpRequest, exchange: Exchange) -> None:
        """Respond to the request, now or later. Raise Rejection if it cannot be fulfilled."""
        if self._targets is not None and self._targets.handle(request, exchange, self._tasks.run):
            return
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

        self._tasks.run(respond(), exchange)

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
                _respond_json(exchange, self._describe(self._models.get_loaded(name)))
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
            store = None if self._targets is None else self._targets.metrics()
            content_type, text = await asyncio.to_thread(metrics.render, samples, store)
            exchange.respond(200, [(b"content-type", content_type)], text)

        self._tasks.run(respond(), exchange)

    def _execution_parameters(self, exchange: Exchange) -> None:
        """Tell batch transform how to send (SageMaker developer guide, your-algorithms-batch-code)."""
        concurrency = self._config.workers or self._config.max_workers
        payload_mb = min(self._config.max_payload_bytes >> 20, max(1, _MAX_TRANSFORMS_MB // concurrency))
        parameters = {
            "MaxConcurrentTransforms": concurrency,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": payload_mb,
        }
        _respond_json(exchange, parameters)

    # Models

    def _list_models(self, request: HttpRequest, exchange: Exchange) -> None:
        parameters = dict(request.parameters())
        after = decode_page_token(parameters.get("next_page_token", ""))
        models, more = self._models.list_page(after, parse_limit(parameters.get("limit", "")))
        listed: dict[str, Any] = {"models": [self._describe(model) for model in models]}
        if more:
            listed["nextPageToken"] = encode_page_token(models[-1].name)
        _respond_json(exchange, listed)

    def _describe(self, model: ServedModel) -> dict[str, Any]:
        more = {} if self._targets is None else self._targets.describe(model.name)
        return {"modelName": model.name, "modelUrl": model.url, **more}

    def _load_model(self, request: HttpRequest, exchange: Exchange) -> None:
        load = LoadRequest.parse(request)

        async def respond() -> None:
            await self._models.load(load)
            _respond_json(exchange, {"status": "loaded", "modelName": load.name})

        self._tasks.run(respond(), exchange)

    def _unload_model(self, name: str, exchange: Exchange) -> None:
        async def respond() -> None:
            await self._models.unload(name)
            _respond_json(exchange, {"status": "unloaded", "modelName": name})

        self._tasks.run(respond(), exchange)

    # Invocations

    def _target_model(self, request: HttpRequest) -> str:
        if not self._config.multi_model:
            return SINGLE
        name = dict(request.parameters()).get("model_name")
        if not name:
            raise bad_request("this container serves many models: POST /models/NAME/invoke, or add ?model_name=NAME")
        return name

    def _invoke(self, name: str, request: HttpRequest, exchange: Exchange) -> None:
        self._sender.send(self._models.get(name), request, exchange, exchange)


def _no_route(path: bytes) -> Rejection:
    return Rejection(HTTPStatus.NOT_FOUND, "NoRouteError", f"no route for {path.decode(errors='replace')!r}")


def _respond_json(exchange: Exchange, content: dict[str, Any]) -> None:
    exchange.respond(200, [_JSON], json.dumps(content).encode())


def _decode_name(segment: bytes) -> str:
    try:
        return unquote(segment.decode(), errors="strict")
    except UnicodeDecodeError:
        raise bad_request(f"invalid model name {segment!r}: not UTF-8") from None
