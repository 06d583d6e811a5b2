"""Callers that speak AWS's runtime API: what a model responds, as InvokeEndpoint's clients read it."""

import json
from collections.abc import Sequence

from polyhost.container.model_store.errors import NOT_READY
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Rejection
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.parser import Header
from polyhost.runtime_api import event_stream
from polyhost.runtime_api.errors import (
    AwsError,
    InternalDependencyException,
    ModelNotReady,
    ServiceUnavailable,
    ValidationError,
    model_error,
)
from polyhost.runtime_api.headers import INVOKED_VARIANT, STREAMED_CONTENT_TYPE, TO_CLIENT

_VARIANT = (INVOKED_VARIANT, b"AllTraffic")
_CONTENT_TYPE = b"content-type"
_TO_CLIENT = frozenset(name.encode() for name in TO_CLIENT)
_SEE = "See the container's log for more information."
_JSON = b"application/json"
# By the types of failures in container/model_store/errors.py.
_ERRORS: dict[str, type[AwsError]] = {
    "BadTargetError": ValidationError,
    "ModelNotFoundError": ValidationError,
    "ModelGoneError": ValidationError,
    "ArchiveTooLargeError": ValidationError,
    "InvalidArchiveError": ValidationError,
    NOT_READY: ModelNotReady,
    "StoreAccessError": InternalDependencyException,
    "StoreUnreachableError": ServiceUnavailable,
    "DiskFullError": ServiceUnavailable,
    "UnhealthyError": ServiceUnavailable,
}


class EndpointCaller:
    """Passes a response on as InvokeEndpoint's, and turns everything else into AWS's errors."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def on_response(self, invocation: Invocation, response: WorkerResponse) -> None:
        if not 200 <= response.status < 300:
            if response.more:
                invocation.cancel()
            self.fail(_error_of_model(response.status, response.body))
            return
        headers = _to_client(response.headers, _CONTENT_TYPE)
        self._exchange.on_response(invocation, _with(response, headers, response.body, response.more))

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None:
        self._exchange.on_chunk(invocation, chunk)

    def on_rejected(self, invocation: Invocation, rejection: Rejection) -> None:
        self.reject(rejection)

    def reject(self, rejection: Rejection) -> None:
        """Answer with AWS's error, or break off a response that has begun."""
        if self._exchange.pending:
            self.fail(error_of(rejection))
        else:
            self._exchange.reject(rejection)

    def fail(self, error: AwsError) -> None:
        """Answer with this error."""
        headers, body = error.encode(_JSON, "Message")
        self._exchange.respond(error.status, headers, body)


class EventStreamCaller(EndpointCaller):
    """Passes a response on as the event stream of InvokeEndpointWithResponseStream."""

    def on_response(self, invocation: Invocation, response: WorkerResponse) -> None:
        if not 200 <= response.status < 300:
            super().on_response(invocation, response)
            return
        stream_type = (_CONTENT_TYPE, event_stream.CONTENT_TYPE.encode())
        headers = [stream_type, *_to_client(response.headers, STREAMED_CONTENT_TYPE)]
        first = _part(response.body) if response.body else b""
        self._exchange.on_response(invocation, _with(response, headers, first, more=True))
        if not response.more:
            self._exchange.on_chunk(invocation, Chunk(None))

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None:
        if chunk.data is not None:
            self._exchange.on_chunk(invocation, Chunk(_part(chunk.data) if chunk.data else b""))
            return
        if chunk.failure is not None:
            self._break(invocation, _text(chunk.failure))
        self._exchange.on_chunk(invocation, Chunk(None))

    def on_rejected(self, invocation: Invocation, rejection: Rejection) -> None:
        if self._exchange.pending:
            self.reject(rejection)
            return
        self._break(invocation, str(rejection))
        self._exchange.on_chunk(invocation, Chunk(None))

    def _break(self, invocation: Invocation, message: str) -> None:
        """Send the stream's last event; a stream that just ends would look whole."""
        members = {"Message": message, "ErrorCode": "StreamBroken"}
        self._exchange.on_chunk(invocation, Chunk(event_stream.exception_message("ModelStreamError", members)))


def error_of(rejection: Rejection) -> AwsError:
    """Return AWS's error for what the container rejected itself."""
    kind = _ERRORS.get(rejection.failure.type)
    if kind is not None:
        return kind(rejection.failure.message)
    return _error_of_model(rejection.failure.code, rejection.failure.to_json())


def _error_of_model(status: int, body: bytes) -> AwsError:
    return model_error(status, body.decode(errors="replace"), "primary", _SEE, LogStreamArn="")


def _to_client(headers: Sequence[Header], content_type_header: bytes) -> list[Header]:
    passed = [_VARIANT]
    for name, value in headers:
        lower = name.lower()
        if lower == _CONTENT_TYPE:
            passed.append((content_type_header, value))
        elif lower in _TO_CLIENT:
            passed.append((name, value))
    return passed


def _with(response: WorkerResponse, headers: list[Header], body: bytes, more: bool) -> WorkerResponse:
    return WorkerResponse(response.id, response.status, response.phrase, headers, body, more)


def _part(data: bytes) -> bytes:
    return event_stream.event_message("PayloadPart", data)


def _text(failure: bytes) -> str:
    try:
        return str(json.loads(failure)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return failure.decode(errors="replace")
