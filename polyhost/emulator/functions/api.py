"""Lambda's API as HTTP: calls go to the functions, everything else to moto, after which the functions follow suit."""

import asyncio
import base64
import json
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from polyhost.emulator.api.asgi import (
    AsgiApplication,
    ClientDisconnected,
    Receive,
    RequestHeaders,
    ResponseHeaders,
    Scope,
    Send,
    read_body,
    send_error,
    send_response,
)
from polyhost.emulator.api.sigv4 import credential_scope
from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.errors import InvalidParameterValue, InvalidRequestContent, RequestTooLarge
from polyhost.emulator.functions.event_queue import EventQueue
from polyhost.emulator.functions.invocation import MAX_PAYLOAD_BYTES, FunctionCall
from polyhost.emulator.functions.saved_records import SavedRecords
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference

# Developer guide, gettingstarted-limits.
_MAX_BYTES = {"RequestResponse": MAX_PAYLOAD_BYTES, "Event": 1_048_576, "DryRun": MAX_PAYLOAD_BYTES}
_INVOCATIONS = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_FUNCTIONS = re.compile(r"/20\d\d-\d\d-\d\d/(functions|layers|event-source-mappings)(/.*)?")
_APIS = re.compile(r"/(restapis|apikeys|usageplans|v2/apis|v2/tags)(/.*)?")
_TYPE = b"application/json"

logger = logging.getLogger(__name__)


class FunctionsApi:
    """An ASGI application. `others` answers what is not a call of a function.

    `saved` keeps what that changes, and `on_change` is called after it.
    """

    def __init__(
        self,
        functions: Functions,
        events: EventQueue,
        saved: SavedRecords | None,
        others: AsgiApplication,
        on_change: Callable[[], None],
    ) -> None:
        self._functions = functions
        self._events = events
        self._saved = saved
        self._others = others
        self._on_change = on_change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, writes = scope["path"], scope["method"] != "GET"
        if writes and (found := _INVOCATIONS.fullmatch(path)):
            await self._invoke(found[1], scope, receive, send)
        elif writes and (_FUNCTIONS.fullmatch(path) or _APIS.fullmatch(path)):
            await self._others(scope, receive, self._when_followed(send))
        else:
            await self._others(scope, receive, send)

    def _when_followed(self, send: Send) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
        """Return a `send` that waits until nothing deleted runs any more, and the change is saved."""

        async def wait_and_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await self._functions.follow_changes()
                await asyncio.to_thread(self._on_change)
                await self._save()
            await send(message)

        return wait_and_send

    async def _save(self) -> None:
        if self._saved is not None:
            try:
                await asyncio.to_thread(self._saved.save)
            except sqlite3.Error as error:  # such as a full disk: what runs keeps running
                logger.error("cannot save functions and APIs: %s; a restart will lose the last change", error)

    async def _invoke(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers: RequestHeaders = dict(scope["headers"])
        try:
            kind = headers.get(b"x-amz-invocation-type", b"RequestResponse").decode("latin-1")
            if (limit := _MAX_BYTES.get(kind)) is None:
                raise InvalidParameterValue(f"InvocationType {kind!r} is not one of {', '.join(_MAX_BYTES)}.")
            body = await read_body(receive, limit)
            _check_payload(body, kind, limit)
            status, response_headers, content = await self._run(kind, name, scope, headers, body)
        except AwsError as error:
            await send_error(send, error, _TYPE, "Message")
        except ClientDisconnected:
            return
        except Exception as error:
            logger.exception("the call of function %s failed", name)
            await send_error(send, AwsError(f"the emulator failed: {error!r}"), _TYPE, "Message")
        else:
            await send_response(send, status, response_headers, content)

    async def _run(
        self, kind: str, name: str, scope: Scope, headers: RequestHeaders, body: bytes
    ) -> tuple[int, ResponseHeaders, bytes]:
        region, _ = credential_scope(headers)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        reference = FunctionReference.parse(name, region, query.get("Qualifier", [None])[0])
        call = FunctionCall(
            arn=reference.arn,
            payload=body or b"{}",
            client_context=_client_context(headers),
        )
        spec = await asyncio.to_thread(self._functions.require, reference)
        response_headers = [
            (b"x-amzn-requestid", call.request_id.encode()),
            (b"x-amz-executed-version", spec.version.encode()),
        ]
        if kind == "DryRun":
            return 204, response_headers, b""
        if kind == "Event":
            self._events.add(reference, call)
            return 202, response_headers, b""
        _, result = await self._functions.invoke(reference, call)
        response_headers.append((b"content-type", _TYPE))
        if result.failed:
            response_headers.append((b"x-amz-function-error", b"Unhandled"))
        if headers.get(b"x-amz-log-type", b"") == b"Tail":
            response_headers.append((b"x-amz-log-result", base64.b64encode(result.log.encode())))
        return 200, response_headers, result.payload


def _check_payload(body: bytes, kind: str, limit: int) -> None:
    if len(body) > limit:
        raise RequestTooLarge(
            f"{len(body)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)", Type="User"
        )
    try:
        json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidRequestContent(f"Could not parse request body into json: {error}", Type="User") from None


def _client_context(headers: RequestHeaders) -> str:
    encoded = headers.get(b"x-amz-client-context", b"")
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.", Type="User") from None
