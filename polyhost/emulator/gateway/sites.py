"""Public addresses: stages of APIs, by path or by host, and function URLs. Web pages may call them too."""

import logging
import re
from collections.abc import Awaitable, Callable

from polyhost.emulator.api.access import AccessPolicy
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
from polyhost.emulator.errors import AwsError
from polyhost.emulator.gateway.apis import Apis
from polyhost.emulator.gateway.function_urls import FunctionUrls
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse, message_response

# API Gateway takes 10 MB; a function's event has 6 MB, with the body's quotes and backslashes doubled.
MAX_BODY_BYTES = 10_485_760
_BY_PATH = re.compile(r"/restapis/(?P<id>[^/]+)(/(?P<stage>[^/]+))?/_user_request_(?P<path>/.*)?")
_BY_HOST = re.compile(r"(?P<id>[a-z0-9]+)\.(?P<kind>execute-api|lambda-url)\.(?P<region>[a-z0-9-]+)\..+")

_OWN_HEADERS = frozenset(("connection", "content-length", "transfer-encoding"))

logger = logging.getLogger(__name__)

Site = Callable[[SiteRequest], Awaitable[SiteResponse]]


class Sites:
    """An ASGI application. `others` serves what is neither an API's stage nor a function's URL."""

    def __init__(self, apis: Apis, urls: FunctionUrls, others: AsgiApplication, access: AccessPolicy) -> None:
        self._apis = apis
        self._urls = urls
        self._others = others
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._others(scope, receive, send)
            return
        site, path = found
        try:
            self._access.check_host(dict(scope["headers"]))
            body = await read_body(receive, MAX_BODY_BYTES)
        except AwsError as error:
            await send_error(send, error, b"application/json", "message")
            return
        except ClientDisconnected:
            return
        if len(body) > MAX_BODY_BYTES:
            response = message_response(413, "HTTP content length exceeded 10485760 bytes.")
        else:
            try:
                response = await site(_request(scope, path, body))
            except Exception:
                logger.exception("the request %s %s failed", scope["method"], scope["path"])
                response = message_response(500, "Internal server error")
        await send_response(send, response.status, _encoded(response.headers), response.body)

    def _find(self, scope: Scope) -> tuple[Site, str] | None:
        """Return what serves the request, and the path that it gets."""
        path: str = scope["path"]
        if by_path := _BY_PATH.fullmatch(path):
            at_id, stage = by_path["id"], by_path["stage"]
            return lambda request: self._apis.at_stage(at_id, stage, request), by_path["path"] or "/"
        headers: RequestHeaders = dict(scope["headers"])
        by_host = _BY_HOST.fullmatch(headers.get(b"host", b"").decode("latin-1").lower())
        if by_host is None:
            return None
        found_id, region = by_host["id"], by_host["region"]
        if by_host["kind"] == "lambda-url":
            return lambda request: self._urls.respond(found_id, region, request), path
        return lambda request: self._apis.at_host(found_id, request), path


def _request(scope: Scope, path: str, body: bytes) -> SiteRequest:
    client = scope.get("client") or ("127.0.0.1", 0)
    return SiteRequest(
        method=scope["method"],
        path=path,
        query=scope["query_string"].decode("latin-1"),
        # The server has them in lower case; most handlers look for the usual spelling.
        headers=tuple((_title(name), value.decode("latin-1")) for name, value in scope["headers"]),
        body=body,
        source_ip=client[0],
        protocol=f"HTTP/{scope['http_version']}",
    )


def _encoded(headers: list[tuple[str, str]]) -> ResponseHeaders:
    """Return the headers without those that are the server's own."""
    return [
        (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in headers
        if name.lower() not in _OWN_HEADERS
    ]


def _title(name: bytes) -> str:
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))
