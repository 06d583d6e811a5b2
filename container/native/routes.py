"""What each request asks for. docs/conformance.md tells the same as a table."""

import asyncio
import base64
import binascii
import itertools
import json
import logging
import os
import reprlib
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from polyhost.container.config import Config
from polyhost.container.native.connection import ClientConnection, Request
from polyhost.container.native.encoder import encode_headers, encode_invocation, encode_parameters
from polyhost.container.native.errors import Refusal, bad_request, internal_error
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.models import SINGLE, Models
from polyhost.container.native.served_model import ServedModel

_JSON = (b"content-type", b"application/json")
_PAGE = 100
_MODELS, _INVOKE = b"/models/", b"/invoke"
# Of a name and of a url: with both, a message to the fork server has room for all of it (messages.py).
_LONGEST = 4096

logger = logging.getLogger("polyhost.native")


class Routes:
    def __init__(self, config: Config, models: Models, forks: ForkServerClient) -> None:
        self.max_body_bytes = config.max_payload_bytes
        self._config = config
        self._models = models
        self._forks = forks
        self._ids = itertools.count(1)
        self._id_prefix = os.urandom(4).hex().encode()
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request, reply: ClientConnection) -> None:
        path = request.path
        if path.startswith(_MODELS) and path.endswith(_INVOKE) and len(path) > len(_MODELS) + len(_INVOKE):
            self._allow(request, b"POST")
            self._invoke(_name(path[len(_MODELS) : -len(_INVOKE)]), request, reply)
        elif path == b"/ping":
            self._allow(request, b"GET", b"POST")
            self._ping(reply)
        elif path == b"/invocations":
            self._allow(request, b"POST")
            self._invocations(request, reply)
        elif path == b"/models":
            self._allow(request, b"GET", *self._only_multi_model(b"POST"))
            self._list(request, reply) if request.method == b"GET" else self._load(request, reply)
        elif path.startswith(_MODELS) and b"/" not in path[len(_MODELS) :] and len(path) > len(_MODELS):
            self._allow(request, b"GET", *self._only_multi_model(b"DELETE"))
            name = _name(path[len(_MODELS) :])
            self._describe(name, reply) if request.method == b"GET" else self._unload(name, reply)
        elif path == b"/metrics":
            self._allow(request, b"GET")
            self._metrics(reply)
        elif path == b"/execution-parameters" and not self._config.multi_model:
            self._allow(request, b"GET")
            self._execution_parameters(reply)
        else:
            raise _no_route(path)

    def on_client_gone(self, reply: ClientConnection) -> None:
        if reply.call is not None:
            reply.call.cancel()

    def on_slow_client(self, reply: ClientConnection, slow: bool) -> None:
        """Only an answer in pieces is held back at its worker; others are whole here already."""
        if reply.call is not None:
            reply.call.pause() if slow else reply.call.resume()

    @staticmethod
    def _allow(request: Request, *methods: bytes) -> None:
        if request.method not in methods:
            allowed = ", ".join(method.decode() for method in methods)
            message = f"{request.method.decode()} is not allowed here; use {allowed}"
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedError", message, allow=allowed)

    def _only_multi_model(self, method: bytes) -> tuple[bytes, ...]:
        return (method,) if self._config.multi_model else ()

    # Health

    def _ping(self, reply: ClientConnection) -> None:
        """Live, not ready: one bad model must not take the instance out of service."""
        if not self._forks.healthy:
            message = "the fork server does not answer: no model can be loaded"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "UnhealthyError", message)
        if not self._config.multi_model and not self._models.get(SINGLE).loaded:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "NotReadyError", "the model is still loading")
        reply.respond(200, [_JSON], b'{"status": "Healthy"}')

    def _metrics(self, reply: ClientConnection) -> None:
        async def answer() -> None:
            from polyhost.container.native import metrics  # only here: its library is not needed to serve

            snapshot = self._models.snapshot()
            content_type, page = await asyncio.to_thread(metrics.page, snapshot)
            reply.respond(200, [(b"content-type", content_type)], page)

        self._do(answer(), reply)

    def _execution_parameters(self, reply: ClientConnection) -> None:
        """For batch transform (developer guide, your-algorithms-batch-code)."""
        parameters = {
            "MaxConcurrentTransforms": self._config.workers or self._config.max_workers,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": self._config.max_payload_bytes >> 20,
        }
        reply.respond(200, [_JSON], json.dumps(parameters).encode())

    # Models

    def _list(self, request: Request, reply: ClientConnection) -> None:
        asked = dict(request.parameters())
        models, more = self._models.list_page(
            _position(asked.get("next_page_token", "")), _limit(asked.get("limit", ""))
        )
        page: dict[str, Any] = {"models": [_described(model) for model in models]}
        if more:
            page["nextPageToken"] = base64.urlsafe_b64encode(models[-1].name.encode()).decode()
        reply.respond(200, [_JSON], json.dumps(page).encode())

    def _describe(self, name: str, reply: ClientConnection) -> None:
        reply.respond(200, [_JSON], json.dumps(_described(self._models.get_loaded(name))).encode())

    def _load(self, request: Request, reply: ClientConnection) -> None:
        name, url = _load_request(request.body)

        async def answer() -> None:
            await self._models.load(name, url)
            reply.respond(200, [_JSON], json.dumps({"status": "loaded", "modelName": name}).encode())

        self._do(answer(), reply)

    def _unload(self, name: str, reply: ClientConnection) -> None:
        async def answer() -> None:
            await self._models.unload(name)
            reply.respond(200, [_JSON], json.dumps({"status": "unloaded", "modelName": name}).encode())

        self._do(answer(), reply)

    def _do(self, work: Coroutine[Any, Any, None], reply: ClientConnection) -> None:
        """Beside other requests. A client that goes away does not stop it, as with SageMaker's other containers."""

        async def done() -> None:
            try:
                await work
            except Refusal as refusal:
                reply.refuse(refusal)
            except Exception:
                logger.exception("a request could not be handled")
                reply.refuse(internal_error())

        task = asyncio.get_running_loop().create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Invocations

    def _invocations(self, request: Request, reply: ClientConnection) -> None:
        if not self._config.multi_model:
            self._invoke(SINGLE, request, reply)
            return
        name = dict(request.parameters()).get("model_name")
        if not name:
            raise bad_request("this container serves many models: POST /models/NAME/invoke, or give ?model_name=NAME")
        self._invoke(name, request, reply)

    def _invoke(self, name: str, request: Request, reply: ClientConnection) -> None:
        model = self._models.get(name)
        request_id = b"%b-%08x" % (self._id_prefix, next(self._ids))
        known, encoded = reply.encoded_headers
        if known != request.headers:
            encoded = encode_headers(request.headers)
            reply.encoded_headers = (request.headers, encoded)
        parameters = encode_parameters(request.parameters()) if request.query else b""
        command = encode_invocation(request_id, encoded, parameters, request.body)
        request.body = b""  # which may be large, and stands in the command
        call = reply.call = Invocation(request_id, command, model, reply, request.arrived)
        model.submit(call)


