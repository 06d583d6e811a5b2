"""Errors of the runtime API, with the service's codes, statuses, texts and limits."""

import json
from collections.abc import Mapping
from typing import Any

_MAX_MESSAGE_CHARS = 2048  # botocore, Message: of a ModelError's Message and of its OriginalMessage


class AwsError(Exception):
    """An error response of an AWS service.

    `members` are the members of the error's shape besides the message (botocore's service model).
    """

    code = "InternalFailure"
    status = 500

    def __init__(self, message: str | None, **members: Any) -> None:
        super().__init__(message)
        self.message = message
        self.members: Mapping[str, Any] = members

    def encode(self, content_type: bytes, message_member: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return headers and body as botocore parses them; AWS's services spell the message's member differently."""
        content = {"__type": self.code, message_member: self.message, **self.members}
        headers = [(b"content-type", content_type), (b"x-amzn-errortype", self.code.encode())]
        return headers, json.dumps(content).encode()


class ValidationError(AwsError):
    code = "ValidationError"
    status = 400


class AccessDenied(AwsError):
    code = "AccessDeniedException"
    status = 403


class MissingAuthenticationToken(AwsError):
    code = "MissingAuthenticationTokenException"
    status = 403


class IncompleteSignature(AwsError):
    code = "IncompleteSignatureException"
    status = 400


class InvalidSignature(AwsError):
    code = "InvalidSignatureException"
    status = 403


class UnrecognizedClient(AwsError):
    code = "UnrecognizedClientException"
    status = 403


class ModelError(AwsError):
    """Members OriginalStatusCode, OriginalMessage, LogStreamArn, ErrorCode."""

    code = "ModelError"
    status = 424


class ModelNotReady(AwsError):
    code = "ModelNotReadyException"
    status = 429


class ServiceUnavailable(AwsError):
    code = "ServiceUnavailable"
    status = 503


class InternalDependencyException(AwsError):
    code = "InternalDependencyException"
    status = 530


def model_error(status: int, text: str, container: str, see: str, **members: Any) -> ModelError:
    """Return the error for a response of the model whose status is not 2xx, or 0 for none; `see` says where to look."""
    side = "client" if 0 < status < 500 else "server"
    received = f"Received {side} error ({status}) from {container or 'primary'}"
    message = f'{received} with message "{text}". {see}'
    if len(message) > _MAX_MESSAGE_CHARS:
        message = f"{received} and could not load the entire response body. {see}"
    return model_error_with(message, status, text, **members)


def model_error_with(message: str, status: int, text: str, **members: Any) -> ModelError:
    """Return a ModelError with a message of its own."""
    return ModelError(
        message,
        OriginalStatusCode=status,
        OriginalMessage=text[:_MAX_MESSAGE_CHARS],
        ErrorCode="CLIENT_ERROR_FROM_MODEL" if 400 <= status < 500 else "INTERNAL_FAILURE_FROM_MODEL",
        **members,
    )
