"""Payload 2.0: of function URLs, and of HTTP APIs (API Gateway guide, http-api-develop-integrations-lambda)."""

import base64
import json
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.gateway.http_types import EventTarget, SiteRequest, SiteResponse
from polyhost.emulator.gateway.payload_v1 import MalformedResponseError, decoded

DEFAULT = "$default"  # the route and the stage of requests that name none
_TEXT = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form-urlencoded")
_MEMBERS = frozenset(("statusCode", "headers", "body", "cookies", "isBase64Encoded"))


def url_target(domain: str, path: str) -> EventTarget:
    """Return what a request to a function URL is for."""
    identifier = domain.partition(".")[0]
    return EventTarget(identifier, domain, DEFAULT, DEFAULT, path, path, path)


def event_v2_of(request: SiteRequest, target: EventTarget) -> dict[str, Any]:
    """Return the event for a function."""
    binary = bool(request.body) and is_not_text(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": target.resource_id,
        "rawPath": target.event_path,
        "rawQueryString": request.query,
        "headers": _joined(request.headers, lower=True),
        "requestContext": _context_v2(request, target),
        "isBase64Encoded": binary,
    }
    if target.path_parameters:
        event["pathParameters"] = target.path_parameters
    if target.stage_variables:
        event["stageVariables"] = target.stage_variables
    if parameters := _joined(request.parameters):
        event["queryStringParameters"] = parameters
    if cookies := request.header("cookie"):
        event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
        del event["headers"]["cookie"]
    if request.body:
        event["body"] = base64.b64encode(request.body).decode() if binary else request.body.decode("utf-8", "replace")
    return event


def is_not_text(request: SiteRequest) -> bool:
    """Return whether the body goes into the event as base64."""
    return not (request.header("content-type") or "").startswith(_TEXT)


def response_v2_of(payload: bytes) -> SiteResponse:
    """Return the response that a function's result describes; without a statusCode the result is the body.

    Raises MalformedResponseError.
    """
    try:
        result = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedResponseError(f"it is not JSON: {error}") from error
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result if isinstance(result, str) else json.dumps(result)
        return SiteResponse(200, [("Content-Type", "application/json")], text.encode())
    status, headers = result["statusCode"], result.get("headers") or {}
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
        raise MalformedResponseError(f"its statusCode is {status!r}")
    if not isinstance(headers, dict) or not result.keys() <= _MEMBERS:
        raise MalformedResponseError("its headers are not an object, or it has unknown members")
    body = result.get("body") or ""
    body = body if isinstance(body, str) else json.dumps(body)
    content = decoded(body) if result.get("isBase64Encoded") else body.encode()
    sent = [(str(name), str(value)) for name, value in headers.items()]
    sent += [("Set-Cookie", str(cookie)) for cookie in result.get("cookies") or []]
    if not any(name.lower() == "content-type" for name, _ in sent):
        sent.append(("Content-Type", "application/json"))
    return SiteResponse(status, sent, content)


def _context_v2(request: SiteRequest, target: EventTarget) -> dict[str, Any]:
    now = time.time()
    return {
        "accountId": ACCOUNT,
        "apiId": target.api_id,
        "domainName": target.domain,
        "domainPrefix": target.api_id,
        "http": {
            "method": request.method,
            "path": target.full_path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": request.header("user-agent"),
        },
        "requestId": str(uuid.uuid4()),
        "routeKey": target.resource_id,
        "stage": target.stage,
        "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S %z"),
        "timeEpoch": int(now * 1000),
    }


def _joined(items: list[tuple[str, str]] | tuple[tuple[str, str], ...], lower: bool = False) -> dict[str, str]:
    """Return one value for each name: several are joined by commas."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in items:
        values[name.lower() if lower else name].append(value)
    return {name: ",".join(several) for name, several in values.items()}