def _name(part: bytes) -> str:
    try:
        return unquote(part.decode(), errors="strict")
    except UnicodeDecodeError:
        raise bad_request(f"{part!r} is no name of a model: it is not UTF-8") from None


def _no_route(path: bytes) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "NoRouteError", f"there is nothing at {path.decode(errors='replace')!r}")


def _described(model: ServedModel) -> dict[str, Any]:
    return {"modelName": model.name, "modelUrl": model.url}


def _position(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise bad_request(f"next_page_token is {token!r}; give one that a page of this list has had") from None


def _limit(value: str) -> int:
    if not value:
        return _PAGE
    if not value.isdecimal() or len(value) > 4 or not 1 <= int(value) <= 1000:
        raise bad_request(f"limit is {reprlib.repr(value)}; it must be a whole number from 1 to 1000")
    return int(value)


def _load_request(body: bytes) -> tuple[str, str]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}", phase="load") from None
    if not isinstance(asked, dict):
        raise bad_request("the body must be an object with model_name and url", phase="load")
    for key in ("model_name", "url"):
        if not _is_text(asked.get(key)):
            message = f"{key} is {reprlib.repr(asked.get(key))}; it must be a text of 1 to {_LONGEST} bytes without NUL"
            raise bad_request(message, phase="load")
    return asked["model_name"], asked["url"]


def _is_text(value: Any) -> bool:
    """JSON has lone surrogates too, which are in no encoding; and no path has NUL."""
    try:
        return isinstance(value, str) and 1 <= len(value.encode()) <= _LONGEST and "\0" not in value
    except UnicodeEncodeError:
        return False
