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


# Hosting: raised by drivers, downloads and instances; `runtime` and `endpoint` turn them into the above


class HostingError(EmulatorError):
    """Base of what goes wrong behind an endpoint."""


class ImageError(HostingError):
    """The image does not exist, or lacks a label; the text is the service's."""


class ContainerError(HostingError):
    """A container did not start, or did not answer /ping in time; the message ends with its last words."""


class ContainerGone(HostingError):
    """The container closed the connection without an answer, or does not listen (any more).

    `may_retry`: the call had not reached a model yet, so that another instance may take it.
    """

    def __init__(self, message: str, may_retry: bool = False) -> None:
        super().__init__(message)
        self.may_retry = may_retry


class ContainerTimeout(HostingError):
    """The container did not answer in time."""


class DownloadError(HostingError):
    """Base of what goes wrong on the way from S3 to the instance's disk."""


class DiskFull(DownloadError):
    """The machine's disk has no room left, whatever the instance's volume would still take."""


class ModelDataMissing(DownloadError):
    """No object at this address."""


class ArchiveError(DownloadError):
    """Not a gzip-compressed tar, or one with members that would leave its folder, or one that is too large."""


class LoadRefused(HostingError):
    """The container answered a load with an error; `status` and `body` are its own."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the container answered the load with {status}: {body[:2000].decode(errors='replace')}")
        self.status = status
        self.body = body
