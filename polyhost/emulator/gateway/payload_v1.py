"""Payload 1.0 of proxy integrations (API Gateway developer guide, set-up-lambda-proxy-integrations)."""

import base64
import binascii
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.gateway.http_types import EventTarget, SiteRequest, SiteResponse


class MalformedResponseError(Exception):
    """A function has returned what is no response; the message says why."""


def event_of(
    request: SiteRequest, target: EventTarget, binary: bool, api_key: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Return the event for a function. `api_key` are the id and the value of the key that was used."""
    body = base64.b64encode(request.body).decode() if binary else request.body.decode("utf-8", "replace")
    parameters, headers = _multiple(request.parameters), _multiple(request.headers)
    return {
        "resource": target.resource_path,
        "path": target.event_path,
        "httpMethod": request.method,
        "headers": _last(headers),
        "multiValueHeaders": headers or None,
        "queryStringParameters": _last(parameters),
        "multiValueQueryStringParameters": parameters or None,
        "pathParameters": target.path_parameters or None,
        "stageVariables": target.stage_variables or None,
        "requestContext": _context(request, target, api_key),
        "body": body if request.body else None,
        "isBase64Encoded": binary and bool(request.body),
    }


def response_of(result: Any, binary_types: Sequence[str], accept: str | None) -> SiteResponse:
    """Return the response that a function's result describes. Raises MalformedResponseError."""
    if not isinstance(result, dict):
        raise MalformedResponseError("it is not an object")
    if unknown := result.keys() - {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}:
        raise MalformedResponseError(f"it has unknown members: {', '.join(sorted(map(str, unknown)))}")
    body = result.get("body")
    if not isinstance(body, str | None):
        raise MalformedResponseError(f"its body is not a string: {type(body).__name__}")
    content = (body or "").encode()
    if result.get("isBase64Encoded") and is_binary(accept or "*/*", binary_types):
        content = decoded(body or "")
    return SiteResponse(_status(result.get("statusCode", 200)), _headers(result), content)


def decoded(body: str) -> bytes:
    """Return the bytes of a body in base64. Raises MalformedResponseError."""
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedResponseError(f"its body is not base64: {error}") from error


def is_binary(media_type: str | None, binary_types: Sequence[str]) -> bool:
    """Return whether a media type, the first of several, is among the API's binary ones; `*/*` stands for all."""
    first = (media_type or "").split(",")[0].partition(";")[0].strip().lower()
    return any(
        pattern in ("*/*", "*~1*", first) or (pattern.endswith("/*") and first.startswith(pattern[:-1]))
        for pattern in map(str.lower, binary_types)
    )


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError):
        status = 0
    if not 200 <= status <= 599:
        raise MalformedResponseError(f"its statusCode is {value!r}")
    return status


def _headers(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return both kinds of headers; those with several values win."""
    single, multiple = result.get("headers") or {}, result.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multiple, dict):
        raise MalformedResponseError("its headers are not an object")
    if not all(isinstance(values, list) for values in multiple.values()):
        raise MalformedResponseError("its multiValueHeaders are not lists")
    several = {name.lower() for name in multiple}
    headers = [(name, _text(value)) for name, value in single.items() if name.lower() not in several]
    headers += [(name, _text(value)) for name, values in multiple.items() for value in values]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return headers


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise MalformedResponseError(f"it has a header with the value {value!r}")
    return str(value)


def _multiple(items: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in items:
        values[name].append(value)
    return dict(values)


def _last(values: dict[str, list[str]]) -> dict[str, str] | None:
    return {name: several[-1] for name, several in values.items()} or None


def _context(request: SiteRequest, target: EventTarget, api_key: tuple[str, str] | None) -> dict[str, Any]:
    now = time.time()
    identity = {"sourceIp": request.source_ip, "userAgent": request.header("user-agent")}
    if api_key is not None:
        identity |= {"apiKeyId": api_key[0], "apiKey": api_key[1]}
    return {
        "accountId": ACCOUNT,
        "apiId": target.api_id,
        "domainName": target.domain,
        "domainPrefix": target.api_id,
        "extendedRequestId": uuid.uuid4().hex[:15],
        "httpMethod": request.method,
        "identity": identity,
        "path": target.full_path,
        "protocol": request.protocol,
        "requestId": str(uuid.uuid4()),
        "requestTime": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S %z"),
        "requestTimeEpoch": int(now * 1000),
        "resourceId": target.resource_id,
        "resourcePath": target.resource_path,
        "stage": target.stage,
    }
