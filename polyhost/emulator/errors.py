"""Errors of the emulator: those that AWS's clients get, by AWS's names, and those of hosting behind them."""

from collections.abc import Mapping
from typing import Any


class EmulatorError(Exception):
    """Base of all errors that the emulator raises."""


class StartError(EmulatorError):
    """The emulator cannot start, e.g. because its port is in use; the message names the remedy."""


class AwsError(EmulatorError):
    """An error response of an AWS service. `api.asgi.send_error` encodes it.

    `members` are the members of the error's shape besides the message (botocore's service model).
    """

    code = "InternalFailure"
    status = 500

    def __init__(self, message: str | None, **members: Any) -> None:
        super().__init__(message)
        self.message = message
        self.members: Mapping[str, Any] = members


# Control plane (botocore sagemaker/2017-07-24)


class ValidationException(AwsError):
    code = "ValidationException"
    status = 400


class UnknownOperation(AwsError):
    code = "UnknownOperationException"
    status = 400


# Runtime (botocore sagemaker-runtime/2017-05-13)


class ValidationError(AwsError):
    code = "ValidationError"
    status = 400


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


class ThrottlingException(AwsError):
    """The error of throttled requests: not in botocore's model, with null for a message.

    Source: opensearch-project/ml-commons, issue 2429.
    """

    code = "ThrottlingException"
    status = 400


class AccessDenied(AwsError):
    code = "AccessDeniedException"
    status = 403


# The rest of AWS


class NotEmulated(AwsError):
    """The emulator lacks the operation. SDKs try again after 500, 502, 503 and 504, but not after 501."""

    code = "NotImplemented"
    status = 501


class EntityTooLarge(AwsError):
    code = "EntityTooLarge"
    status = 400


class RequestTimeout(AwsError):
    code = "RequestTimeout"
    status = 400


# Hosting: raised when an endpoint is created or updated. polyhost.model_cache.errors has those of invocations.


class HostingError(EmulatorError):
    """Base of the errors of endpoints' containers."""


class ImageError(HostingError):
    """The image does not exist, or lacks a label; the message is AWS's."""


class ContainerError(HostingError):
    """A container did not start, or did not respond to /ping in time; the message ends with its last output.

    `containers` are the names of those containers, if the instance has several.
    """

    containers: tuple[str, ...] = ()
