"""What a function returns: a response of a proxy integration, or what a caller of the function itself gets."""

import base64
import json
from typing import Any

from polyhost.container.errors import Failure
from polyhost.container.lambda_function.settings import MAX_PAYLOAD_BYTES
from polyhost.container.native.decoder import WorkerResponse

_TEXT = ("text/", "application/json", "application/jsonlines", "application/xml")
_TEXT_SUFFIXES = ("+json", "+xml")


class ModelInvocationError(Exception):
    """What a caller of the function itself gets as its FunctionError: status, type and message of the failure."""


def of_response(response: WorkerResponse, model: str, by_http: bool) -> dict[str, Any]:
    """Return a model's response. Raises ModelInvocationError for an error's, if it is not `by_http`."""
    body, is_base64 = _encoded(response)
    # JSON escapes some of the characters: what is close to the limit may still be above it, and Lambda says so.
    if len(body) > MAX_PAYLOAD_BYTES:
        message = f"the response takes {len(body)} bytes, {MAX_PAYLOAD_BYTES} fit into one of Lambda; ask for less"
        return of_failure(Failure(500, "ResponseTooLargeError", message, model, "predict"), by_http)
    headers = {name.decode("latin-1").lower(): value.decode() for name, value in response.headers}
    if by_http:
        return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": is_base64}
    if response.status >= 400:
        failure = Failure.read(_json(response.body))
        raise ModelInvocationError(_described(failure) if failure else f"{response.status}: {body}")
    content_type = headers.get("content-type", "")
    return {"StatusCode": response.status, "ContentType": content_type, "Body": body, "IsBase64Encoded": is_base64}


def of_failure(failure: Failure, by_http: bool) -> dict[str, Any]:
    """Return a failure. Raises ModelInvocationError if it is not `by_http`."""
    if not by_http:
        raise ModelInvocationError(_described(failure))
    return {
        "statusCode": failure.code,
        "headers": {"content-type": "application/json"},
        "body": failure.shortened().to_json().decode(),
        "isBase64Encoded": False,
    }


def _described(failure: Failure) -> str:
    where = f" (model {failure.model!r}, {failure.phase})" if failure.model else ""
    return f"{failure.code} {failure.type}: {failure.message}{where}"


def _encoded(response: WorkerResponse) -> tuple[str, bool]:
    """Return the body as text if it is one, else in base64."""
    types = [value.decode("latin-1").lower() for name, value in response.headers if name.lower() == b"content-type"]
    name = types[0].partition(";")[0].strip() if types else "text/"
    if name.startswith(_TEXT) or name.endswith(_TEXT_SUFFIXES):
        try:
            return response.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(response.body).decode(), True


def _json(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed
