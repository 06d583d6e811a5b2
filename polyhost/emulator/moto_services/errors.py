"""Errors in the protocol of the service that was called, so that every client reads code and message."""

import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.exceptions import HTTPException

from polyhost.emulator.api.asgi import ResponseHeaders
from polyhost.emulator.errors import AwsError

_BOTOCORE_NAMES = {"awslambda": "lambda"}  # of moto's services, where they differ
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/x-amz-json-"


@dataclass(frozen=True)
class MotoResponse:
    status: int
    headers: ResponseHeaders
    chunks: list[bytes]


class Call:
    """What a request asks for: an operation of a service, by botocore's models."""

    def __init__(self, service: str, environ: dict[str, Any]) -> None:
        self.service = _BOTOCORE_NAMES.get(service, service)
        self._request = Request(environ)

    @cached_property
    def operation(self) -> str:
        """The operation's name, or the request's method and path if they are no operation's."""
        target: str = self._request.headers.get("X-Amz-Target", "")
        action: str = self._request.values.get("Action", "")
        return target.rpartition(".")[2] or action or self._operation_of_path()

    def error_response(self, error: AwsError) -> MotoResponse:
        """Return the error in the service's protocol."""
        request_id = str(uuid.uuid4())
        content_type, body = _encode(self._protocol(), error.code, error.message or "", request_id)
        headers = [
            (b"content-type", content_type.encode()),
            (b"x-amzn-errortype", error.code.encode()),
            (b"x-amzn-requestid", request_id.encode()),
        ]
        return MotoResponse(error.status, headers, [] if self._request.method == "HEAD" else [body.encode()])

    def _operation_of_path(self) -> str:
        try:
            operation, _ = get_service_router(self.service).match(self._request)
        except (HTTPException, UnknownServiceError, NotImplementedError):
            return f"{self._request.method} {self._request.path}"
        return str(operation.name)

    def _protocol(self) -> str:
        content_type = self._request.content_type or ""
        if self.service == "s3":
            return "s3"
        if content_type.startswith(_JSON):
            return "json"
        try:
            protocol = str(get_service_model(self.service).protocol)
        except UnknownServiceError:
            protocol = "query" if content_type.startswith(_FORM) else "rest-json"
        # Several services have a newer protocol besides the one of their older clients.
        return "query" if protocol == "json" and content_type.startswith(_FORM) else protocol


def _encode(protocol: str, code: str, message: str, request_id: str) -> tuple[str, str]:
    """Return the content type and the body of an error."""
    if protocol in ("query", "ec2", "rest-xml", "s3"):
        shown = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        if protocol == "ec2":
            body = f"<Response><Errors><Error>{shown}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        elif protocol == "s3":
            body = f"<Error>{shown}<RequestId>{request_id}</RequestId></Error>"
        else:
            error = f"<Error><Type>Receiver</Type>{shown}</Error>"
            body = f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
        return "text/xml", f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
    # Services and clients differ in the spelling of the message's member.
    return "application/json", json.dumps({"__type": code, "message": message, "Message": message})
