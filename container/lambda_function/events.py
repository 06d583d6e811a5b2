"""What a function is called with: an event of API Gateway, of a function URL, or one that names a model itself."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from polyhost.container.errors import PolyhostError
from polyhost.container.worker.types import Headers

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
_PATH_PARAMETERS = ("model", "proxy")  # of a route such as /models/{model} or /{proxy+}
# The key to the API is no matter of a model's.
_WITHHELD = frozenset({"x-api-key"})
_DIRECT_KEYS = frozenset({"TargetModel", "Body", "ContentType", "Accept", "CustomAttributes", "IsBase64Encoded"})


class BadEventError(PolyhostError):
    """An event that is no request for a prediction."""

    status = 400


@dataclass(frozen=True)
class FunctionRequest:
    """A request for a prediction. `by_http`: whether the caller expects a response of HTTP."""

    target: str | None
    headers: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    body: bytes
    by_http: bool


def is_http(event: Any) -> bool:
    """Return whether this is an event of a proxy integration, payload 1.0 or 2.0, or of a function URL."""
    return isinstance(event, dict) and isinstance(event.get("requestContext"), dict) and ("headers" in event)


def read(event: Any) -> FunctionRequest:
    """Read an event. Raises BadEventError, which says what it lacks."""
    return _of_http(event) if is_http(event) else _of_caller(event)


def _of_http(event: dict[str, Any]) -> FunctionRequest:
    headers = _headers(event)
    path = _mapping(event, "pathParameters")
    in_path = next((unquote(str(path[name])) for name in _PATH_PARAMETERS if path.get(name)), None)
    in_header = Headers(headers).get(TARGET_MODEL)
    if in_path and in_header and in_path != in_header:
        raise BadEventError(f"the path names the model {in_path!r}, the header {TARGET_MODEL} {in_header!r}; name one")
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise BadEventError(f"body is of type {type(body).__name__}; it must be text")
    sent = tuple((name, value) for name, value in headers if name.lower() not in _WITHHELD)
    content = _decoded(body, event.get("isBase64Encoded"), "body")
    return FunctionRequest(in_path or in_header, sent, tuple(_parameters(event)), content, by_http=True)


def _of_caller(event: Any) -> FunctionRequest:
    if not isinstance(event, dict) or "Body" not in event:
        raise BadEventError(
            'the event is no request of API Gateway and has no Body; send {"TargetModel": "churn.tar.gz", "Body": ...}'
        )
    if unknown := sorted(event.keys() - _DIRECT_KEYS):
        raise BadEventError(f"the event has {', '.join(unknown)}; it may have {', '.join(sorted(_DIRECT_KEYS))}")
    target = event.get("TargetModel")
    if target is not None and not isinstance(target, str):
        raise BadEventError(f"TargetModel is of type {type(target).__name__}; it must be a model's name")
    body = event["Body"]
    is_text = isinstance(body, str)
    content = _decoded(body if is_text else json.dumps(body), event.get("IsBase64Encoded"), "Body")
    headers = [
        ("content-type", str(event.get("ContentType") or "application/json")),
        ("accept", str(event.get("Accept") or "")),
        ("x-amzn-sagemaker-custom-attributes", str(event.get("CustomAttributes") or "")),
    ]
    return FunctionRequest(target, tuple(header for header in headers if header[1]), (), content, by_http=False)


def _headers(event: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    several = _mapping(event, "multiValueHeaders")
    if several:
        return tuple((name, ", ".join(map(str, values))) for name, values in several.items())
    return tuple((name, str(value)) for name, value in _mapping(event, "headers").items())


def _parameters(event: dict[str, Any]) -> Iterable[tuple[str, str]]:
    several = _mapping(event, "multiValueQueryStringParameters")
    if several:
        for name, values in several.items():
            yield from ((name, str(value)) for value in values)
        return
    for name, value in _mapping(event, "queryStringParameters").items():
        yield name, str(value)


def _mapping(event: dict[str, Any], name: str) -> Mapping[str, Any]:
    """Return a map, which API Gateway sends as null if it is empty."""
    value = event.get(name) or {}
    if not isinstance(value, dict):
        raise BadEventError(f"{name} is of type {type(value).__name__}; it must be an object")
    return value


def _decoded(body: str, is_base64: Any, name: str) -> bytes:
    if not is_base64:
        return body.encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadEventError(f"{name} is not base64, as isBase64Encoded says: {error}") from error
